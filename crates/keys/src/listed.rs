//! Keys that a backend has, as it lists them.

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
