//! Verification by other people's schemes: certificates, CMS.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Scheme};

/// Whether a signature by this scheme holds, under a key as
/// SubjectPublicKeyInfo. A key of another kind than the scheme's, or of one
/// that is not known here, verifies nothing.
pub fn holds(scheme: Scheme, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_spki(spki) else { return false };
    let algorithm: &'static dyn VerificationAlgorithm = match (scheme, key.algorithm()) {
        (Scheme::RsaSha256, KeyAlgorithm::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA256,
        (Scheme::RsaSha384, KeyAlgorithm::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA384,
        (Scheme::RsaSha512, KeyAlgorithm::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA512,
        (Scheme::EcdsaSha256, KeyAlgorithm::P256) => &ECDSA_P256_SHA256_ASN1,
        (Scheme::EcdsaSha384, KeyAlgorithm::P256) => &ECDSA_P256_SHA384_ASN1,
        (Scheme::EcdsaSha512, KeyAlgorithm::P256) => &ECDSA_P256_SHA512_ASN1,
        (Scheme::EcdsaSha256, KeyAlgorithm::P384) => &ECDSA_P384_SHA256_ASN1,
        (Scheme::EcdsaSha384, KeyAlgorithm::P384) => &ECDSA_P384_SHA384_ASN1,
        (Scheme::EcdsaSha512, KeyAlgorithm::P384) => &ECDSA_P384_SHA512_ASN1,
        (Scheme::Ed25519, KeyAlgorithm::Ed25519) => &ED25519,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, key.bits()).verify(message, signature).is_ok()
}

/// A DigestInfo of SHA-256, all but the digest (RFC 8017 §9.2, note 1): what
/// PKCS #11's CKM_RSA_PKCS is given before it, and does not add by itself.
pub const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
