//! The server.
mod clock;
mod config;
mod listen;
mod metrics;
pub mod tls;
