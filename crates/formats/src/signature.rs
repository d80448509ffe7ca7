//! Signatures as formats hold them.

use firmseal_manifest::{KeyAlgorithm, Signature, ecdsa};

use crate::error::FormatError;

/// Length of an algorithm's signatures in bytes; of ECDSA's as r || s.
pub(crate) fn raw_len(algorithm: KeyAlgorithm) -> usize {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 64,
        KeyAlgorithm::P384 => 96,
        KeyAlgorithm::Rsa(bits) => usize::from(bits) / 8,
        KeyAlgorithm::Lms(set) => set.signature_len(),
        KeyAlgorithm::MlDsa(set) => set.signature_len(),
    }
}

/// A signature as formats of the X.509 family hold it: ECDSA in DER
/// (RFC 3279 §2.2.3), the others as they are. Its length is checked, and
/// nothing else of it.
pub(crate) fn encoded(algorithm: KeyAlgorithm, signature: &Signature) -> Result<Vec<u8>, FormatError> {
    let fail = |why| FormatError::SignatureShape { algorithm, why };
    if signature.0.len() != raw_len(algorithm) {
        return Err(fail("it has another length"));
    }
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
            ecdsa::to_der(&signature.0).ok_or_else(|| fail("r or s is zero"))
        }
        _ => Ok(signature.0.clone()),
    }
}
