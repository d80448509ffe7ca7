//! A device's own key: files that are encrypted for it are opened with it,
//! to be looked at.

use std::fmt;

use base64ct::{Base64, Encoding};
use pkcs8::der::Decode;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use crate::agreement::{EC_PUBLIC_KEY, SECP256R1, Secret, X25519};
use crate::error::FormatError;
use crate::transport::RsaSecret;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A device's private key, or one that it shares, with which files for it
/// are opened to be looked at.
pub struct DecryptionKey(pub(crate) Held);

/// What a device holds.
pub(crate) enum Held {
    /// A key that others agree with.
    Agreement(Secret),
    /// A key that others encrypt for.
    Rsa(RsaSecret),
    /// An AES key that others have as well: 16 or 32 bytes.
    Shared(Zeroizing<Vec<u8>>),
}

impl DecryptionKey {
    /// Reads a private key in PEM: PKCS #8 (RFC 5958), P-256, X25519 or RSA,
    /// not encrypted. A shared key of 16 or 32 bytes is one line of base64.
    pub fn from_pem(text: &str) -> Result<DecryptionKey, FormatError> {
        let held = if text.trim_start().starts_with("-----BEGIN") { private(text) } else { shared(text) };
        held.map(DecryptionKey).ok_or(FormatError::DecryptionKey)
    }
}

fn private(pem: &str) -> Option<Held> {
    let document = match SecretDocument::from_pem(pem) {
        Ok(("PRIVATE KEY", document)) => document,
        _ => return None,
    };
    let info = PrivateKeyInfoRef::from_der(document.as_bytes()).ok()?;
    let bytes = info.private_key.as_bytes();
    let parameters = info.algorithm.parameters_oid();
    let secret = match (info.algorithm.oid, bytes) {
        // An ECPrivateKey (RFC 5915 §3) begins with version 1 and the key,
        // which has the curve's length.
        (EC_PUBLIC_KEY, [0x30, _, 0x02, 0x01, 0x01, 0x04, 0x20, rest @ ..])
            if parameters == Ok(SECP256R1) =>
        {
            Secret::P256(p256::SecretKey::from_slice(rest.get(..32)?).ok()?)
        }
        // An octet string within (RFC 8410 §7).
        (X25519, [0x04, 0x20, key @ ..]) => Secret::X25519(Zeroizing::new(key.try_into().ok()?)),
        (RSA_ENCRYPTION, key) => return RsaSecret::from_der(key).map(Held::Rsa),
        _ => return None,
    };
    Some(Held::Agreement(secret))
}

fn shared(text: &str) -> Option<Held> {
    let key = Zeroizing::new(Base64::decode_vec(text.trim()).ok()?);
    matches!(key.len(), 16 | 32).then_some(Held::Shared(key))
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Held::Agreement(Secret::P256(_)) => "DecryptionKey(p256)",
            Held::Agreement(Secret::X25519(_)) => "DecryptionKey(x25519)",
            Held::Rsa(_) => "DecryptionKey(rsa)",
            Held::Shared(_) => "DecryptionKey(shared)",
        })
    }
}
