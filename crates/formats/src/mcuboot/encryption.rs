//! Encryption: for which device an image is, and how its content key gets
//! there (MCUboot, docs/encrypted_images.md).
//!
//! Nothing here is random. Content key, ephemeral key and OAEP's seed come
//! out of the image itself, so that the same wish makes the same file
//! wherever it is made; decision 42 says why that gives nothing away.

use base64ct::{Base64, Encoding};
use pkcs8::der::Document;
use zeroize::Zeroizing;

use super::NAME;
use super::ecies;
use super::header::{ENCRYPTED_AES128, ENCRYPTED_AES256};
use super::tlv::{self, Tlv};
use crate::agreement::Recipient;
use crate::decryption_key::{DecryptionKey, Held};
use crate::error::FormatError;
use crate::hkdf::{MacHash, mac_of};
use crate::key_wrap;
use crate::parameters::{Parameters, bad};
use crate::source::Source;
use crate::transport::{RsaRecipient, SEED};

/// How an image is encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Encryption {
    pub(super) device: Device,
    /// Length of the content key: 16 or 32 bytes.
    pub(super) key_len: usize,
    /// Whether the payload stays as it is: an image for the primary slot,
    /// which is encrypted when it is swapped out.
    pub(super) clear: bool,
}

/// Whom an image is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Device {
    /// Who agrees on a key (ECIES).
    Agreed(Recipient, MacHash),
    /// Who decrypts one (RSA-OAEP).
    Rsa(RsaRecipient),
}

/// What an image's own bytes yield; known to whoever has them all.
pub(super) struct Seed(Zeroizing<Vec<u8>>);

impl Seed {
    /// The seed of what is signed: header, plaintext and protected TLVs.
    pub(super) fn of(signed: &dyn Source) -> Result<Seed, FormatError> {
        Ok(Seed(mac_of(b"firmseal mcuboot encryption 1", signed)?))
    }

    fn derive(&self, what: &str, encryption: &Encryption, count: u8) -> Zeroizing<Vec<u8>> {
        let (mac_len, recipient) = match &encryption.device {
            Device::Agreed(recipient, mac) => (mac.len(), recipient.bytes()),
            Device::Rsa(recipient) => (0, recipient.der().to_vec()),
        };
        let mut info = what.as_bytes().to_vec();
        info.push(count);
        info.extend(((encryption.key_len * 8) as u16).to_be_bytes());
        info.extend(((mac_len * 8) as u16).to_be_bytes());
        info.extend(recipient);
        MacHash::Sha256.expand(&self.0, &info, SEED)
    }
}

/// The key that a payload is encrypted with, and the entry that holds it.
pub(super) struct Wrapped {
    pub(super) content_key: Zeroizing<Vec<u8>>,
    pub(super) tlv: Tlv,
}

impl Encryption {
    /// What is asked for.
    pub(super) fn parse(given: &Parameters) -> Result<Option<Encryption>, FormatError> {
        let Some(text) = given.get("encrypt") else {
            // Asked for without a key, a file would stay readable unnoticed.
            let lost = ["encrypt-keylen", "hmac-sha", "clear", "save-enctlv"];
            return match lost.into_iter().find(|name| given.get(name).is_some()) {
                Some(name) => Err(bad(name, "needs encrypt, the public key of the device".to_owned())),
                None => Ok(None),
            };
        };
        let device = device(text, given.get("hmac-sha"))?;
        let key_len = match given.get("encrypt-keylen") {
            None | Some("128") => 16,
            Some("256") => 32,
            Some(_) => return Err(bad("encrypt-keylen", "use 128 or 256".to_owned())),
        };
        Ok(Some(Encryption { device, key_len, clear: given.flag("clear")? }))
    }

    /// The header's flag.
    pub(super) fn flag(&self) -> u32 {
        if self.key_len == 32 { ENCRYPTED_AES256 } else { ENCRYPTED_AES128 }
    }

