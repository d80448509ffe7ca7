//! Digests in serialized form: 64 lower-case hexadecimal digits.
//!
//! For fields: `#[serde(with = "firmseal_fleet::hex")]`.

use firmseal_manifest::{Digest, ids::parse_digest};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a digest.
pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// Reads a digest.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_digest(&text).ok_or_else(|| serde::de::Error::custom("a SHA-256 is 64 lower-case hex digits"))
}
