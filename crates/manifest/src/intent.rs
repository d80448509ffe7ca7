//! Intents: what is logged before a key is used.
//!
//! An intent holds digests and key ids only, never names; it can stay in a
//! public log for ever. Its encoding is the log leaf, byte for byte.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Hasher, KeyId};

use crate::cbor::Writer;
use crate::delegation;
use crate::ids::RequestId;
use crate::key::PublicKey;
use crate::sign1;
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
    /// A delegation; the subject is the digest of its claims.
    Delegation = 3,
    /// A revocation document; the subject is the digest of its body.
    Revocation = 4,
    /// A Statement, in the log of whoever agrees; the subject is its digest.
    Statement = 5,
    /// Metadata of a TUF repository, for clients that know nothing of
    /// manifests; the subject is the SHA-256 of its canonical JSON.
    Tuf = 6,
    /// A timestamp by an authority of one's own, or the certificate that it
    /// makes for itself; the subject is the SHA-256 of the bytes that are
    /// signed.
    Timestamp = 7,
    /// A statement about a build, in a DSSE envelope; the subject is the
    /// SHA-256 of its pre-authentication encoding.
    Attestation = 8,
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
    /// the leaves of the artifacts' own signings, in the order of the
    /// components: what was signed first is named by what is signed last.
    /// Then the digest of the policy's decision, where one was made, and the
    /// [mark](Intent::mark) of the request that it is part of, where it has
    /// one.
    pub context: Vec<Digest>,
}

impl Intent {
    /// The log leaf: deterministic CBOR (RFC 8949 §4.2), integer keys in
    /// ascending order, absent members left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.map(7 + usize::from(self.delegation.is_some()));
        out.uint(1).uint(self.purpose as u64);
        out.uint(2).bytes(self.subject.as_bytes());
        out.uint(3).array(self.keys.len());
        for key in &self.keys {
            out.bytes(key.0.as_bytes());
        }
        if let Some(delegation) = &self.delegation {
            out.uint(4).bytes(delegation.as_bytes());
        }
        out.uint(5).array(self.statements.len());
        for statement in &self.statements {
            out.bytes(statement.as_bytes());
        }
        out.uint(6).bytes(self.requester.as_bytes());
        out.uint(7).bytes(self.policy.as_bytes());
        out.uint(8).array(self.context.len());
        for digest in &self.context {
            out.bytes(digest.as_bytes());
        }
        out.finish()
    }

    /// What marks the intents of a request: SHA-256 over
    /// `["firmseal/request", id]` in CBOR, the id as its 16 bytes. 74 bits of
    /// an id are random: whoever knows the request finds its intents, and
    /// nobody else learns which belong together.
    pub fn mark(request: &RequestId) -> Digest {
        let mut out = Writer::new();
        out.array(2).text("firmseal/request").bytes(request.uuid().as_bytes());
        RustCrypto.digest(&out.finish())
    }

    /// The leaf's hash in the log's Merkle tree (RFC 6962 §2.1):
    /// SHA-256(0x00 || leaf).
    pub fn leaf_hash(&self) -> Digest {
        let mut hasher = RustCrypto.sha256();
        hasher.update(&[0]);
        hasher.update(&self.encode());
        hasher.finish()
    }

    /// Whether this intent covers `key` signing exactly `tbs`.
    ///
    /// Every signer asks before it touches its key, so a logged intent for
    /// one manifest can never be spent on another.
    pub fn covers(&self, key: &PublicKey, tbs: &Tbs) -> bool {
        if !self.keys.contains(&key.id()) {
            return false;
        }
        let cose = |context| sign1::to_be_signed(key, context, &self.subject).is_ok_and(|own| own == *tbs);
        match self.purpose {
            Purpose::Root => cose(Context::Root),
            Purpose::Release => cose(Context::Manifest),
            Purpose::Revocation => cose(Context::Revocation),
            Purpose::Statement => cose(Context::Statement),
            Purpose::Artifact => tbs.fingerprint() == self.subject,
            // Not the fingerprint: whoever reads the log compares it with
            // files that anybody can fetch, however they were signed.
            Purpose::Tuf | Purpose::Timestamp | Purpose::Attestation => match tbs {
                Tbs::Message(message) => RustCrypto.digest(message) == self.subject,
                Tbs::Sha256(digest) => *digest == self.subject.0,
                Tbs::Sha384(_) | Tbs::Pkcs1(_) | Tbs::PssMax(_) => false,
            },
            // The claims travel beside the signature, not their digest.
            Purpose::Delegation => delegation::is_over(key, &self.subject, tbs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyError;

    #[test]
    fn tuf_metadata_is_covered_by_the_digest_of_its_bytes() -> Result<(), KeyError> {
        let (key, other) = (PublicKey::from_ed25519([7; 32])?, PublicKey::from_ed25519([8; 32])?);
        let intent = Intent {
            purpose: Purpose::Tuf,
            subject: RustCrypto.digest(b"{}"),
            keys: vec![key.id()],
            delegation: None,
            statements: Vec::new(),
            requester: Digest([0; 32]),
            policy: Digest([0; 32]),
            context: Vec::new(),
        };
        assert!(intent.covers(&key, &Tbs::Message(b"{}".to_vec())));
        assert!(intent.covers(&key, &Tbs::Sha256(intent.subject.0)));
        assert!(!intent.covers(&other, &Tbs::Message(b"{}".to_vec())));
        assert!(!intent.covers(&key, &Tbs::Message(b"{ }".to_vec())));
        // The digest itself is no metadata.
        assert!(!intent.covers(&key, &Tbs::Message(intent.subject.0.to_vec())));
        assert!(!intent.covers(&key, &Tbs::Sha384([0; 48])));
        assert_eq!(Intent::decode(&intent.encode()), Some(intent));
        Ok(())
    }
}