    /// Length of the value of the entry that holds the content key.
    pub(super) fn wrapped_len(&self) -> usize {
        match &self.device {
            Device::Agreed(recipient, mac) => recipient.bytes().len() + mac.len() + self.key_len,
            Device::Rsa(recipient) => recipient.len(),
        }
    }

    /// Makes the content key of an image and wraps it.
    pub(super) fn wrap(&self, seed: &Seed) -> Result<Wrapped, FormatError> {
        let mut content_key = seed.derive("content", self, 0);
        content_key.truncate(self.key_len);
        let tlv = match &self.device {
            Device::Agreed(recipient, mac) => {
                ecies::seal(&content_key, recipient, *mac, |count| seed.derive("ephemeral", self, count))
            }
            Device::Rsa(recipient) => seed
                .derive("oaep", self, 0)
                .first_chunk()
                .and_then(|seed| recipient.seal(&content_key, seed))
                .map(|value| Tlv::new(tlv::ENC_RSA2048, value)),
        };
        let tlv = tlv.ok_or_else(|| {
            FormatError::unsupported(NAME, "the key to encrypt for is none that can be encrypted for")
        })?;
        Ok(Wrapped { content_key, tlv })
    }
}

/// The device of a public key: PEM, or the base64 between PEM's lines.
fn device(text: &str, mac: Option<&str>) -> Result<Device, FormatError> {
    let fail = |why: &str| {
        let forms = "PEM, or the base64 between its lines";
        bad("encrypt", format!("not a public key of P-256, X25519, RSA-2048 or RSA-3072{why}: {forms}"))
    };
    let spki = spki(text.trim()).ok_or_else(|| fail(""))?;
    // An order is shown to approvers and kept: a key that opens every image
    // for every device has no place in it.
    if matches!(spki.len(), 16 | 24 | 32) {
        return Err(fail(" but as long as a shared key, which is a secret; AES key wrap is not written"));
    }
    if let Some(recipient) = RsaRecipient::from_spki(&spki) {
        return match (recipient.len(), mac) {
            (256 | 384, None) => Ok(Device::Rsa(recipient)),
            (256 | 384, Some(_)) => Err(bad("hmac-sha", "RSA keys take none".to_owned())),
            _ => Err(fail("")),
        };
    }
    let recipient = Recipient::from_spki(&spki).ok_or_else(|| fail(""))?;
    let mac = match (mac, &recipient) {
        (None | Some("256"), _) => MacHash::Sha256,
        (Some("512"), Recipient::X25519(_)) => MacHash::Sha512,
        (Some("512"), _) => return Err(bad("hmac-sha", "512 goes with X25519 keys alone".to_owned())),
        (Some(_), _) => return Err(bad("hmac-sha", "use 256 or 512".to_owned())),
    };
    Ok(Device::Agreed(recipient, mac))
}

fn spki(text: &str) -> Option<Vec<u8>> {
    if text.starts_with("-----BEGIN") {
        return match Document::from_pem(text) {
            Ok(("PUBLIC KEY", info)) => Some(info.as_bytes().to_vec()),
            _ => None,
        };
    }
    let line: String = text.split_ascii_whitespace().collect();
    Base64::decode_vec(&line).ok()
}

/// The content key that `tlv` holds for this device, of `key_len` bytes.
/// `None` if it holds none for it.
pub(super) fn unwrap(tlv: &Tlv, key_len: usize, key: &DecryptionKey) -> Option<Zeroizing<Vec<u8>>> {
    let content_key = match (tlv.kind, &key.0) {
        (tlv::ENC_RSA2048, Held::Rsa(secret)) => secret.open(&tlv.value)?,
        // bootutil's key encryption key is as long as what it wraps
        // (BOOT_ENC_KEY_SIZE).
        (tlv::ENC_KW, Held::Shared(shared)) if shared.len() == key_len => {
            key_wrap::unwrap(shared, &tlv.value)?
        }
        (_, Held::Agreement(secret)) => ecies::open(tlv, key_len, secret)?,
        _ => return None,
    };
    (content_key.len() == key_len).then_some(content_key)
}
