//! Timestamps (RFC 3161 with RFC 5816): that bytes existed at some time, as
//! somebody says whose clock is believed.
//!
//! Pure: requests are made, tokens are read and judged, and what a small
//! authority of one's own would sign is written; clocks, random numbers,
//! keys and networks are the caller's. Tokens come from strangers: what is
//! not DER, not expected or not of a kind that is read here is refused.

mod asn1;
pub mod authority;
pub mod certificate;
mod chain;
pub mod error;
mod hash;
pub mod request;
mod scheme;
mod time;
pub mod token;

pub use authority::Authority;
pub use chain::Authorities;
pub use error::TimestampError;
pub use request::{Nonce, Query};
pub use token::{Stamp, Wanted, response, verify};

use firmseal_manifest::Scheme;

/// Verification of one signature: scheme, SubjectPublicKeyInfo in DER,
/// message, signature as X.509 has it. Pure code has no host's cryptography.
pub type Verify<'a> = &'a (dyn Fn(Scheme, &[u8], &[u8], &[u8]) -> bool + Send + Sync);

/// Longest response or token that is read.
pub const TOKEN_MAX: usize = 64 * 1024;
