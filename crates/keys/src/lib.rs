//! Keys: the contract every signer keeps, and the proof it demands.
//!
//! A [`Signer`] never signs anything that was not first written to a log:
//! it takes a [`Logged`] intent, and a `Logged` cannot be made without a
//! durable entry. This crate holds no HSM code; each backend with a heavy
//! dependency is a crate of its own.

pub mod logged;
pub mod signer;

pub use logged::{Log, LogError, Logged};
pub use signer::{SignError, Signer};
