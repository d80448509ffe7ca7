//! Keys: the contract every signer keeps, and the proof it demands.
//!
//! A [`Signer`] never signs anything that was not first written to a log:
//! it takes a [`Logged`] intent, and a `Logged` cannot be made without a
//! durable entry. This crate holds no HSM code; each backend with a heavy
//! dependency is a crate of its own.

pub mod age;
pub mod aws_uri;
mod bech32;
#[cfg(feature = "conformance")]
pub mod conformance;
mod create;
pub mod error;
pub mod escrow;
pub mod file;
pub mod keyhost_uri;
pub mod known;
mod listed;
pub mod lms;
pub mod logged;
mod pair;
pub mod pkcs11_uri;
pub mod pool;
pub mod private;
pub mod scheme;
mod sealed;
pub mod secret;
pub mod signer;
pub mod tpm_uri;
pub mod uri;
mod uri_options;
pub mod vault_uri;
pub mod verify;
pub mod wrapped;

pub use aws_uri::AwsKmsUri;
pub use error::KeysError;
pub use file::FileKey;
pub use keyhost_uri::KeyHostUri;
pub use listed::ListedKey;
pub use logged::{DynLog, LeafError, Log, LogError, Logged, Reserved};
pub use pkcs11_uri::Pkcs11Uri;
pub use secret::{Secret, SecretSource};
pub use signer::{Backend, Covered, DynSigner, KeyPlace, SignError, Signer};
pub use tpm_uri::TpmUri;
pub use uri::KeyUri;
pub use vault_uri::VaultUri;
pub use verify::{Verifier, VerifyError, verify};
