//! Why a repository cannot be read or continued.

use firmseal_manifest::{KeyAlgorithm, KeyError, KeyId};

use crate::role::Role;

/// Why a repository cannot be read or continued. Nothing was signed and
/// nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TufError {
    /// A file is not metadata as this crate writes it.
    #[error("metadata/{file} is not TUF metadata as Firmseal writes it: {what}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A file that others name is not there.
    #[error("metadata/{0} is missing, and other metadata names it")]
    Missing(String),
    /// A file is not signed by those who may.
    #[error("metadata/{0} is not signed by the keys that the repository's root names")]
    Unsigned(String),
    /// A file has other bytes than the metadata above it says.
    #[error("metadata/{0} is not the file that the metadata above it names")]
    Differs(String),
    /// TUF clients do not verify with this kind of key.
    #[error("TUF clients do not verify with {0} keys; use p256, ed25519 or rsa")]
    KeyType(KeyAlgorithm),
    /// The key cannot be written down.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// One key in two places.
    #[error("key {key} stands for {first} and for {second}; a key has one role")]
    KeyReused {
        /// The key.
        key: KeyId,
        /// The first role.
        first: Role,
        /// The second.
        second: Role,
    },
    /// A threshold that nobody, or everybody, meets.
    #[error("{role}: a threshold of {threshold} with {keys} keys; it is from 1 to the number of keys")]
    Threshold {
        /// The role.
        role: Role,
        /// The threshold.
        threshold: u64,
        /// How many keys there are.
        keys: usize,
    },
    /// Not enough of a role's keys are at hand.
    #[error("{what} has to be signed by {need} of its keys, and {have} are at hand; missing: {missing}")]
    NotEnoughKeys {
        /// What has to be signed.
        what: String,
        /// The threshold.
        need: u64,
        /// Keys at hand.
        have: u64,
        /// Ids of the others.
        missing: String,
    },
    /// An Ed25519 key signs messages, and keys take short ones only.
    #[error(
        "{0} is longer than 64 KiB, which an ed25519 key does not sign whole; give the role a p256 or rsa key"
    )]
    TooLong(Role),
    /// A root that was signed elsewhere is not the one that is needed.
    #[error("the root that was signed is not the next one: {0}")]
    OtherRoot(&'static str),
    /// What a key signed does not verify.
    #[error("a signature of {0} does not verify; nothing was published")]
    BadSignature(Role),
    /// A name that would not be one file in the repository.
    #[error("{0:?} cannot be the name of a target")]
    Name(String),
    /// Metadata that is good for longer than anybody can think ahead.
    #[error("{0} would be good for more than 36500 days")]
    Valid(Role),
}
