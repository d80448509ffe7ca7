//! Entries of the log about LMS keys, beside the intents.
//!
//! An LMS key consists of one-time keys, its leaves, and two signatures by
//! one leaf give it away (RFC 8554 §9.3). So the log says which leaf signs:
//! it is asked to reserve one, and no key file remembers any. An entry here
//! is an array that begins with a text; an intent is a map, and a device
//! that gets one for the other refuses it.

use firmseal_core::{Digest, KeyId};
use minicbor::{Decoder, decode};

use crate::cbor::Writer;

const KEY: &str = "firmseal/lms-key";
const LEAF: &str = "firmseal/lms-leaf";

/// An entry about an LMS key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LmsEntry {
    /// A key was made for this log, and will sign under no other.
    Key {
        /// The key.
        key: KeyId,
        /// How many leaves it has.
        leaves: u32,
        /// Whether it signs only where witnesses stand behind the log.
        watched: bool,
    },
    /// A leaf is taken: by the intent in the entry that follows, or by
    /// nothing, if that never came to be.
    Leaf {
        /// The key.
        key: KeyId,
        /// The leaf.
        leaf: u32,
    },
}

impl LmsEntry {
    /// The log entry: deterministic CBOR (RFC 8949 §4.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            LmsEntry::Key { key, leaves, watched } => {
                out.array(4).text(KEY).bytes(key.0.as_bytes()).uint((*leaves).into()).bool(*watched);
            }
            LmsEntry::Leaf { key, leaf } => {
                out.array(3).text(LEAF).bytes(key.0.as_bytes()).uint((*leaf).into());
            }
        }
        out.finish()
    }

    /// Reads an entry; `None` for anything but what
    /// [`LmsEntry::encode`] writes.
    pub fn decode(entry: &[u8]) -> Option<LmsEntry> {
        read(&mut Decoder::new(entry)).ok().flatten().filter(|read| read.encode() == entry)
    }
}

fn read(decoder: &mut Decoder<'_>) -> Result<Option<LmsEntry>, decode::Error> {
    decoder.array()?;
    let kind = decoder.str()?;
    let Some(key) = Digest::from_slice(decoder.bytes()?).map(KeyId) else { return Ok(None) };
    let number = decoder.u32()?;
    Ok(match kind {
        KEY => Some(LmsEntry::Key { key, leaves: number, watched: decoder.bool()? }),
        LEAF => Some(LmsEntry::Leaf { key, leaf: number }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Intent;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_no_other_way() {
        let key = KeyId(Digest([7; 32]));
        for entry in [
            LmsEntry::Key { key, leaves: 32, watched: true },
            LmsEntry::Key { key, leaves: 1 << 15, watched: false },
            LmsEntry::Leaf { key, leaf: 0 },
            LmsEntry::Leaf { key, leaf: u32::MAX },
        ] {
            let bytes = entry.encode();
            assert_eq!(LmsEntry::decode(&bytes), Some(entry));
            assert_eq!(Intent::decode(&bytes), None, "an entry is no intent");
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 0x40;
                assert_ne!(LmsEntry::decode(&other), Some(entry), "byte {at}");
                assert_eq!(LmsEntry::decode(&bytes[..at]), None);
            }
            assert_eq!(LmsEntry::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
