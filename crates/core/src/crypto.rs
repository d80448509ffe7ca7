//! The two things core needs from cryptography: a digest and a verdict.
//!
//! The default implementation, [`RustCrypto`], uses sha2, p256 and
//! ed25519-dalek. A board with an accelerator implements [`Crypto`] itself.

use crate::digest::Digest;
use crate::key::PublicKey;

/// The signature does not verify under the key. Deliberately without
/// detail: why a forgery failed is nobody's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSignature;

/// A running SHA-256.
pub trait Hasher {
    /// Adds bytes.
    fn update(&mut self, bytes: &[u8]);
    /// Finishes and returns the value.
    fn finish(self) -> Digest;
}

/// Digest and signature verification.
///
/// Contract: both are total functions of their inputs. `verify` returns
/// `Ok` only if the signature is valid for exactly this message under
/// exactly this key; every malformed key or signature is [`BadSignature`].
pub trait Crypto {
    /// The hasher this implementation makes.
    type Hasher: Hasher;

    /// Starts a SHA-256.
    fn sha256(&self) -> Self::Hasher;

    /// Checks `signature` over `message`: for P-256, ECDSA with SHA-256 and
    /// the signature as r || s (RFC 9053 §2.1); for Ed25519, RFC 8032; for
    /// LMS, [`Key::verify`](crate::lms::Key::verify); for ML-DSA, FIPS 204
    /// with an empty context; for RSA, RSASSA-PSS with SHA-256 and a salt of
    /// 32 bytes (RFC 8230 §2).
    fn verify(&self, key: &PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature>;

    /// SHA-256 of one slice.
    fn digest(&self, bytes: &[u8]) -> Digest {
        let mut hasher = self.sha256();
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RustCrypto;

#[cfg(feature = "rustcrypto")]
mod rustcrypto {
    use super::{BadSignature, Crypto, Digest, Hasher, PublicKey};
    use p256::ecdsa::signature::Verifier;
    use sha2::Digest as _;

    /// The default implementation, from well-kept pure-Rust crates.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct RustCrypto;

    impl Hasher for sha2::Sha256 {
        fn update(&mut self, bytes: &[u8]) {
            sha2::Digest::update(self, bytes);
        }

        fn finish(self) -> Digest {
            Digest(self.finalize().into())
        }
    }

    impl Crypto for RustCrypto {
        type Hasher = sha2::Sha256;

        fn sha256(&self) -> sha2::Sha256 {
            sha2::Sha256::new()
        }

        fn verify(&self, key: &PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
            match key {
                PublicKey::P256 { x, y } => p256(x, y, message, signature),
                PublicKey::Ed25519(x) => ed25519(x, message, signature),
                PublicKey::Lms(key) => key.verify(message, signature, self),
                #[cfg(feature = "ml-dsa")]
                PublicKey::MlDsa(key) => key.verify(message, signature),
                // Without it no such key is ever decoded.
                #[cfg(not(feature = "ml-dsa"))]
                PublicKey::MlDsa(_) => Err(BadSignature),
                #[cfg(feature = "rsa")]
                PublicKey::Rsa(key) => key.verify(message, signature, self),
                #[cfg(not(feature = "rsa"))]
                PublicKey::Rsa(_) => Err(BadSignature),
            }
        }
    }

    // Apart, so that no algorithm pays for the stack of another.
    #[inline(never)]
    fn p256(x: &[u8; 32], y: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut sec1 = [4u8; 65];
        sec1[1..33].copy_from_slice(x);
        sec1[33..].copy_from_slice(y);
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&sec1).map_err(|_| BadSignature)?;
        let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
        key.verify(message, &signature).map_err(|_| BadSignature)
    }

    #[inline(never)]
    fn ed25519(x: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(x).map_err(|_| BadSignature)?;
        let signature = signature.try_into().map_err(|_| BadSignature)?;
        // Strict: refuses small-order keys and points, under which one
        // signature can be valid for many messages.
        key.verify_strict(message, &signature).map_err(|_| BadSignature)
    }
}
