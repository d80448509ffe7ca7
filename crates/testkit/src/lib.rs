//! Keys, products, roots and releases for tests.
//!
//! Everything is made from fixed seeds, so vectors come out the same on
//! every machine. The keys sign without a log: nothing outside tests may
//! depend on this crate.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

pub mod craft;
pub mod engine;
pub mod fuzz;
#[cfg(feature = "identity")]
pub mod identity;
#[cfg(feature = "inbox")]
pub mod inbox;
pub mod item;
pub mod keys;
pub mod lms;
#[cfg(feature = "json")]
pub mod places;
pub mod ports;
pub mod rsa;
pub mod small_disk;
pub mod story;
#[cfg(feature = "vault")]
pub mod vault;
pub mod vectors;
pub mod world;

pub use craft::{Block, Commands, Craft, Members};
pub use keys::TestKey;
pub use story::Story;
pub use world::World;
