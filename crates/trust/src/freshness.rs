//! Freshness documents: a recent checkpoint and the newest revocation.

use firmseal_core::cose::Context;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::freshness;
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::evidence::Checkpoint;
use firmseal_manifest::{KeyError, PublicKey, Signature, Tbs, sign1};

/// What a log says of the newest revocation document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreshnessSpec {
    /// A recent checkpoint with its cosignatures.
    pub checkpoint: Checkpoint,
    /// Version of the newest revocation document; 0 where there is none.
    pub revocation: u64,
}

impl FreshnessSpec {
    /// What the log's key signs besides the checkpoint.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        let Checkpoint { hash, size, .. } = &self.checkpoint;
        let subject = freshness::subject(hash, *size, self.revocation, &RustCrypto);
        sign1::to_be_signed(key, Context::Freshness, &subject)
    }

    /// The document.
    pub fn seal(&self, key: &PublicKey, signature: &Signature) -> Result<Vec<u8>, KeyError> {
        let mut out = Writer::new();
        out.array(3);
        self.checkpoint.write(&mut out);
        out.uint(self.revocation).bytes(&sign1::encode(key, signature)?);
        Ok(out.finish())
    }
}
