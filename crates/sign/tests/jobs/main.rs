//! Jobs over a real store: signed once, whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod chaos;
mod epochs;
mod faulty;
mod judge;
mod late;
mod once;
mod releases;
mod rules;
mod stamps;
mod standin;
mod unusual;
