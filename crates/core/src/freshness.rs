//! Freshness: a recent checkpoint, and which revocation document was the
//! newest when it was made.
//!
//! `[checkpoint, revocation version, COSE_Sign1 by the log]`. A server can
//! withhold news; with this it cannot withhold it unnoticed for longer than
//! the device's policy allows.

use crate::cbor::Reader;
use crate::checkpoint::{Checkpoint, Witnessed};
use crate::cose::Context;
use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;
use crate::envelope::Sign1;
use crate::key::KeyId;
use crate::limits::{FRESHNESS_MAX, Limit};
use crate::refusal::Refusal;
use crate::role::Role;
use crate::root::Root;

/// A freshness document that a log of the root and a quorum of its witnesses
/// have signed. Only [`Root::freshness`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freshness<'a> {
    /// The checkpoint.
    pub checkpoint: Witnessed<'a>,
    /// The newest revocation document; 0 where there is none.
    pub revocation: u64,
}

impl<'r> Root<'r> {
    /// Reads and verifies a freshness document under this root.
    pub fn freshness<'a>(
        &self,
        bytes: &'a [u8],
        product: &str,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<Freshness<'a>, Refusal> {
        if bytes.len() > FRESHNESS_MAX {
            return Err(Refusal::Limit(Limit::FreshnessMax));
        }
        let mut reader = Reader::new(bytes);
        reader.array_exact(3)?;
        let checkpoint = Checkpoint::decode(&mut reader)?;
        let revocation = reader.uint()?;
        let sign1 = Sign1::decode(reader.bytes()?)?;
        reader.end()?;
        let checkpoint = checkpoint.verify(self, product, revoked, crypto)?;
        // A closed log has no news: the key must be that of an open one.
        let role = self.role(Role::Log, product)?;
        let log = role.keys().find(|(_, key)| key.id(crypto) == checkpoint.key);
        let (_, key) = log.ok_or(Refusal::ProofInvalid("freshness by a closed log"))?;
        let digest = subject(&checkpoint.hash, checkpoint.size, revocation, crypto);
        match sign1.verifies(&key, Context::Freshness, &digest, crypto) {
            true => Ok(Freshness { checkpoint, revocation }),
            false => Err(Refusal::BadSignature),
        }
    }
}

/// What the log signs besides the checkpoint: SHA-256 over the hash of the
/// tree, its size and the revocation version, numbers in eight bytes, big
/// endian.
pub fn subject(hash: &Digest, size: u64, revocation: u64, crypto: &impl Crypto) -> Digest {
    let mut hasher = crypto.sha256();
    hasher.update(hash.as_bytes());
    hasher.update(&size.to_be_bytes());
    hasher.update(&revocation.to_be_bytes());
    hasher.finish()
}
