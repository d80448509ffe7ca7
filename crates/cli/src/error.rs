//! Errors of the command: a sentence, a hint, and an exit code.

#[cfg(feature = "full")]
mod sources;

use std::fmt;
use std::io;

use firmseal_formats::FormatError;
use firmseal_keys::KeysError;
use firmseal_manifest::KeyError;

/// What kind of failure it is: the exit code, which scripts rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A bug of ours.
    Unexpected = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A signature, a rule or a limit says no.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Token, certificate or role.
    NotAllowed = 5,
    /// Something that exists stands in the way.
    Conflict = 6,
    /// Server, network or key; trying again may help.
    Unavailable = 7,
    /// File, permission, space or port of this machine.
    Local = 8,
    /// It is under way, and was waited for long enough.
    Pending = 9,
}

/// Why the command did not do what it was asked to.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub kind: Kind,
    /// What happened, lower case, naming the thing.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The server's id of the request, for its log.
    pub request_id: Option<String>,
}

/// What every command returns.
pub type Result<T = ()> = std::result::Result<T, CliError>;

impl CliError {
    /// An error without a hint.
    pub fn new(kind: Kind, message: impl fmt::Display) -> CliError {
        CliError { kind, message: message.to_string(), hint: None, request_id: None }
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    /// Says what it was about: a path, a name.
    pub fn about(mut self, what: impl fmt::Display) -> CliError {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// Names the file that an I/O error was about.
pub fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> CliError + '_ {
    move |error| CliError::from(error).about(path.display())
}

impl From<io::Error> for CliError {
    fn from(mut error: io::Error) -> CliError {
        // The standard library's own words for a text file that is none
        // speak of a stream.
        if error.kind() == io::ErrorKind::InvalidData && error.get_ref().is_none() {
            error = io::Error::new(error.kind(), "this is not UTF-8 text");
        }
        let hint = match error.kind() {
            io::ErrorKind::NotFound => Some("check the path"),
            io::ErrorKind::PermissionDenied => Some("check the owner and mode of the file"),
            io::ErrorKind::AddrInUse => Some("stop what listens there, or choose another port"),
            io::ErrorKind::StorageFull => Some("free some space and run the command again"),
            _ => None,
        };
        let mut out = CliError::new(Kind::Local, error);
        out.hint = hint.map(str::to_owned);
        out
    }
}

impl From<FormatError> for CliError {
    fn from(error: FormatError) -> CliError {
        match error {
            FormatError::Read(error) => error.into(),
            other => CliError::new(Kind::Refused, other),
        }
    }
}

impl From<KeysError> for CliError {
    fn from(error: KeysError) -> CliError {
        match error {
            KeysError::Io { path, error } => CliError::from(error).about(path.display()),
            KeysError::NeedsLog => {
                CliError::new(Kind::Usage, error).hint("give --place DIR, or --log DIR for a log of your own")
            }
            other => CliError::new(Kind::Local, other),
        }
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> CliError {
        CliError::new(Kind::Refused, error)
    }
}
