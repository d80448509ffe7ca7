//! A public key as vbmeta holds it (libavb, avb_crypto.h,
//! AvbRSAPublicKeyHeader): its length in bits, -1/n mod 2^32, n, and R² mod n.
//! The exponent is 65537.

use firmseal_manifest::{KeyAlgorithm, PublicKey};

use super::NAME;
use super::words::Words;
use crate::der::Bad;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::montgomery::{n0_inverse, r_squared};

const EXPONENT: &[u8] = &[1, 0, 1];

/// A key, and the bytes that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) bytes: Vec<u8>,
    pub(super) bits: u16,
    /// `None` for keys of 8192 bits, which nobody here verifies with.
    pub(super) public: Option<PublicKey>,
}

impl Key {
    /// Reads a key whose numbers are its own: with others libavb would verify
    /// something else than everybody who goes by the modulus.
    pub(super) fn read(bytes: &[u8]) -> Result<Key, Bad> {
        const LENGTH: Bad = "a public key in it has another length than 2048, 4096 or 8192 bits";
        let mut words = Words(bytes);
        let (bits, inverse) = (words.u32()?, words.u32()?);
        let bits = match bits {
            2048 | 4096 | 8192 => bits as u16,
            _ => return Err(LENGTH),
        };
        let modulus = words.bytes(u64::from(bits) / 8)?;
        let (Some(0x80..), Some(last)) = (modulus.first(), modulus.last()) else { return Err(LENGTH) };
        if words.0.len() != modulus.len() {
            return Err(LENGTH);
        }
        if last % 2 == 0 || inverse != n0_inverse(modulus) || words.0 != r_squared(modulus) {
            return Err("a public key in it has numbers beside its modulus that are not this key's");
        }
        Ok(Key { bytes: bytes.to_vec(), bits, public: PublicKey::from_rsa(modulus, EXPONENT).ok() })
    }

    /// That of a key that signs.
    pub(super) fn of(key: &PublicKey) -> Result<Key, FormatError> {
        let algorithm = key.algorithm();
        let refused = |use_instead| FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead };
        let (KeyAlgorithm::Rsa(bits @ (2048 | 4096)), Some((modulus, exponent))) = (algorithm, key.rsa())
        else {
            return Err(refused("an RSA key of 2048 or 4096 bits"));
        };
        if exponent != EXPONENT {
            return Err(refused(
                "one with the exponent 65537, with which libavb verifies whatever the key's is",
            ));
        }
        let numbers = [u32::from(bits), n0_inverse(modulus)].map(u32::to_be_bytes).concat();
        let bytes = [&numbers, modulus, &r_squared(modulus)].concat();
        Ok(Key { bytes, bits, public: Some(key.clone()) })
    }

    /// SHA-256 of the bytes, as of the file that `avbtool extract_public_key`
    /// writes.
    pub(super) fn digest(&self) -> String {
        hex(&Hash::Sha256.of(&self.bytes))
    }
}
