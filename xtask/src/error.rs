//! What can go wrong in a developer command.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Error {
    /// A file or directory could not be used.
    File { path: PathBuf, source: std::io::Error },
    /// A program could not be started.
    Start { program: String, source: std::io::Error },
    /// A program ended with an error.
    Failed { command: String, how: String },
    /// Something does not look as it must; the text says what and what next.
    Wrong(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::File { path: path.to_owned(), source }
    }

    /// An error that is only a sentence.
    pub(crate) fn wrong(text: impl Into<String>) -> Error {
        Error::Wrong(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File { path, source } => write!(f, "{}: {source}", path.display()),
            Error::Start { program, source } => write!(f, "cannot start `{program}`: {source}"),
            Error::Failed { command, how } => write!(f, "`{command}` failed: {how}"),
            Error::Wrong(text) => f.write_str(text),
        }
    }
}
