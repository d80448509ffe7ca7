//! What a backend says of itself when it did not do what it was asked.

use std::fmt::Display;

use crate::error::KeysError;

/// Who can help. Programs exit with a code for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The URI or the order is wrong: whoever wrote it.
    Usage,
    /// The backend, or what we demand of a key, says no.
    Refused,
    /// There is no such key.
    NotFound,
    /// Token or policy: whoever grants access.
    NotAllowed,
    /// A PIN was refused, or would be. What asks for it counts and locks, so
    /// nobody tries it again.
    WrongPin,
    /// A key that exists stands in the way.
    Conflict,
    /// Out of reach for now; trying again may help.
    Unavailable,
    /// This machine: a file, a library, a thread.
    Local,
}

/// Why a backend did not do what it was asked, in its own words. They hold
/// no secret. Backends turn their errors into this one, and nobody else
/// needs to know theirs.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A secret or a file of ours.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Anything else.
    #[error("{message}")]
    Told {
        /// Who can help.
        fault: Fault,
        /// What happened, naming the thing.
        message: String,
        /// What to do next, if the message does not say.
        hint: Option<&'static str>,
    },
}

impl BackendError {
    /// An error without a hint.
    pub fn new(fault: Fault, message: impl Display) -> BackendError {
        BackendError::Told { fault, message: message.to_string(), hint: None }
    }

    /// Says what to do next.
    pub fn hint(self, next: &'static str) -> BackendError {
        match self {
            BackendError::Told { fault, message, .. } => {
                BackendError::Told { fault, message, hint: Some(next) }
            }
            keys => keys,
        }
    }
}
