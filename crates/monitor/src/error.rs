//! Why the monitor cannot look. What it sees when it can is no error.

use std::path::PathBuf;

use firmseal_api::client::ClientError;
use firmseal_outbound::OutboundError;

/// Why the monitor cannot look.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The log does not answer.
    #[error("the log at {path}: {error}")]
    Log {
        /// What was asked for.
        path: String,
        /// What happened.
        error: OutboundError,
    },
    /// The log answers with something else.
    #[error("the log answered {status} for {path}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: u16,
    },
    /// The registry does not answer.
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    /// A root document that cannot be used.
    #[error("root document {version}: {refusal}")]
    Root {
        /// Its number.
        version: u64,
        /// What core says.
        refusal: firmseal_core::Refusal,
    },
    /// A file of the monitor's.
    #[error("cannot {doing} {}: {error}", path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file that is not what it should be a trail of.
    #[error("{} is not what {from} delivers: {why}", path.display())]
    NoTrail {
        /// Its path.
        path: PathBuf,
        /// Who should have written it.
        from: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Two monitors on one directory.
    #[error("{} is in use by another monitor; stop it first", .0.display())]
    InUse(PathBuf),
    /// The monitor's memory is not what it wrote.
    #[error("the monitor's memory {} is damaged ({why}); keep it, and begin a new one elsewhere", path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}
