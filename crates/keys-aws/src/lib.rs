//! Keys in AWS KMS.
//!
//! [`AwsKey`] is a `Signer` over one asymmetric KMS key, named by an
//! [`AwsKmsUri`]. It asks for digests to be signed, so nothing but 32 or 48
//! bytes leaves this machine, and pins the key that a name stood for when it
//! was opened. Credentials are AWS's own business: environment, profile, web
//! identity, container or instance.

mod client;
mod error;
mod home;
mod key;
mod manage;
mod uri;

pub use error::AwsError;
pub use firmseal_keys_remote::Options;
pub use home::SCHEME;
pub use key::{AwsKey, Pinned, open};
pub use manage::{Destroyed, destroy, generate, list};
pub use uri::AwsKmsUri;
