//! SUIT_Digest: the name of a hash function, and a value.

use super::Bad;
use super::cbor::Reader;
use crate::hash::{Hash, hex};

/// A digest, of whatever function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SuitDigest<'a> {
    algorithm: i64,
    pub(super) value: &'a [u8],
}

impl<'a> SuitDigest<'a> {
    /// Reads one in a byte string's content.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<SuitDigest<'a>, Bad> {
        let mut reader = Reader::new(bytes);
        let digest = SuitDigest::read(&mut reader)?;
        reader.end()?;
        Ok(digest)
    }

    /// Reads one in place.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<SuitDigest<'a>, Bad> {
        if reader.array()? != 2 {
            return Err("a digest that is not a function and a value");
        }
        let digest = SuitDigest { algorithm: reader.int()?, value: reader.bytes()? };
        match digest.hash() {
            Some(hash) if hash.len() != digest.value.len() => {
                Err("a digest of another length than its function's")
            }
            _ => Ok(digest),
        }
    }

    /// The function, if it is one that is computed here (RFC 9054 §2).
    pub(super) fn hash(&self) -> Option<Hash> {
        match self.algorithm {
            -16 => Some(Hash::Sha256),
            -43 => Some(Hash::Sha384),
            -44 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Whether bytes have it. `None` where nobody here can say.
    pub(super) fn matches(&self, bytes: &[u8]) -> Option<bool> {
        self.hash().map(|hash| hash.of(bytes) == self.value)
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self.hash() {
            Some(hash) => format!("{} {}", hash.name(), hex(self.value)),
            None => format!("function {} {}", self.algorithm, hex(self.value)),
        }
    }
}
