//! Why nobody was told.

use firmseal_keys::KeysError;
use firmseal_outbound::OutboundError;

/// Why a notice did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The settings cannot be used, whatever is tried.
    #[error("notices to `{sink}`: {why}")]
    Settings {
        /// The receiver, as the settings name it.
        sink: String,
        /// What is wrong, and the next step.
        why: String,
    },
    /// A secret could not be read.
    #[error(transparent)]
    Secret(#[from] KeysError),
    /// No answer.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The receiver answered with an error.
    #[error("the receiver answered {0}")]
    Status(u16),
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}
