//! Signature verification on hosts: P-256, P-384, Ed25519, RSA-PSS, ML-DSA
//! and LMS.
//!
//! Devices verify with `firmseal-core`; this is for everything that a host
//! checks, above all what a signer is about to hand out.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ML_DSA_44, ML_DSA_65, ML_DSA_87,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use firmseal_core::PublicKey as CoreKey;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::mldsa::Set;
use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

/// Why a signature is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The algorithm does not sign this kind of input.
    #[error("a {algorithm} key does not sign {input}")]
    Unsupported {
        /// The key's algorithm.
        algorithm: KeyAlgorithm,
        /// What it was asked about.
        input: &'static str,
    },
    /// The key or the signature is malformed, or the signature is not by
    /// this key over these bytes. Deliberately one answer.
    #[error("the signature does not verify under the key")]
    BadSignature,
}

/// Checks that `signature` was made with `key` over `tbs`.
///
/// ECDSA signatures are r || s at full width; RSA is RSASSA-PSS with
/// SHA-256, MGF1 with SHA-256 and a salt of exactly 32 bytes.
pub fn verify(key: &PublicKey, tbs: &Tbs, signature: &Signature) -> Result<(), VerifyError> {
    Verifier::new(key)?.verify(tbs, signature)
}

/// Checks that `signature` was made with `key` over a message of any length.
/// What keys are given to sign is short; what others have signed may not be.
pub fn verify_message(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), VerifyError> {
    Verifier::new(key)?.message(message, signature)
}

/// A public key made ready to verify with, many times and from any thread.
pub struct Verifier {
    algorithm: KeyAlgorithm,
    key: Ready,
    /// An Ed25519 key of small order, under which nothing verifies.
    small_order: bool,
}

/// The key, in the hands of who verifies with it.
enum Ready {
    Library(ParsedPublicKey),
    /// An RSA key: with PSS, and with PKCS #1 v1.5 where that is asked for;
    /// the key itself for salts of another length, which the library does not
    /// know.
    Rsa {
        pss: ParsedPublicKey,
        pkcs1: ParsedPublicKey,
        itself: PublicKey,
    },
    /// What the library does not know, core does.
    Core(PublicKey),
}

impl Verifier {
    /// Reads the key. A point that is not on its curve is refused here.
    pub fn new(key: &PublicKey) -> Result<Verifier, VerifyError> {
        let algorithm = key.algorithm();
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            KeyAlgorithm::P256 => &ECDSA_P256_SHA256_FIXED,
            KeyAlgorithm::P384 => &ECDSA_P384_SHA384_FIXED,
            KeyAlgorithm::Ed25519 => &ED25519,
            KeyAlgorithm::Rsa(_) => &RSA_PSS_2048_8192_SHA256,
            KeyAlgorithm::MlDsa(Set::MlDsa44) => &ML_DSA_44,
            KeyAlgorithm::MlDsa(Set::MlDsa65) => &ML_DSA_65,
            KeyAlgorithm::MlDsa(Set::MlDsa87) => &ML_DSA_87,
            KeyAlgorithm::Lms(_) => {
                return Ok(Verifier { algorithm, key: Ready::Core(key.clone()), small_order: false });
            }
        };
        let bits = key.bits();
        let small_order = algorithm == KeyAlgorithm::Ed25519 && is_small_order(&bits);
        let parsed = |scheme| ParsedPublicKey::new(scheme, &bits).map_err(|_| VerifyError::BadSignature);
        let key = match algorithm {
            KeyAlgorithm::Rsa(_) => {
                let pkcs1 = parsed(&RSA_PKCS1_2048_8192_SHA256)?;
                Ready::Rsa { pss: parsed(scheme)?, pkcs1, itself: key.clone() }
            }
            _ => Ready::Library(parsed(scheme)?),
        };
        Ok(Verifier { algorithm, key, small_order })
    }

    /// Checks one signature.
    pub fn verify(&self, tbs: &Tbs, signature: &Signature) -> Result<(), VerifyError> {
        check_input(self.algorithm, tbs)
            .map_err(|input| VerifyError::Unsupported { algorithm: self.algorithm, input })?;
        let (value, digest) = match tbs {
            Tbs::Message(message) => return self.message(message, signature),
            Tbs::PssMax(value) => return self.longest_salt(value, signature),
            Tbs::Sha256(value) | Tbs::Pkcs1(value) => (value.as_slice(), &digest::SHA256),
            Tbs::Sha384(value) => (value.as_slice(), &digest::SHA384),
        };
        let key = match (&self.key, tbs) {
            (Ready::Rsa { pkcs1, .. }, Tbs::Pkcs1(_)) => pkcs1,
            (Ready::Rsa { pss: key, .. } | Ready::Library(key), _) => key,
            // Only keys of the library's sign digests.
            (Ready::Core(_), _) => return Err(VerifyError::BadSignature),
        };
        key.verify_digest_sig(&import(value, digest)?, &signature.0).map_err(|_| VerifyError::BadSignature)
    }

    fn longest_salt(&self, digest: &[u8; 32], signature: &Signature) -> Result<(), VerifyError> {
        let Ready::Rsa { itself, .. } = &self.key else { return Err(VerifyError::BadSignature) };
        let Some(CoreKey::Rsa(key)) = itself.as_core() else { return Err(VerifyError::BadSignature) };
        key.verify_longest_salt(&firmseal_core::Digest(*digest), &signature.0, &RustCrypto)
            .map_err(|_| VerifyError::BadSignature)
    }

    /// Checks one signature over a message of any length.
    pub fn message(&self, message: &[u8], signature: &Signature) -> Result<(), VerifyError> {
        let bytes = signature.0.as_slice();
        // Under a key of small order one signature is valid for many
        // messages, and core, which verifies strictly, refuses it. A host
        // that accepted it would ship what no device takes.
        if self.algorithm == KeyAlgorithm::Ed25519 {
            let r = bytes.get(..32).ok_or(VerifyError::BadSignature)?;
            if self.small_order || is_small_order(r) {
                return Err(VerifyError::BadSignature);
            }
        }
        match &self.key {
            Ready::Library(key) | Ready::Rsa { pss: key, .. } => {
                key.verify_sig(message, bytes).map_err(|_| VerifyError::BadSignature)
            }
            Ready::Core(key) => {
                let key = key.as_core().ok_or(VerifyError::BadSignature)?;
                RustCrypto.verify(&key, message, bytes).map_err(|_| VerifyError::BadSignature)
            }
        }
    }
}

