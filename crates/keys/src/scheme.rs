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
