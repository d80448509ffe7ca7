//! Keys and signatures as TUF writes them.
//!
//! The list of key types is closed: what python-tuf, go-tuf and tough all
//! verify with is RSA-PSS, Ed25519 and ECDSA on P-256.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};
use serde_json::{Value, json};

use crate::canonical;
use crate::error::TufError;
use crate::role::Role;

/// Longest role that an Ed25519 key signs, in bytes: what tokens of every
/// kind take whole (decision 21).
const WHOLE_MAX: usize = 64 * 1024;

/// A public key with its TUF id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    public: PublicKey,
    id: String,
}

impl Key {
    /// A key that TUF clients verify with.
    pub fn new(public: PublicKey) -> Result<Key, TufError> {
        let unspeakable = TufError::KeyType(public.algorithm());
        let text = canonical::encode(&object(&public)?).ok_or(unspeakable)?;
        let id = RustCrypto.digest(&text).to_string();
        Ok(Key { public, id })
    }

    /// Reads a key of a root; `None` for anything but what [`Key::object`]
    /// writes.
    pub(crate) fn read(value: &Value) -> Option<Key> {
        let text = value["keyval"]["public"].as_str()?;
        let public = match value["keytype"].as_str()? {
            "ed25519" => PublicKey::from_ed25519(unhex(text)?.try_into().ok()?),
            _ => PublicKey::from_pem(text),
        };
        let key = Key::new(public.ok()?).ok()?;
        (object(&key.public).ok()? == *value).then_some(key)
    }

    /// The key id: SHA-256 of the canonical form of the key, which tough
    /// checks and the others take as it comes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key as it stands in a root (TUF 1.0.34 §4.3).
    pub(crate) fn object(&self) -> Value {
        // It was written once already, to make the id.
        object(&self.public).unwrap_or_default()
    }

    /// What the key signs for these canonical bytes: the bytes where it
    /// hashes twice (Ed25519), or else their digest, however many there are.
    pub(crate) fn to_be_signed(&self, canonical: &[u8], role: Role) -> Result<Tbs, TufError> {
        match self.public.algorithm() {
            KeyAlgorithm::Ed25519 if canonical.len() > WHOLE_MAX => Err(TufError::TooLong(role)),
            KeyAlgorithm::Ed25519 => Ok(Tbs::Message(canonical.to_vec())),
            _ => Ok(Tbs::Sha256(RustCrypto.digest(canonical).0)),
        }
    }

    /// A signature as metadata carries it, in hex: ECDSA in DER, which is
    /// what clients expect.
    pub(crate) fn write_signature(&self, signature: &Signature) -> String {
        match self.public.algorithm() {
            KeyAlgorithm::P256 => hex(&der(&signature.0)),
            _ => hex(&signature.0),
        }
    }

    /// The way back.
    pub(crate) fn read_signature(&self, text: &str) -> Option<Signature> {
        let bytes = unhex(text)?;
        match self.public.algorithm() {
            KeyAlgorithm::P256 => from_der(&bytes).map(Signature),
            _ => Some(Signature(bytes)),
        }
    }
}

fn object(public: &PublicKey) -> Result<Value, TufError> {
    let (keytype, scheme, text) = match public.algorithm() {
        KeyAlgorithm::Ed25519 => ("ed25519", "ed25519", hex(&public.bits())),
        KeyAlgorithm::P256 => ("ecdsa", "ecdsa-sha2-nistp256", public.to_pem()?),
        KeyAlgorithm::Rsa(_) => ("rsa", "rsassa-pss-sha256", public.to_pem()?),
        other => return Err(TufError::KeyType(other)),
    };
    Ok(json!({ "keytype": keytype, "scheme": scheme, "keyval": { "public": text } }))
}

/// r || s of P-256 as `SEQUENCE { INTEGER, INTEGER }` (RFC 3279 §2.2.3).
/// All lengths are short: two integers of at most 33 bytes.
fn der(fixed: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    for half in fixed.chunks(32) {
        let first = half.iter().position(|byte| *byte != 0).unwrap_or(half.len().saturating_sub(1));
        let digits = &half[first..];
        let sign = digits.first().is_some_and(|byte| *byte >= 0x80);
        inner.extend([2, (digits.len() + usize::from(sign)) as u8]);
        inner.extend(sign.then_some(0));
        inner.extend(digits);
    }
    [&[0x30, inner.len() as u8][..], &inner].concat()
}

/// The only spelling that [`der`] has is the one that is read.
fn from_der(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut fixed = vec![0; 64];
    let mut rest = bytes.get(2..)?;
    for half in fixed.chunks_mut(32) {
        let (head, after) = rest.split_at_checked(2)?;
        let (digits, after) = after.split_at_checked(usize::from(head[1]))?;
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        half.get_mut(32usize.checked_sub(digits.len())?..)?.copy_from_slice(digits);
        rest = after;
    }
    (der(&fixed) == bytes).then_some(fixed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| Some(nibble(pair.first()?)? << 4 | nibble(pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecdsa_signatures_survive_der() {
        let mut low = vec![0; 64];
        low[31] = 1;
        low[32] = 0x80;
        let mut high = vec![0xff; 64];
        high[0] = 0x7f;
        for fixed in [low, high, vec![0; 64], vec![0x80; 64]] {
            assert_eq!(from_der(&der(&fixed)), Some(fixed));
        }
        let mut one = vec![0; 64];
        one[31] = 1;
        one[63] = 0x80;
        assert_eq!(der(&one), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
    }

    #[test]
    fn other_spellings_are_no_signatures() {
        let good = [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80];
        assert!(from_der(&good).is_some());
        for at in 0..good.len() {
            assert!(from_der(&good[..at]).is_none(), "cut at {at}");
        }
        let padded = [0x30, 8, 2, 2, 0, 1, 2, 2, 0, 0x80];
        let negative = [0x30, 6, 2, 1, 1, 2, 1, 0x80];
        let longer = [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80, 0];
        for bad in [&padded[..], &negative, &longer, &[0x31, 7, 2, 1, 1, 2, 2, 0, 0x80], &[0x30, 70, 2, 40]] {
            assert!(from_der(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn hex_is_lower_case_and_even() {
        assert_eq!(unhex("00ff"), Some(vec![0, 255]));
        for bad in ["0", "0F", "zz", "00f"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
