//! Repositories of The Update Framework (TUF 1.0.34), for clients that know
//! nothing of Firmseal.
//!
//! Pure: it reads what a repository holds through a function, says what has
//! to be signed next and by which keys, and in which order the outcome is
//! published so that a client that looks in between sees nothing that does
//! not fit together. It holds no key, reads no clock and writes no file.

pub mod canonical;
pub mod document;
pub mod error;
pub mod export;
pub mod held;
pub mod key;
pub mod release;
pub mod role;
pub mod target;
pub mod wanted;

pub use document::Document;
pub use error::TufError;
pub use export::{Draft, Export, File};
pub use held::{Held, Root};
pub use key::Key;
pub use release::{Component, Content, Released};
pub use role::{Authority, Role};
pub use target::Target;
pub use wanted::{RoleSettings, Wanted};

/// The version of the specification that metadata names (TUF 1.0.34 §4.2).
pub const SPEC_VERSION: &str = "1.0.34";
