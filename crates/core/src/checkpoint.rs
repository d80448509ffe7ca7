//! Checkpoints: what a log has signed of itself, and which witnesses agree.
//!
//! C2SP tlog-checkpoint 1.0.0 and tlog-cosignature 1.0.1, as CBOR: `{1 =>
//! origin, 2 => size, 3 => hash, 4 => [key id, signature], 5 => [* [key id,
//! time, signature]]}`. Ed25519 only, as those specifications have it for
//! public logs.

use crate::cbor::Reader;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::key::{KeyId, PublicKey};
use crate::limits::{COSIGNATURES_MAX, Limit};
use crate::note::Note;
use crate::refusal::Refusal;
use crate::role::{Role, RoleEntry, Tally};
use crate::root::Root;

/// A decoded checkpoint. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint<'a> {
    origin: &'a str,
    size: u64,
    hash: Digest,
    signature: Signed<'a>,
    cosignatures: Reader<'a>,
    cosignature_count: usize,
}

/// A signature beside the id of the key that made it, a hint.
#[derive(Clone, Copy, Debug)]
struct Signed<'a> {
    key: &'a [u8; 32],
    signature: &'a [u8],
}

/// A checkpoint that a log of the root has signed and a quorum of its
/// witnesses cosigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witnessed<'a> {
    /// The log.
    pub origin: &'a str,
    /// The log's key.
    pub key: KeyId,
    /// Entries the tree had.
    pub size: u64,
    /// Hash of the tree.
    pub hash: Digest,
    /// The earliest time that a counted witness states, in seconds since
    /// 1970. A time floor rises to this one: a single witness that lies
    /// about the future cannot lift it.
    pub earliest: u64,
    /// The latest. Expiry is tested against this one: a single witness that
    /// lies about the past cannot revive what has expired.
    pub latest: u64,
}

impl<'a> Checkpoint<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Checkpoint<'a>, Refusal> {
        let mut keys = reader.map()?;
        let (mut origin, mut size, mut hash) = (None, None, None);
        let (mut signature, mut cosignatures) = (None, None);
        while let Some(label) = keys.next_int(reader)? {
            match label {
                1 => origin = Some(reader.text()?),
                2 => size = Some(reader.uint()?),
                3 => hash = Some(Digest(*reader.array_of()?)),
                4 => {
                    reader.array_exact(2)?;
                    signature = Some(Signed { key: reader.array_of()?, signature: reader.bytes()? });
                }
                5 => {
                    let count = reader.array(COSIGNATURES_MAX, Limit::CosignaturesMax)?;
                    cosignatures = Some((reader.clone(), count));
                    for _ in 0..count {
                        read_cosignature(reader)?;
                    }
                }
                _ => return Err(Refusal::Unsupported("a member of a checkpoint")),
            }
        }
        const INCOMPLETE: Refusal = Refusal::Malformed("an incomplete checkpoint");
        let (cosignatures, cosignature_count) = cosignatures.ok_or(INCOMPLETE)?;
        Ok(Checkpoint {
            origin: origin.ok_or(INCOMPLETE)?,
            size: size.ok_or(INCOMPLETE)?,
            hash: hash.ok_or(INCOMPLETE)?,
            signature: signature.ok_or(INCOMPLETE)?,
            cosignatures,
            cosignature_count,
        })
    }

    /// Checks the log's signature and counts the witnesses'.
    pub(crate) fn verify(
        &self,
        root: &Root<'_>,
        product: &str,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<Witnessed<'a>, Refusal> {
        let mut note = Note::checkpoint(self.origin, self.size, &self.hash);
        let key = self.log_key(root, product, crypto)?;
        if !verifies(&key, note.body(), self.signature.signature, crypto) {
            return Err(Refusal::BadSignature);
        }
        let role = root.role(Role::Witness, product)?;
        let (mut tally, mut earliest, mut latest) = (Tally::default(), u64::MAX, 0);
        let mut reader = self.cosignatures.clone();
        for _ in 0..self.cosignature_count {
            let (signed, time) = read_cosignature(&mut reader)?;
            // Witnesses of others are welcome and count for nothing.
            let Some((holder, key)) = named(&role, signed.key, crypto) else { continue };
            if !verifies(&key, note.cosigned_at(time), signed.signature, crypto) {
                return Err(Refusal::BadSignature);
            }
            if revoked(&KeyId(Digest(*signed.key))) {
                continue;
            }
            tally.count(holder);
            (earliest, latest) = (earliest.min(time), latest.max(time));
        }
        if tally.holders() < role.threshold() {
            let (have, need) = (tally.holders() as u8, role.threshold() as u8);
            return Err(Refusal::WitnessesMissing { have, need });
        }
        let key = KeyId(Digest(*self.signature.key));
        Ok(Witnessed { origin: self.origin, key, size: self.size, hash: self.hash, earliest, latest })
    }

    /// The key that the root gives this log: of an open log, whose origin
    /// is the holder's name, or of a closed one, up to its final size.
    fn log_key<'r>(
        &self,
        root: &Root<'r>,
        product: &str,
        crypto: &impl Crypto,
    ) -> Result<PublicKey<'r>, Refusal> {
        if let Ok(role) = root.role(Role::Log, product)
            && let Some((holder, key)) = named(&role, self.signature.key, crypto)
        {
            return match role.holder(holder) == Some(self.origin) {
                true => Ok(key),
                false => Err(Refusal::ProofInvalid("a log's key signed for another origin")),
            };
        }
        let closed = root.closed_logs().find(|log| log.key.id(crypto).0.as_bytes() == self.signature.key);
        let closed = closed.ok_or(Refusal::ProofInvalid("the root does not know this log"))?;
        let inside = self.size < closed.size || (self.size == closed.size && self.hash == closed.hash);
        match closed.origin == self.origin && inside {
            true => Ok(closed.key),
            false => Err(Refusal::ProofInvalid("beyond the end of a closed log")),
        }
    }
}

/// The key of a role that has this id.
fn named<'r>(role: &RoleEntry<'r>, id: &[u8; 32], crypto: &impl Crypto) -> Option<(usize, PublicKey<'r>)> {
    role.keys().find(|(_, key)| key.id(crypto).0.as_bytes() == id)
}

fn verifies(key: &PublicKey<'_>, message: &[u8], signature: &[u8], crypto: &impl Crypto) -> bool {
    // Notes know no P-256 signature in the form that we verify.
    matches!(key, PublicKey::Ed25519(_)) && crypto.verify(key, message, signature).is_ok()
}

/// Reads `[key id, time, signature]`.
fn read_cosignature<'a>(reader: &mut Reader<'a>) -> Result<(Signed<'a>, u64), Refusal> {
    reader.array_exact(3)?;
    let (key, time) = (reader.array_of()?, reader.uint()?);
    Ok((Signed { key, signature: reader.bytes()? }, time))
}
