//! Revocation documents: which keys and releases no longer count, as bytes.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Environment, KeyId, Root};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{Digest, KeyError, PublicKey, Signature, Tbs, sign1};

use crate::root::RootError;

/// Everything that a revocation document says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocationSpec {
    /// Its number; each replaces all before it.
    pub version: u64,
    /// The root lineage.
    pub lineage: [u8; 16],
    /// Test or production.
    pub environment: Environment,
    /// The keys that no longer count.
    pub keys: Vec<RevokedKey>,
    /// The releases, by manifest digest.
    pub releases: Vec<Digest>,
}

/// A key, and what of its work stays valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevokedKey {
    /// The key.
    pub key: KeyId,
    /// Per log, the last index that stays valid: usually well before the
    /// theft was noticed.
    pub last_good: Vec<(String, u64)>,
    /// Manifests that stay valid wherever they stand.
    pub allowed: Vec<Digest>,
}

/// A revocation document's body, ready to be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsignedRevocation {
    body: Vec<u8>,
}

impl RevocationSpec {
    /// Encodes the body.
    pub fn assemble(&self) -> UnsignedRevocation {
        let mut body = Writer::new();
        let lists = [self.keys.is_empty(), self.releases.is_empty()];
        body.map(4 + lists.iter().filter(|empty| !**empty).count());
        body.uint(1).uint(1);
        body.uint(2).uint(self.version);
        body.uint(3).bytes(&self.lineage);
        body.uint(4).uint(self.environment as u64);
        if !self.keys.is_empty() {
            body.uint(5).array(self.keys.len());
            for RevokedKey { key, last_good, allowed } in &self.keys {
                body.array(3).bytes(key.0.as_bytes()).array(last_good.len());
                for (origin, index) in last_good {
                    body.array(2).text(origin).uint(*index);
                }
                digests(&mut body, allowed);
            }
        }
        if !self.releases.is_empty() {
            digests(body.uint(6), &self.releases);
        }
        UnsignedRevocation { body: body.finish() }
    }
}

fn digests(out: &mut Writer, digests: &[Digest]) {
    out.array(digests.len());
    for digest in digests {
        out.bytes(digest.as_bytes());
    }
}

impl UnsignedRevocation {
    /// The encoded body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// SHA-256 of the body: what an Intent names.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.body)
    }

    /// What `key` signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        sign1::to_be_signed(key, Context::Revocation, &self.digest())
    }

    /// The document without any signature: what is handed to those who sign.
    pub fn unsigned(&self) -> Vec<u8> {
        let mut document = Writer::new();
        document.array(2).bytes(&self.body).array(0);
        document.finish()
    }

    /// Puts the document together and verifies it as a device does that
    /// holds `root`.
    pub fn seal(
        &self,
        root: &Root<'_>,
        signatures: &[(&PublicKey, Signature)],
    ) -> Result<Vec<u8>, RootError> {
        let mut document = Writer::new();
        document.array(2).bytes(&self.body).array(signatures.len());
        for (key, signature) in signatures {
            document.bytes(&sign1::encode(key, signature)?);
        }
        let document = document.finish();
        root.revocation(&document, &RustCrypto)?;
        Ok(document)
    }
}
