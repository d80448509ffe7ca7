//! Statements: what a person or an owner agrees to, as bytes to be signed.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Environment, KeyId, StatementPurpose, sshsig};

use crate::cbor::Writer;
use crate::ids::RequestId;
use crate::key::{KeyError, PublicKey};
use crate::sign1;
use crate::tbs::Tbs;

/// What somebody agrees to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// An approval or an owner's consent.
    pub purpose: StatementPurpose,
    /// Test or production.
    pub environment: Environment,
    /// The root lineage under which it is said.
    pub lineage: [u8; 16],
    /// The signing request.
    pub request: RequestId,
    /// The manifest.
    pub manifest: Digest,
    /// The keys that may sign it, sorted.
    pub signers: Vec<KeyId>,
    /// The manifest of the release before, if there is one.
    pub previous: Option<Digest>,
    /// When it expires, in seconds since 1970.
    pub expiry: u64,
    /// Digest of the artifacts' parsed headers.
    pub header: Digest,
    /// Digest of the differences from the release before.
    pub difference: Digest,
    /// Digest of the policy.
    pub policy: Digest,
    /// Who asked, as in the Intent.
    pub requester: Digest,
}

impl Statement {
    /// The encoded Statement: deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.map(11 + usize::from(self.previous.is_some()));
        out.uint(1).uint(self.purpose as u64);
        out.uint(2).uint(self.environment as u64);
        out.uint(3).bytes(&self.lineage);
        out.uint(4).bytes(self.request.uuid().as_bytes());
        out.uint(5).bytes(self.manifest.as_bytes());
        out.uint(6).array(self.signers.len());
        for key in &self.signers {
            out.bytes(key.0.as_bytes());
        }
        if let Some(previous) = &self.previous {
            out.uint(7).bytes(previous.as_bytes());
        }
        out.uint(8).uint(self.expiry);
        out.uint(9).bytes(self.header.as_bytes());
        out.uint(10).bytes(self.difference.as_bytes());
        out.uint(11).bytes(self.policy.as_bytes());
        out.uint(12).bytes(self.requester.as_bytes());
        out.finish()
    }

    /// SHA-256 of the encoded Statement: what an Intent names, and the
    /// challenge of a passkey.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.encode())
    }

    /// What a key file or a token signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        sign1::to_be_signed(key, Context::Statement, &self.digest())
    }

    /// What an SSH key signs (PROTOCOL.sshsig); a security key in an agent
    /// takes the same bytes.
    pub fn to_be_signed_by_ssh(&self) -> Vec<u8> {
        sshsig::signed_data(&self.digest()).to_vec()
    }
}
