//! A signature block (ESP-IDF, "Secure Boot v2", "Signature Block Format"), 1216
//! bytes, all numbers lowest byte first:
//!
//! ```text
//! RSA:   e7 02 00 00 | digest (32) | n (384) | e (4) | R² (384) | m' (4) | signature (384)
//! P-256: e7 03 00 00 | digest (32) | curve 2 | x, y (32 each) | r, s | zeros
//! P-384: e7 03 01 00 | digest (48) | curve 3 | x, y (48 each) | r, s | zeros
//!   all: ... up to 1196 | CRC-32 of that | 16 zeros
//! ```

use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature};

use super::NAME;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::{der, montgomery};

/// Length of a block.
pub(super) const LEN: usize = 1216;
/// Length of a modulus.
const MODULUS: usize = 384;
/// What the CRC is over.
const CHECKED: usize = 1196;
/// Curves, and what they are of here.
const P192: u8 = 1;
const P256: u8 = 2;
const P384: u8 = 3;

/// Who signed, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// Of the image.
    pub(super) digest: Vec<u8>,
    /// The signer's; `None` for P-192, which nobody here verifies.
    pub(super) key: Option<PublicKey>,
    /// As the key gives it: RSA with the highest byte first, ECDSA as r || s.
    pub(super) signature: Signature,
    /// SHA-256 of the key as it stands in the block: what the fuses hold.
    pub(super) key_digest: Vec<u8>,
}

impl Block {
    /// The hash of the image that a key signs.
    pub(super) fn hash_of(key: &PublicKey) -> Hash {
        if key.algorithm() == KeyAlgorithm::P384 { Hash::Sha384 } else { Hash::Sha256 }
    }

    /// Reads a block of which every byte means something.
    pub(super) fn read(bytes: &[u8; LEN]) -> Result<Block, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, format!("a signature block of its {what}"));
        let (checked, rest) = bytes.split_at(CHECKED);
        if rest[..4] != crc32(checked).to_le_bytes() {
            return Err(malformed("has a wrong CRC"));
        }
        if rest[4..].iter().any(|byte| *byte != 0) {
            return Err(malformed("does not end with zeros"));
        }
        let (kind, rest) = checked.split_at(4);
        match kind {
            [0xe7, 2, 0, 0] => rsa(rest).map_err(malformed),
            [0xe7, 3, 0, 0] => ecdsa(rest, Hash::Sha256).map_err(malformed),
            [0xe7, 3, 1, 0] => ecdsa(rest, Hash::Sha384).map_err(malformed),
            _ => Err(malformed("is of no kind that is known")),
        }
    }

    /// The block for a digest, signed by a key.
    pub(super) fn write(
        key: &PublicKey,
        digest: &[u8],
        signature: &Signature,
    ) -> Result<Vec<u8>, FormatError> {
        let algorithm = key.algorithm();
        let need = match algorithm {
            KeyAlgorithm::P256 => 64,
            KeyAlgorithm::P384 => 96,
            _ => MODULUS,
        };
        if signature.0.len() != need {
            return Err(FormatError::SignatureShape { algorithm, why: "it has another length" });
        }
        let kind = match algorithm {
            KeyAlgorithm::P256 => [0xe7, 3, 0, 0],
            KeyAlgorithm::P384 => [0xe7, 3, 1, 0],
            _ => [0xe7, 2, 0, 0],
        };
        let mut out = kind.to_vec();
        out.extend(digest);
        out.extend(encoded(key)?);
        match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => out.extend(halves_reversed(&signature.0)),
            _ => out.extend(signature.0.iter().rev()),
        }
        out.resize(CHECKED, 0);
        let crc = crc32(&out);
        out.extend(crc.to_le_bytes());
        out.resize(LEN, 0);
        Ok(out)
    }
}

