//! Keys in the transit engine of HashiCorp Vault or OpenBao.
//!
//! [`VaultKey`] is a `Signer` over one version of one transit key, named by
//! a [`VaultUri`]. What is asked of Vault is small: `sign/NAME` for a
//! signature and `keys/NAME` for the public half, so a token needs a policy
//! with these two paths and nothing else, as long as no key is made, listed
//! or destroyed with it.

mod error;
mod home;
mod key;
mod manage;
mod token;
mod transit;
mod uri;

pub use error::VaultError;
pub use firmseal_keys_remote::Options;
pub use home::SCHEME;
pub use key::{Pinned, VaultKey, open};
pub use manage::{destroy, generate, list};
pub use uri::VaultUri;
