//! Sessions: the true programs, as child processes, over real TLS.
//!
//! The tests in `tests/` read like a terminal. What they need to type is
//! here: a shell that echoes, servers and devices that end with the test,
//! real firmware, a hostile server, and waiting that has a deadline.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

pub mod anatomy;
pub mod binaries;
pub mod chance;
pub mod child;
pub mod custody;
pub mod device;
pub mod files;
pub mod firmware;
pub mod hostile;
pub mod key_host;
pub mod operator;
pub mod pipelines;
pub mod server;
pub mod shell;
pub mod spy;
pub mod supervisor;
pub mod wire;

pub use chance::Chance;
pub use child::{Child, until};
pub use device::{Device, Powered};
pub use hostile::Hostile;
pub use key_host::KeyHost;
pub use operator::Operator;
pub use server::Server;
pub use shell::{Ran, Shell};
pub use wire::Wire;
