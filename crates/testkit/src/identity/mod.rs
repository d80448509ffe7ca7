//! An identity provider for tests: OpenID Connect as CI platforms and people
//! meet it, with keys that rotate, and with everything wrong that a
//! token can have.

mod provider;
mod token;

pub use provider::{Answer, Provider};
pub use token::{Mint, Trick};
