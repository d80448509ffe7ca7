//! Intents: what is logged before a key is used.
//!
//! An intent holds digests and key ids only, never names; it can stay in a
//! public log for ever. Its encoding is the log leaf, byte for byte.

use firmseal_core::cose::{Algorithm, Context, SigStructure};
use firmseal_core::{Digest, KeyId};
use minicbor::Encoder;

use crate::key::PublicKey;
use crate::tbs::Tbs;

/// What a signature is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// A root document; the subject is the digest of its body.
    Root = 0,
    /// A firmware format's own signature; the subject is the fingerprint of
    /// the bytes to be signed ([`Tbs::fingerprint`]).
    Artifact = 1,
    /// A release; the subject is the manifest digest.
    Release = 2,
}

/// One intended use of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// What the signature is for.
    pub purpose: Purpose,
    /// What will be signed, as [`Purpose`] says.
    pub subject: Digest,
    /// The keys that will sign, sorted.
    pub keys: Vec<KeyId>,
    /// Digest of the delegation chain, where there is one.
    pub delegation: Option<Digest>,
    /// Digests of the approvers' Statements, sorted.
    pub statements: Vec<Digest>,
    /// Who asked: the id of the requester's key, or of the credential that
    /// stands for one.
    pub requester: Digest,
    /// Digest of the policy that allowed it.
    pub policy: Digest,
    /// For an artifact, the digest of its parsed header. For a release,
    /// the leaf (digest) of the artifact's own signing, where there was one.
    pub context: Option<Digest>,
}

impl Intent {
    /// The log leaf: deterministic CBOR (RFC 8949 §4.2), integer keys in
    /// ascending order, absent members left out.
    pub fn encode(&self) -> Vec<u8> {
        let members = 6 + u64::from(self.delegation.is_some()) + u64::from(self.context.is_some());
        let mut out = Vec::with_capacity(256);
        let mut encoder = Encoder::new(&mut out);
        // Writing to a Vec cannot fail; the error type is Infallible.
        let infallible: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            encoder.map(members)?;
            encoder.u8(1)?.u8(self.purpose as u8)?;
            encoder.u8(2)?.bytes(self.subject.as_bytes())?;
            encoder.u8(3)?.array(self.keys.len() as u64)?;
            for key in &self.keys {
                encoder.bytes(key.0.as_bytes())?;
            }
            if let Some(delegation) = &self.delegation {
                encoder.u8(4)?.bytes(delegation.as_bytes())?;
            }
            encoder.u8(5)?.array(self.statements.len() as u64)?;
            for statement in &self.statements {
                encoder.bytes(statement.as_bytes())?;
            }
            encoder.u8(6)?.bytes(self.requester.as_bytes())?;
            encoder.u8(7)?.bytes(self.policy.as_bytes())?;
            if let Some(context) = &self.context {
                encoder.u8(8)?.bytes(context.as_bytes())?;
            }
            Ok(())
        })();
        debug_assert!(infallible.is_ok());
        out
    }

    /// Whether this intent covers `key` signing exactly `tbs`.
    ///
    /// Every signer asks before it touches its key, so a logged intent for
    /// one manifest can never be spent on another.
    pub fn covers(&self, key: &PublicKey, tbs: &Tbs) -> bool {
        if !self.keys.contains(&key.id()) {
            return false;
        }
        let cose = |context| {
            let core = key.as_core()?;
            let protected = Algorithm::of(&core).protected();
            let structure = SigStructure::new(&protected, context, &self.subject)?;
            Some(matches!(tbs, Tbs::Message(message) if message == structure.as_bytes()))
        };
        match self.purpose {
            Purpose::Root => cose(Context::Root).unwrap_or(false),
            Purpose::Release => cose(Context::Manifest).unwrap_or(false),
            Purpose::Artifact => tbs.fingerprint() == self.subject,
        }
    }
}
