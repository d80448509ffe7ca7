//! ECIES: the content key of an encrypted image, wrapped for its device
//! (MCUboot, docs/encrypted_images.md, "ECIES encryption").
//!
//! Nothing here is random. Content key and ephemeral key come out of the
//! image itself, so that the same wish makes the same file wherever it is
//! made; decision 42 says why that gives nothing away.

use zeroize::Zeroizing;

use super::NAME;
use super::header::{ENCRYPTED_AES128, ENCRYPTED_AES256};
use super::tlv::{self, Tlv};
use crate::agreement::{DecryptionKey, Recipient, Secret};
use crate::error::FormatError;
use crate::hkdf::{MacHash, mac_of};
use crate::source::Source;

/// How an image is encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Encryption {
    pub(super) recipient: Recipient,
    /// Length of the content key: 16 or 32 bytes.
    pub(super) key_len: usize,
    pub(super) mac: MacHash,
    /// Whether the payload stays as it is: an image for the primary slot,
    /// which is encrypted when it is swapped out.
    pub(super) clear: bool,
}

/// What an image's own bytes yield; known to whoever has them all.
pub(super) struct Seed(Zeroizing<Vec<u8>>);

impl Seed {
    /// The seed of what is signed: header, plaintext and protected TLVs.
    pub(super) fn of(signed: &dyn Source) -> Result<Seed, FormatError> {
        Ok(Seed(mac_of(b"firmseal mcuboot encryption 1", signed)?))
    }

    fn derive(&self, what: &str, encryption: &Encryption, count: u8) -> Zeroizing<Vec<u8>> {
        let bits = (encryption.key_len * 8) as u16;
        let mac = (encryption.mac.len() * 8) as u16;
        let mut info = what.as_bytes().to_vec();
        info.push(count);
        info.extend(bits.to_be_bytes());
        info.extend(mac.to_be_bytes());
        info.extend(encryption.recipient.bytes());
        MacHash::Sha256.expand(&self.0, &info, 32)
    }
}

/// The key that a payload is encrypted with, and the entry that holds it.
pub(super) struct Wrapped {
    pub(super) content_key: Zeroizing<Vec<u8>>,
    pub(super) tlv: Tlv,
}

impl Encryption {
    /// The header's flag.
    pub(super) fn flag(&self) -> u32 {
        if self.key_len == 32 { ENCRYPTED_AES256 } else { ENCRYPTED_AES128 }
    }

    /// Length of the value of the entry that holds the content key.
    pub(super) fn wrapped_len(&self) -> usize {
        self.recipient.bytes().len() + self.mac.len() + self.key_len
    }

    fn kind(&self) -> u16 {
        match (&self.recipient, self.mac) {
            (Recipient::P256(_), _) => tlv::ENC_P256,
            (Recipient::X25519(_), MacHash::Sha256) => tlv::ENC_X25519,
            (Recipient::X25519(_), MacHash::Sha512) => tlv::ENC_X25519_SHA512,
        }
    }

    /// Makes the content key of an image and wraps it.
    pub(super) fn wrap(&self, seed: &Seed) -> Result<Wrapped, FormatError> {
        let fail =
            || FormatError::unsupported(NAME, "the key to encrypt for is none that can be agreed with");
        // One in 2^32 values is no scalar of P-256.
        let ephemeral = (0..=u8::MAX)
            .find_map(|count| Secret::for_peer(&self.recipient, &seed.derive("ephemeral", self, count)))
            .ok_or_else(fail)?;
        let shared = ephemeral.agree(&self.recipient).ok_or_else(fail)?;
        let mut content_key = seed.derive("content", self, 0);
        content_key.truncate(self.key_len);
        let keys = Keys::derive(&*shared, self.key_len, self.mac);
        let mut sealed = content_key.to_vec();
        keys.apply(&mut sealed).ok_or_else(fail)?;
        let mut value = ephemeral.public().bytes();
        value.extend_from_slice(&self.mac.mac(&keys.mac, &[&sealed]));
        value.extend(sealed);
        Ok(Wrapped { content_key, tlv: Tlv::new(self.kind(), value) })
    }
}

/// The content key that `tlv` holds for this device, of `key_len` bytes.
/// `None` if it holds none for it.
pub(super) fn unwrap(tlv: &Tlv, key_len: usize, key: &DecryptionKey) -> Option<Zeroizing<Vec<u8>>> {
    let (point, mac) = match (tlv.kind, &key.0) {
        (tlv::ENC_P256, Secret::P256(_)) => (65, MacHash::Sha256),
        (tlv::ENC_X25519, Secret::X25519(_)) => (32, MacHash::Sha256),
        (tlv::ENC_X25519_SHA512, Secret::X25519(_)) => (32, MacHash::Sha512),
        _ => return None,
    };
    let (point, rest) = tlv.value.split_at_checked(point)?;
    let (tag, sealed) = rest.split_at_checked(mac.len())?;
    let ephemeral = match key.0 {
        Secret::P256(_) => Recipient::from_point(point)?,
        Secret::X25519(_) => Recipient::X25519(point.try_into().ok()?),
    };
    let keys = Keys::derive(&*key.0.agree(&ephemeral)?, key_len, mac);
    if sealed.len() != key_len || !mac.holds(&keys.mac, sealed, tag) {
        return None;
    }
    let mut content_key = Zeroizing::new(sealed.to_vec());
    keys.apply(&mut content_key)?;
    Some(content_key)
}

/// The keys that both sides derive from what they agreed on.
struct Keys {
    cipher: Zeroizing<Vec<u8>>,
    mac: Zeroizing<Vec<u8>>,
}

impl Keys {
    fn derive(shared: &[u8], key_len: usize, mac: MacHash) -> Keys {
        let mut cipher = mac.derive(shared, b"MCUBoot_ECIES_v1", key_len + mac.len());
        let mac = Zeroizing::new(cipher.split_off(key_len));
        Keys { cipher, mac }
    }

    fn apply(&self, bytes: &mut [u8]) -> Option<()> {
        crate::keystream::Keystream::new(&self.cipher)?.apply(0, bytes)
    }
}
