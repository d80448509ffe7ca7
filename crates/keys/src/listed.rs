//! Keys that a backend has, as it lists them.

use std::fmt::Display;

use firmseal_manifest::PublicKey;

/// A key that a backend has, usable or not.
#[derive(Clone, Debug)]
pub struct ListedKey<U, E> {
    /// The URI that names it, without secrets' sources.
    pub uri: U,
    /// Its public half, or why it cannot be used.
    pub public_key: Result<PublicKey, E>,
    /// What lets it out of its backend, if anything does.
    pub weakness: Option<&'static str>,
}

/// The same in words, which are alike for every backend.
#[derive(Clone, Debug)]
pub struct KeptKey {
    /// The URI that names it, without secrets' sources.
    pub uri: String,
    /// Its public half, or why it cannot be used.
    pub public_key: Result<PublicKey, String>,
    /// How well it is kept.
    pub kept: String,
}

impl<U: Display, E: Display> ListedKey<U, E> {
    /// In words; `within` is what a strong key never leaves.
    pub fn told(self, within: &str) -> KeptKey {
        KeptKey {
            uri: self.uri.to_string(),
            public_key: self.public_key.map_err(|error| error.to_string()),
            kept: self.weakness.map_or_else(|| format!("never leaves {within}"), str::to_owned),
        }
    }
}
