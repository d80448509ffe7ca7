//! Evidence: what is known about a build besides its bytes.
//!
//! Documents come in as bytes and leave as [`Facts`]: what a policy may
//! decide on. Pure: no I/O, no clock; keys and time are passed in.

pub mod facts;

pub use facts::{Facts, Provenance, Sbom, TestRun};
