//! Keys in a TPM 2.0.
//!
//! [`TpmKey`] is a `Signer` over a key that a TPM made and that only this
//! TPM can use: at a persistent handle, or wrapped in a file. A TPM does one
//! thing at a time, so all keys of one TPM share one thread and one
//! connection. This crate links tpm2-tss, a C library of the system; nothing
//! else in the workspace does.

mod connection;
mod error;
mod home;
mod key;
mod keyfile;
mod manage;
mod public;
mod tpm;
mod uri;

pub use error::TpmError;
pub use home::SCHEME;
pub use key::TpmKey;
pub use manage::{destroy, generate, list};
pub use uri::{TpmKeyPlace, TpmUri};
