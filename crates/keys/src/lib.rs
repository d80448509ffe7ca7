//! Keys: the contract every signer keeps, and the proof it demands.
//!
//! A [`Signer`] never signs anything that was not first written to a log:
//! it takes a [`Logged`] intent, and a `Logged` cannot be made without a
//! durable entry. This crate holds no HSM code and knows no backend but
//! files; each of the others is a crate of its own, which owns its URIs and
//! implements [`KeyHome`] for them.

pub mod age;
mod awaited;
mod backend_error;
mod bech32;
#[cfg(feature = "conformance")]
pub mod conformance;
mod create;
pub mod error;
pub mod escrow;
pub mod file;
pub mod file_uri;
mod home;
pub mod known;
mod listed;
pub mod lms;
pub mod logged;
mod pair;
pub mod pool;
pub mod private;
pub mod scheme;
mod sealed;
pub mod secret;
pub mod signer;
pub mod uri_options;
pub mod verify;
pub mod wrapped;

pub use awaited::Awaited;
pub use backend_error::{BackendError, Fault};
pub use error::KeysError;
pub use file::FileKey;
pub use file_uri::FileUri;
pub use home::{Destroyer, Destruction, KeyHome, KeyScheme};
pub use listed::{KeptKey, ListedKey};
pub use logged::{DynLog, LeafError, Log, LogError, Logged, Reserved};
pub use secret::{Secret, SecretSource};
pub use signer::{Backend, Covered, DynSigner, KeyPlace, SignError, Signer};
pub use verify::{Verifier, VerifyError, verify};
