//! ECIES: a content key, wrapped for a device with which a key is agreed on
//! (MCUboot, docs/encrypted_images.md, "ECIES encryption").

use zeroize::Zeroizing;

use super::tlv::{self, Tlv};
use crate::agreement::{Recipient, Secret};
use crate::hkdf::MacHash;
use crate::keystream::Keystream;

/// Wraps a content key, with an ephemeral key out of what `derive` yields
/// for zero, or else one, and so on.
pub(super) fn seal(
    content_key: &[u8],
    recipient: &Recipient,
    mac: MacHash,
    derive: impl Fn(u8) -> Zeroizing<Vec<u8>>,
) -> Option<Tlv> {
    let kind = match (recipient, mac) {
        (Recipient::P256(_), _) => tlv::ENC_P256,
        (Recipient::X25519(_), MacHash::Sha256) => tlv::ENC_X25519,
        (Recipient::X25519(_), MacHash::Sha512) => tlv::ENC_X25519_SHA512,
    };
    // One in 2^32 values is no scalar of P-256.
    let ephemeral = (0..=u8::MAX).find_map(|count| Secret::for_peer(recipient, &derive(count)))?;
    let keys = Keys::derive(&*ephemeral.agree(recipient)?, content_key.len(), mac);
    let mut sealed = content_key.to_vec();
    keys.apply(&mut sealed)?;
    let mut value = ephemeral.public().bytes();
    value.extend_from_slice(&mac.mac(&keys.mac, &[&sealed]));
    value.extend(sealed);
    Some(Tlv::new(kind, value))
}

/// The content key that `tlv` holds for this key, of `key_len` bytes.
pub(super) fn open(tlv: &Tlv, key_len: usize, secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let (point, mac) = match (tlv.kind, secret) {
        (tlv::ENC_P256, Secret::P256(_)) => (65, MacHash::Sha256),
        (tlv::ENC_X25519, Secret::X25519(_)) => (32, MacHash::Sha256),
        (tlv::ENC_X25519_SHA512, Secret::X25519(_)) => (32, MacHash::Sha512),
        _ => return None,
    };
    let (point, rest) = tlv.value.split_at_checked(point)?;
    let (tag, sealed) = rest.split_at_checked(mac.len())?;
    let ephemeral = match secret {
        Secret::P256(_) => Recipient::from_point(point)?,
        Secret::X25519(_) => Recipient::X25519(point.try_into().ok()?),
    };
    let keys = Keys::derive(&*secret.agree(&ephemeral)?, key_len, mac);
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
        Keystream::new(&self.cipher)?.apply(0, bytes)
    }
}
