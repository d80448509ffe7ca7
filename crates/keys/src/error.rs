//! Why a key or a secret could not be had.
//!
//! No message ever carries a secret, nor a text that might be one by
//! mistake: what someone typed where a source was expected stays unprinted.

use std::io;
use std::path::{Path, PathBuf};

use firmseal_manifest::KeyError;

use crate::logged::LogError;

/// What went wrong before there was a key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The text does not say where a secret comes from.
    #[error("a secret comes from `file:PATH`, `env:NAME` or `prompt`; it is never written in its place")]
    NoSource,
    /// A secret could not be read from its source.
    #[error("no secret from {source_name}: {why}")]
    NoSecret {
        /// The source, as it is written in a configuration.
        source_name: String,
        /// What is wrong with it, and the next step.
        why: String,
    },
    /// A file with a secret is open to others.
    #[error("{path} holds a secret and others may read or change it; run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: String,
    },
    /// A file with a secret is none that could hold one.
    #[error("{path} is not a regular file of at most {most} bytes")]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Longest that is read.
        most: u64,
    },
    /// The text does not name a key.
    #[error("not a key: {0}")]
    NotAKeyUri(String),
    /// The file that a key would be written to is there already.
    #[error("{0} exists and is not overwritten; choose another name or move it away")]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The file is no encrypted private key.
    #[error("{path} is not an encrypted private key: {why}")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file holds a private key in the clear.
    #[error(
        "{path} holds a private key that is not encrypted; run `openssl pkcs8 -topk8 -scrypt -in {path} -out NEW`"
    )]
    Unencrypted {
        /// The file.
        path: String,
    },
    /// The file's key derivation costs more than is granted to any file.
    #[error("{path} asks for an excessive key derivation; encrypt it again with ordinary parameters")]
    ExcessiveKdf {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase does not open the file.
    #[error("{path}: wrong passphrase, or the file is damaged")]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a type, curve or size that is not used here.
    #[error("{path}: {error}")]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// Which one.
        error: KeyError,
    },
    /// An LMS key is made for a log.
    #[error("an LMS key counts its signatures in a log: name the log that it is made for")]
    NeedsLog,
    /// The log that an LMS key is made for has not taken it in.
    #[error("the key was not made: {0}")]
    Log(LogError),
    /// The cryptographic library failed at something that cannot fail.
    #[error("{0} failed; the system has no randomness or no memory")]
    Crypto(&'static str),
}

impl KeysError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> KeysError + '_ {
        move |error| KeysError::Io { path: path.to_owned(), error }
    }
}
