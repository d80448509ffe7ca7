//! Decides what may install and what may boot.
//!
//! One place decides: [`admit`] before an install, [`boot`] at every boot.
//! Both are pure: bytes and device state in, a verdict out. There is no
//! I/O, no allocation, no unsafe code, no recursion on input, and nothing to
//! configure away. The bootloader, the Linux agent, the command line and the
//! server all call the same functions.
#![no_std]

pub mod cose;
pub mod crypto;
pub mod digest;
pub mod key;

pub use crypto::{Crypto, Hasher};
pub use digest::Digest;
pub use key::{KeyId, PublicKey};
