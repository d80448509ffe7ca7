//! What goes to a service that takes digests.

use aws_lc_rs::digest::{self, SHA256, SHA384};
use firmseal_manifest::{KeyAlgorithm, Tbs};

/// The digest that a key of this algorithm signs of these bytes.
pub fn hashed(algorithm: KeyAlgorithm, tbs: &Tbs) -> Vec<u8> {
    match (tbs, algorithm) {
        (Tbs::Message(message), KeyAlgorithm::P384) => digest::digest(&SHA384, message).as_ref().to_vec(),
        (Tbs::Message(message), _) => digest::digest(&SHA256, message).as_ref().to_vec(),
        (Tbs::Sha256(value) | Tbs::Pkcs1(value) | Tbs::PssMax(value), _) => value.to_vec(),
        (Tbs::Sha384(value), _) => value.to_vec(),
    }
}
