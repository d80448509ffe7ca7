//! What keys behind a network service have in common.
//!
//! A backend says how one request to its service is made: that is a
//! [`Service`]. [`RemoteKey`] makes a signer of it and keeps the contract:
//! the logged intent is asked first, requests in flight and waiting are
//! bounded, each has a deadline, nothing leaves unverified, and none of it
//! needs the caller's executor.

mod der;
mod digest;
mod executor;
mod remote;

pub use der::fixed;
pub use digest::hashed;
pub use executor::{NoAnswer, run, wait_for};
pub use remote::{Kept, Options, RemoteKey, Service};
