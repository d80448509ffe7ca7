//! Why a witness does not start, or does not go on.

use std::io;
use std::path::{Path, PathBuf};

/// Why a witness does not start, and who can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file.
    #[error("cannot {doing} {}: {error}", path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A directory that has something in it already.
    #[error("{} exists and is not empty; choose another directory", .0.display())]
    Exists(PathBuf),
    /// Two witnesses on one directory would cosign two histories.
    #[error("{} is in use by another witness; stop it first", .0.display())]
    InUse(PathBuf),
    /// The key cannot be used.
    #[error("the witness's key {} cannot be used: {why}", path.display())]
    Key {
        /// Its path.
        path: PathBuf,
        /// What is wrong. Never the key itself.
        why: String,
    },
    /// A name that no key can have.
    #[error("`{0}` is no name for a witness: it has 1 to 255 bytes, without spaces and plus signs")]
    Name(String),
    /// The settings cannot be used.
    #[error("{}: {why}", path.display())]
    Settings {
        /// Their path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was remembered is not what this witness wrote. Going on without
    /// it could cosign a fork.
    #[error(
        "what the witness remembers in {} is damaged ({why}); a witness that forgets can be lied to: make a new \
         one with a new key",
        path.display()
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Makes a function that says what was to be done with a file.
pub(crate) fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> WitnessError + Copy {
    move |error| WitnessError::File { doing, path: path.to_owned(), error }
}
