//! Public keys as devices hold them, and the ids computed from them.
//!
//! A key id is the COSE key thumbprint (RFC 9679): SHA-256 over the
//! deterministic encoding of the key's required members. It is computed
//! here, never believed: whatever id a message carries is only a hint.

use crate::cose::Algorithm;
use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;
use crate::lms;
use crate::mldsa;
use crate::rsa;

/// A public key that a device can verify with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublicKey<'a> {
    /// ECDSA on NIST P-256 with SHA-256: affine coordinates, big endian.
    P256 {
        /// The x coordinate.
        x: &'a [u8; 32],
        /// The y coordinate.
        y: &'a [u8; 32],
    },
    /// Ed25519 (RFC 8032).
    Ed25519(&'a [u8; 32]),
    /// LMS (RFC 8554): hash-based, with a limited number of signatures.
    Lms(lms::Key<'a>),
    /// ML-DSA (FIPS 204), with an empty context.
    MlDsa(mldsa::Key<'a>),
    /// RSASSA-PSS (RFC 8017) with SHA-256.
    Rsa(rsa::Key<'a>),
}

/// A key id: the COSE key thumbprint (RFC 9679) with SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub Digest);

impl core::fmt::Display for KeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl PublicKey<'_> {
    /// Whether it is meant to withstand quantum computers.
    pub const fn is_post_quantum(&self) -> bool {
        matches!(self, PublicKey::Lms(_) | PublicKey::MlDsa(_))
    }

    /// Length of its signatures.
    pub fn signature_len(&self) -> usize {
        match self {
            PublicKey::P256 { .. } | PublicKey::Ed25519(_) => 64,
            PublicKey::Lms(key) => key.parameters().signature_len(),
            PublicKey::MlDsa(key) => key.set().signature_len(),
            PublicKey::Rsa(key) => key.modulus().len(),
        }
    }

    /// Computes the key's id.
    ///
    /// The required members of an EC2 key are kty, crv, x and y as a byte
    /// string; of an OKP key, kty, crv and x; of an HSS-LMS key, kty and pub;
    /// of an RSA key, kty, n and e (RFC 9679 §4); of an AKP key, kty, alg and
    /// pub (RFC 9964 §3). Their deterministic encodings have a fixed shape,
    /// so they are written out.
    pub fn id(&self, crypto: &impl Crypto) -> KeyId {
        let mut hasher = crypto.sha256();
        match self {
            // {1: 2, -1: 1, -2: x, -3: y}
            PublicKey::P256 { x, y } => {
                hasher.update(&[0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20]);
                hasher.update(*x);
                hasher.update(&[0x22, 0x58, 0x20]);
                hasher.update(*y);
            }
            // {1: 1, -1: 6, -2: x}
            PublicKey::Ed25519(x) => {
                hasher.update(&[0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20]);
                hasher.update(*x);
            }
            // {1: 5, -1: pub}, of 52 or 60 bytes
            PublicKey::Lms(key) => {
                let encoded = key.encoded();
                hasher.update(&[0xa2, 0x01, 0x05, 0x20, 0x58, encoded.len() as u8]);
                hasher.update(encoded);
            }
            // {1: 7, 3: alg, -1: pub}, of 1312 to 2592 bytes
            PublicKey::MlDsa(key) => {
                let (algorithm, encoded) = (Algorithm::of(self).protected(), key.encoded());
                hasher.update(&[0xa3, 0x01, 0x07, 0x03]);
                // The head of a protected header is `a1 01`; its value is
                // the algorithm.
                hasher.update(&algorithm[2..]);
                hasher.update(&[0x20, 0x59, (encoded.len() >> 8) as u8, encoded.len() as u8]);
                hasher.update(encoded);
            }
            // {1: 3, -1: n, -2: e}, n of 384 or 512 bytes and e of 3
            PublicKey::Rsa(key) => {
                let modulus = key.modulus();
                hasher.update(&[0xa3, 0x01, 0x03, 0x20, 0x59]);
                hasher.update(&[(modulus.len() >> 8) as u8, modulus.len() as u8]);
                hasher.update(modulus);
                hasher.update(&[0x21, 0x43]);
                hasher.update(key.exponent());
            }
        }
        KeyId(hasher.finish())
    }
}
