//! The cases that a board and the host run, and how they are measured.
//!
//! The code under measurement is the same everywhere; only the [`Probe`]
//! differs: instructions and stack on a board, time on the host.
#![no_std]

pub mod admission;
pub mod pack;
pub mod probe;
pub mod smoke;

pub use probe::{Cost, Probe, Report};