/// A key as blocks hold it.
pub(super) fn encoded(key: &PublicKey) -> Result<Vec<u8>, FormatError> {
    let curve = match key.algorithm() {
        KeyAlgorithm::P256 => P256,
        KeyAlgorithm::P384 => P384,
        algorithm => {
            let numbers = key.rsa().and_then(|(n, e)| Some((n, reversed::<MODULUS>(n)?, reversed::<4>(e)?)));
            let (modulus, n, e) =
                numbers.ok_or(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead: KEYS })?;
            let m_prime = montgomery::n0_inverse(modulus).to_le_bytes();
            let mut r_squared = montgomery::r_squared(modulus);
            r_squared.reverse();
            return Ok([&n[..], &e, &r_squared, &m_prime].concat());
        }
    };
    let mut out = vec![curve];
    out.extend(halves_reversed(key.bits().get(1..).unwrap_or_default()));
    Ok(out)
}

/// What keys there are, for a message.
pub(super) const KEYS: &str = "an RSA-3072, P-256 or P-384 key; of RSA keys one whose exponent is below 2^32";

/// A number in so many bytes, the lowest first.
fn reversed<const N: usize>(number: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let place = out.get_mut(..number.len())?;
    place.copy_from_slice(number);
    place.reverse();
    Some(out)
}

fn rsa(bytes: &[u8]) -> Result<Block, der::Bad> {
    let (digest, rest) = bytes.split_at(32);
    let (key, rest) = rest.split_at(MODULUS * 2 + 8);
    let mut signature = rest.to_vec();
    signature.reverse();
    let number = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    let (n, rest) = key.split_at(MODULUS);
    let public = PublicKey::from_rsa(&number(n), &number(&rest[..4]))
        .ok()
        .filter(|key| key.algorithm() == KeyAlgorithm::Rsa(3072))
        .ok_or("has an RSA key that cannot be used: it has another length than 3072 bits, or an unusual exponent")?;
    // Computed from the key, and compared: with others the ROM would verify
    // something else than everybody who goes by the key.
    if !encoded(&public).is_ok_and(|own| own == key) {
        return Err("has numbers beside its RSA key that are not this key's");
    }
    Ok(Block {
        digest: digest.to_vec(),
        key: Some(public),
        signature: Signature(signature),
        key_digest: Hash::Sha256.of(key),
    })
}

fn ecdsa(bytes: &[u8], hash: Hash) -> Result<Block, der::Bad> {
    let (digest, rest) = bytes.split_at(hash.len());
    // Places are those of the longest curve with this hash.
    let place = 2 * if hash == Hash::Sha384 { 48 } else { 32 };
    let (encoded, rest) = rest.split_at(1 + place);
    let (curve, algorithm) = match (encoded[0], hash) {
        (P256, Hash::Sha256) => (64, Some(KeyAlgorithm::P256)),
        (P384, Hash::Sha384) => (96, Some(KeyAlgorithm::P384)),
        (P192, Hash::Sha256) => (48, None),
        _ => return Err("has a curve that does not go with its hash"),
    };
    let (signature, zeros) = rest.split_at(place);
    let ((point, behind), (value, after)) = (encoded[1..].split_at(curve), signature.split_at(curve));
    if [behind, after, zeros].into_iter().flatten().any(|byte| *byte != 0) {
        return Err("has something beside key and signature");
    }
    let key = match algorithm {
        None => None,
        Some(algorithm) => {
            let point = [&[4][..], &halves_reversed(point)].concat();
            let key = PublicKey::from_point(algorithm, &point);
            Some(key.map_err(|_| "has a key that cannot be used")?)
        }
    };
    Ok(Block {
        digest: digest.to_vec(),
        key,
        signature: Signature(halves_reversed(value)),
        key_digest: Hash::Sha256.of(encoded),
    })
}

/// Two numbers in the other order of bytes.
fn halves_reversed(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    first.iter().rev().chain(second.iter().rev()).copied().collect()
}

/// CRC-32 (ISO 3309), as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let reduced = if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            crc >> 1 ^ reduced
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
