//! Keys in PKCS#11 tokens and HSMs.
//!
//! [`Pkcs11Key`] is a `Signer` over one private key in one token, named by a
//! PKCS#11 URI (RFC 7512). Every call into a module runs on a thread that
//! belongs to this crate, because modules block and some hang; every
//! signature is verified before it leaves; a wrong PIN is tried once.

mod error;
pub mod escrow;
mod home;
mod key;
mod login;
mod manage;
mod module;
mod object;
mod token;
mod uri;

pub use error::Pkcs11Error;
pub use home::SCHEME;
pub use key::{Options, Pkcs11Key};
pub use manage::{TokenKey, destroy, generate, generate_escrowable, list};
pub use object::Protection;
pub use token::{pin, read_pin};
pub use uri::{ObjectType, Pkcs11Uri};
