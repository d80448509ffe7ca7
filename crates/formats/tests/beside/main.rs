//! Signatures beside a file, by every key in every padding: OpenSSL and Python's
//! cryptography judge ours and we judge theirs, good, tampered and foreign, and
//! mutations of signature and file. What we take both take.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations of each are given to all (20 if
//! not set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cms;
#[path = "../common/mod.rs"]
mod common;
mod judge;
mod raw;