fn import(value: &[u8], algorithm: &'static digest::Algorithm) -> Result<Digest, VerifyError> {
    Digest::import_less_safe(value, algorithm).map_err(|_| VerifyError::BadSignature)
}

/// Whether keys of `algorithm` sign this kind of input, at this length;
/// otherwise what it is, for the error.
pub(crate) fn check_input(algorithm: KeyAlgorithm, tbs: &Tbs) -> Result<(), &'static str> {
    match (tbs, algorithm) {
        (Tbs::Message(message), _) if message.len() > MESSAGE_MAX => Err("a message of more than 2 MiB"),
        (Tbs::Message(_), _) => Ok(()),
        (Tbs::Sha256(_), KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_)) => Ok(()),
        (Tbs::Sha256(_), _) => Err("a SHA-256 digest"),
        (Tbs::Sha384(_), KeyAlgorithm::P384) => Ok(()),
        (Tbs::Sha384(_), _) => Err("a SHA-384 digest"),
        (Tbs::Pkcs1(_), KeyAlgorithm::Rsa(_)) => Ok(()),
        (Tbs::Pkcs1(_), _) => Err("a digest for RSA PKCS #1 v1.5"),
        (Tbs::PssMax(_), KeyAlgorithm::Rsa(3072 | 4096)) => Ok(()),
        (Tbs::PssMax(_), _) => Err("a digest for RSA-PSS with the longest salt"),
    }
}

/// Whether an encoded Ed25519 point has an order of 1, 2, 4 or 8.
///
/// There are eight such points, with five y coordinates; two of those also
/// have an encoding above the prime. The sign of x is masked away.
fn is_small_order(point: &[u8]) -> bool {
    const MIDDLE: [u8; 30] = [0xff; 30];
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let Ok(mut y) = <[u8; 32]>::try_from(point) else { return false };
    y[31] &= 0x7f;
    // y = 0 and 1, then p - 1, p and p + 1.
    let low = y[0] <= 1 && y[1..].iter().all(|byte| *byte == 0);
    let high = (0xec..=0xee).contains(&y[0]) && y[1..31] == MIDDLE && y[31] == 0x7f;
    low || high || ORDER_8.contains(&y)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use firmseal_core::crypto::{Crypto, RustCrypto};

    #[test]
    fn host_and_device_refuse_keys_of_small_order() {
        // y = 1 is the neutral element: [0]B = R + [h]A for every message.
        let neutral = |sign: u8| {
            let mut point = [0; 32];
            point[0] = 1;
            point[31] = sign;
            point
        };
        let mut signature = vec![0; 64];
        signature[..32].copy_from_slice(&neutral(0));
        let key = PublicKey::from_ed25519(neutral(0)).unwrap();
        let tbs = Tbs::Message(b"any message".to_vec());
        assert_eq!(verify(&key, &tbs, &Signature(signature.clone())), Err(VerifyError::BadSignature));
        let device = RustCrypto.verify(&key.as_core().unwrap(), b"any message", &signature);
        assert!(device.is_err());
        // The library alone would have accepted it: the check is needed.
        let alone = ParsedPublicKey::new(&ED25519, key.bits()).unwrap();
        assert!(alone.verify_sig(b"any message", &signature).is_ok());
        assert!(is_small_order(&neutral(0x80)));
        assert!(!is_small_order(&[7; 32]));
    }

    #[test]
    fn an_input_of_the_wrong_kind_is_named() {
        let key = PublicKey::from_ed25519([7; 32]).unwrap();
        let answer = verify(&key, &Tbs::Sha256([0; 32]), &Signature(vec![0; 64]));
        let algorithm = KeyAlgorithm::Ed25519;
        assert_eq!(answer, Err(VerifyError::Unsupported { algorithm, input: "a SHA-256 digest" }));
    }
}
