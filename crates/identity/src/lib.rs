//! Who shows a token of an identity provider.
//!
//! CI platforms give each job a signed token that says what runs (OpenID
//! Connect), and people sign in for one. This crate decides what such a token
//! is worth here: [`Unverified`] takes it apart, [`Issuer`] checks it with
//! the provider's [`Jwks`] and turns its claims into a
//! [`Caller`](firmseal_fleet::Caller). All of it is pure: whoever uses it
//! brings bytes and the time. [`KeyCache`] says when to fetch keys, and
//! [`TokenUse`] what to remember of a token that is good for one change.

mod cache;
mod claims;
mod error;
mod grant;
mod issuer;
mod jwks;
mod name;
mod pattern;
mod settings;
mod strict;
mod token;

pub use cache::{KeyCache, Look};
pub use error::{SettingsError, TokenError};
pub use grant::Grant;
pub use issuer::{Issuer, TokenUse, Verified};
pub use jwks::Jwks;
pub use name::Template;
pub use pattern::{Pattern, Patterns};
pub use settings::{DISCOVERY, Discovery, IdentitySettings, Kind, SignIn};
pub use token::{Algorithm, TOKEN_MAX, Unverified};
