//! Both sides of C2SP tlog-witness.
//!
//! [`Witness`] is one that cosigns: it remembers, durably, what it has seen
//! of each log, and signs only what that grows into. [`service`] puts it on
//! HTTP.

pub mod config;
pub mod error;
pub mod fetch;
mod files;
pub mod key;
mod memory;
pub mod service;
pub mod witness;

pub use config::Settings;
pub use error::WitnessError;
pub use fetch::{Endpoint, FetchError, Fetched};
pub use key::CosignerKey;
pub use witness::{Reply, Watched, Witness};
