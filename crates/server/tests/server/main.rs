//! The server as its callers meet it: in process, on loopback, over real
//! TLS, with openssl as an outside judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod audit;
mod batches;
mod bench;
mod chain;
mod denials;
mod devices;
mod doors;
mod exports;
mod habits;
mod hostile;
mod identities;
mod keys;
mod log;
mod monitor;
mod notices;
mod products;
mod records;
mod replays;
mod revocation;
mod routes;
mod scopes;
mod signatures;
mod trust;
