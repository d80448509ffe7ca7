//! Both sides of C2SP tlog-witness.
//!
//! [`Witness`] is one that cosigns: it remembers, durably, what it has seen
//! of each log, and signs only what that grows into. [`service`] puts it on
//! HTTP. [`PublicLog`] is a log that has witnesses: it gathers their
//! cosignatures, and nothing that it appends counts before enough of them
//! have seen it.

mod asking;
pub mod config;
mod cosigned;
pub mod error;
pub mod files;
mod gathering;
pub mod key;
mod memory;
mod public_log;
pub mod quorum;
pub mod service;
pub mod witness;

pub use config::Settings;
pub use cosigned::Cosigned;
pub use error::WitnessError;
pub use key::CosignerKey;
pub use public_log::{Included, PublicLog, Status};
pub use quorum::{Quorum, QuorumError, QuorumSettings, WitnessSettings};
pub use witness::{Reply, Watched, Witness};
