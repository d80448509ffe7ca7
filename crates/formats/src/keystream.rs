//! Keystreams: AES in counter mode, at any offset.

use std::fmt;

use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::Zeroizing;

/// AES-128 or AES-256 in counter mode (SP 800-38A §6.5) from a counter of
/// zero. Each key is for one stream.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keystream {
    key: Zeroizing<Vec<u8>>,
}

impl Keystream {
    /// The stream of a key of 16 or 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Keystream> {
        matches!(key.len(), 16 | 32).then(|| Keystream { key: Zeroizing::new(key.to_vec()) })
    }

    /// Encrypts or decrypts what lies at `offset` of the stream. `None`
    /// where a stream of one key ends.
    pub(crate) fn apply(&self, offset: u64, bytes: &mut [u8]) -> Option<()> {
        fn run<C: KeyIvInit + StreamCipher + StreamCipherSeek>(
            key: &[u8],
            offset: u64,
            bytes: &mut [u8],
        ) -> Option<()> {
            let mut cipher = C::new_from_slices(key, &[0; 16]).ok()?;
            cipher.try_seek(offset).ok()?;
            cipher.try_apply_keystream(bytes).ok()
        }
        match self.key.len() {
            16 => run::<Ctr128BE<Aes128>>(&self.key, offset, bytes),
            _ => run::<Ctr128BE<Aes256>>(&self.key, offset, bytes),
        }
    }
}

impl fmt::Debug for Keystream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystream(aes-{})", self.key.len() * 8)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_offset_continues_the_same_stream() {
        for key in [vec![7; 16], vec![9; 32]] {
            let stream = Keystream::new(&key).unwrap();
            let mut whole = vec![0; 100];
            stream.apply(0, &mut whole).unwrap();
            for start in 0..whole.len() {
                let mut piece = vec![0; whole.len() - start];
                stream.apply(start as u64, &mut piece).unwrap();
                assert_eq!(piece, whole[start..]);
            }
        }
        // SP 800-38A has no vector with a counter of zero; AES-128 of a zero
        // block under a zero key (FIPS 197) is the stream's first block.
        let mut block = [0; 16];
        Keystream::new(&[0; 16]).unwrap().apply(0, &mut block).unwrap();
        assert_eq!(block[..4], [0x66, 0xe9, 0x4b, 0xd4]);
        assert!(Keystream::new(&[0; 24]).is_none());
    }
}
