//! Errors: what went wrong, who can fix it, and the exit code it gets.

use std::io;
use std::path::{Path, PathBuf};

use firmseal_api::client::ClientError;
use firmseal_core::Refusal;

use crate::boot_control::Slot;

/// Why something was refused: core's reasons, and the agent's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Core refused it.
    Core(Refusal),
    /// The release leaves out a component of this device. All components
    /// switch slots together, so an image that was left out would be
    /// whatever the other slot happens to hold.
    Partial,
}

impl Reason {
    /// The stable number: core's, or 8xx for the agent's own.
    pub const fn code(self) -> u16 {
        match self {
            Reason::Core(refusal) => refusal.code(),
            Reason::Partial => 800,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Core(refusal) => refusal.fmt(f),
            Reason::Partial => f.write_str("the release leaves out a component of this device"),
        }
    }
}

/// A refusal, with the bytes that caused it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The first bad block or hash block, where a payload was refused.
    pub evidence: Option<Vec<u8>>,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(Refused { reason: Reason::Core(refusal), evidence: None })
    }
}

/// Why the agent could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error("configuration {path}: {why}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// A file of the agent's state cannot be read or written.
    #[error("{path}: {source}")]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room; nothing is lost, the install goes on later.
    #[error("{0}: no space left")]
    DiskFull(PathBuf),
    /// A file of the agent's state holds something else.
    #[error("{what} cannot be understood: {why}")]
    Corrupt {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another agent works on the same state directory.
    #[error("another agent holds {0}")]
    Locked(PathBuf),
    /// The trust anchor is not a valid root document.
    #[error("the trust anchor cannot be used: {0}")]
    Anchor(Refusal),
    /// The device has no certificate yet.
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// The device has a certificate already.
    #[error("this device is enrolled already")]
    AlreadyEnrolled,
    /// The server enrolled the device for something else.
    #[error("the token is for product {theirs}, this device is a {ours}")]
    OtherProduct {
        /// The configured product.
        ours: String,
        /// The token's product.
        theirs: String,
    },
    /// The device's key or certificate cannot be made or read.
    #[error("device identity: {0}")]
    Identity(String),
    /// The server could not be asked, or said no.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// A carrier did not deliver what it should; trying later may help.
    #[error("{what}: {why}")]
    Carrier {
        /// What was fetched.
        what: String,
        /// What happened.
        why: String,
    },
    /// A bundle cannot be read.
    #[error("bundle {path}: {why}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The release, or a byte of it, was refused.
    #[error("refused: {} (code {})", .0.reason, .0.reason.code())]
    Refused(Refused),
    /// The data budget is spent; the install goes on at the next poll.
    #[error("the data budget of {0} bytes is spent")]
    BudgetSpent(u64),
    /// The queue holds outcomes only and has no room for another.
    #[error("{0} outcomes wait to be reported; no install begins before they are")]
    ReportsFull(usize),
    /// An installed image waits for its trial boot.
    #[error("an installed image waits for its trial boot")]
    TrialPending,
    /// The slot that an install would write is the one that runs.
    #[error("slot {0} was given up and still runs; the confirmed image has to boot first")]
    SlotRuns(Slot),
    /// There is no trial to confirm or to end.
    #[error("no image is on trial")]
    NoTrial,
    /// The health command did not succeed, or the image does not count any
    /// more; the trial was ended.
    #[error("the image on trial was given up: {0}")]
    Unhealthy(String),
    /// No slot holds an image that may boot.
    #[error("no slot may boot: {0}")]
    NothingBootable(String),
    /// A thread of the agent ended early.
    #[error("internal: {0} ended early; please report this")]
    Internal(&'static str),
}

/// Exit codes of `firmseal-agent`. 0 is success, 2 is a usage error.
pub mod exit {
    /// The configuration or the trust anchor cannot be used.
    pub const CONFIG: u8 = 3;
    /// The agent's state or a slot cannot be read or written.
    pub const STORAGE: u8 = 4;
    /// The device is not enrolled, or is already, or its identity is unusable.
    pub const IDENTITY: u8 = 5;
    /// The server or a carrier is out of reach or broken; try later.
    pub const UNREACHABLE: u8 = 6;
    /// The server refused, or is not the one that is trusted.
    pub const SERVER: u8 = 7;
    /// A release was refused; the message names the stable code.
    pub const REFUSED: u8 = 8;
    /// No space left.
    pub const DISK_FULL: u8 = 9;
    /// The image on trial is not healthy and was given up.
    pub const UNHEALTHY: u8 = 10;
    /// Something else has to happen first: a reboot, a delivery of
    /// reports, the end of another agent.
    pub const NOT_NOW: u8 = 11;
    /// No slot may boot.
    pub const NOTHING_BOOTABLE: u8 = 12;
    /// A mistake of ours.
    pub const INTERNAL: u8 = 70;
}

impl Error {
    pub(crate) fn storage(path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull(path.to_owned()),
            _ => Error::Storage { path: path.to_owned(), source },
        }
    }

    /// The refusal of a piece of payload, with the piece.
    pub(crate) fn refused(refusal: Refusal, evidence: &[u8]) -> Error {
        Error::Refused(Refused { reason: Reason::Core(refusal), evidence: Some(evidence.to_vec()) })
    }

    /// The stable number that trouble is reported by: 9xx, apart from the
    /// numbers of refusals. `None` for what says nothing about an install,
    /// and for the device's own limits, such as a spent budget.
    pub(crate) const fn trouble(&self) -> Option<u16> {
        match self {
            Error::Carrier { .. } => Some(900),
            Error::Server(_) => Some(901),
            Error::Storage { .. } => Some(902),
            Error::DiskFull(_) => Some(903),
            _ => None,
        }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config { .. } | Error::Anchor(_) => exit::CONFIG,
            Error::Storage { .. } | Error::Corrupt { .. } => exit::STORAGE,
            Error::DiskFull(_) => exit::DISK_FULL,
            Error::NotEnrolled | Error::AlreadyEnrolled | Error::OtherProduct { .. } | Error::Identity(_) => {
                exit::IDENTITY
            }
            Error::Server(ClientError::Address(..)) => exit::CONFIG,
            Error::Server(
                ClientError::Identity(_) | ClientError::Authority(_) | ClientError::NoAuthority,
            ) => exit::IDENTITY,
            Error::Server(err) if err.is_transient() => exit::UNREACHABLE,
            Error::Server(_) => exit::SERVER,
            Error::Carrier { .. } | Error::Bundle { .. } => exit::UNREACHABLE,
            Error::Refused(_) => exit::REFUSED,
            Error::Unhealthy(_) => exit::UNHEALTHY,
            Error::BudgetSpent(_)
            | Error::ReportsFull(_)
            | Error::TrialPending
            | Error::SlotRuns(_)
            | Error::NoTrial
            | Error::Locked(_) => exit::NOT_NOW,
            Error::NothingBootable(_) => exit::NOTHING_BOOTABLE,
            Error::Internal(_) => exit::INTERNAL,
        }
    }

    /// Whether a server has answered, and the answer was no.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Error::Server(err) if err.status().is_some())
    }

    /// What to do next, where that helps.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::NotEnrolled => Some("run `firmseal-agent enrol` with a one-time token"),
            Error::AlreadyEnrolled => Some("remove device.crt from the state directory to enrol anew"),
            Error::Anchor(_) => Some("give the root document that `firmseal init` wrote"),
            Error::Locked(_) => Some("stop the running agent, or let it do the work"),
            Error::DiskFull(_) => Some("free some space; the install goes on where it stopped"),
            Error::TrialPending | Error::SlotRuns(_) => Some("reboot the device"),
            Error::ReportsFull(_) => Some("connect the device to its server once"),
            Error::NoTrial => Some("`firmseal-agent status` says what runs"),
            Error::Storage { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as the user that owns the state directory")
            }
            Error::Server(err) => err.hint(),
            _ => None,
        }
    }
}
