//! How keys sign what stands in bundles.
//!
//! A bundle of one's own key names no algorithm: whoever has the key knows it.
//! So a signature is read as each that its shape allows, and holds under the
//! key of one of them.

use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs, ecdsa};

use crate::error::FormatError;
use crate::hash::{Hash, array};
use crate::inspection::{Covered, ExistingSignature, KeyClaim};

/// What a key signs of a statement in its encoding with its type.
pub(super) fn over_statement(
    format: &'static str,
    algorithm: KeyAlgorithm,
    pae: &[u8],
) -> Result<Tbs, FormatError> {
    if algorithm == KeyAlgorithm::Ed25519 && pae.len() > MESSAGE_MAX {
        let what = "the statement is longer than the 64 KiB that an Ed25519 key signs; use a P-256 key";
        return Err(FormatError::unsupported(format, what));
    }
    statement_tbs(algorithm, pae).ok_or(FormatError::KeyAlgorithm {
        format,
        algorithm,
        use_instead: "a P-256, Ed25519 or RSA key, or a P-384 key with content=message in format `sigstore`",
    })
}

fn statement_tbs(algorithm: KeyAlgorithm, pae: &[u8]) -> Option<Tbs> {
    match algorithm {
        KeyAlgorithm::P256 => Some(Tbs::Sha256(array(&Hash::Sha256.of(pae)))),
        KeyAlgorithm::Rsa(_) => Some(Tbs::Pkcs1(array(&Hash::Sha256.of(pae)))),
        KeyAlgorithm::Ed25519 => Some(Tbs::Message(pae.to_vec())),
        // Sigstore's registry of algorithms has SHA-384 with P-384, npm's
        // library verifies SHA-256.
        KeyAlgorithm::P384 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => None,
    }
}

/// The hash of a message that such a key signs.
pub(super) fn message_hash(format: &'static str, algorithm: KeyAlgorithm) -> Result<Hash, FormatError> {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_) => Ok(Hash::Sha256),
        KeyAlgorithm::P384 => Ok(Hash::Sha384),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
            Err(FormatError::KeyAlgorithm {
                format,
                algorithm,
                use_instead: "a P-256, P-384 or RSA key, or content=dsse with an Ed25519 key",
            })
        }
    }
}

/// What a key signs of a message with this digest, which is of its hash.
pub(super) fn over_message(algorithm: KeyAlgorithm, digest: &[u8]) -> Tbs {
    match algorithm {
        KeyAlgorithm::P384 => Tbs::Sha384(array(digest)),
        KeyAlgorithm::Rsa(_) => Tbs::Pkcs1(array(digest)),
        _ => Tbs::Sha256(array(digest)),
    }
}

/// What a signature over a statement may be.
pub(super) fn of_statement(wire: &[u8], pae: &[u8]) -> Vec<ExistingSignature> {
    let ed25519 = (wire.len() == 64 && pae.len() <= MESSAGE_MAX).then_some(KeyAlgorithm::Ed25519);
    let all = [Some(KeyAlgorithm::P256), ed25519, rsa(wire)];
    let one = |algorithm| Some((algorithm, statement_tbs(algorithm, pae)?));
    all.into_iter().flatten().filter_map(one).filter_map(|(own, tbs)| existing(wire, own, tbs)).collect()
}

/// What a signature over a message may be, whose digest is of this hash.
pub(super) fn of_message(wire: &[u8], hash: Hash, digest: &[u8]) -> Vec<ExistingSignature> {
    let all = match hash {
        Hash::Sha384 => [Some(KeyAlgorithm::P384), None],
        _ => [Some(KeyAlgorithm::P256), rsa(wire)],
    };
    let one = |algorithm| existing(wire, algorithm, over_message(algorithm, digest));
    all.into_iter().flatten().filter_map(one).collect()
}

/// RSA, of a key whose signatures have this length.
fn rsa(wire: &[u8]) -> Option<KeyAlgorithm> {
    [2048, 3072, 4096].into_iter().find(|bits| usize::from(*bits) == 8 * wire.len()).map(KeyAlgorithm::Rsa)
}

fn existing(wire: &[u8], algorithm: KeyAlgorithm, tbs: Tbs) -> Option<ExistingSignature> {
    let signature = match algorithm {
        KeyAlgorithm::P256 => ecdsa::from_der(wire, 32)?,
        KeyAlgorithm::P384 => ecdsa::from_der(wire, 48)?,
        _ => wire.to_vec(),
    };
    // The hint says what its maker and its reader agreed on, and is signed by
    // nobody.
    let claim = KeyClaim::None;
    Some(ExistingSignature { algorithm, claim, covered: Covered::Tbs(tbs), signature: Signature(signature) })
}
