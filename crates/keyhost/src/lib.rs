//! A key host: a process, or a machine, that holds keys and is all that ever
//! opens them.
//!
//! The server that faces the network has no PIN and no token then. It asks
//! [`KeyHost`] for each signature, and the host does not take its word: it is
//! a witness of the server's log, has seen for itself that the log only
//! grows, and signs nothing but what an entry of that log announces. Whoever
//! takes the server over can have signed what everybody who reads the log
//! will see, and nothing else.
//!
//! [`service`] puts the host on HTTP; [`open`] makes a signer of a key there, or
//! on several hosts that hold the same key.

mod client;
mod error;
mod host;
mod member;
mod seat;
pub mod service;
mod uri;
mod wire;

pub use client::{Connection, HostedKey, Named, open};
pub use error::{ConnectError, HostError, HostFault};
pub use host::{Hosted, KeyHost, Use};
pub use uri::{KeyHostUri, SCHEME};
