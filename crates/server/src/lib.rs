//! The server: one binary that signs, keeps and delivers.
//!
//! `api/<group>` has the handlers, `app/<use case>` what they call,
//! `tasks/<reconciler>` what runs by itself. Who is asking is a type
//! (`Operator`, `AuthenticatedDevice`), so a handler cannot forget to ask.
//! Nothing here decides what a device may install; that is core's alone,
//! and devices do not believe this server.

mod api;
mod app;
mod ca;
mod clock;
mod config;
mod error;
mod http;
mod listen;
pub mod logging;
mod metrics;
pub mod openapi;
mod pulse;
mod server;
mod signing;
mod tasks;
pub mod tls;
mod wire;

pub use app::NamedOperator;
pub use app::identities::IdentityError;
pub use ca::{
    CaError, DeviceCa, Pair, create_client_certificate, create_device_ca, create_server_certificate,
};
pub use clock::{Clock, SystemClock};
pub use config::{
    CertificateOperator, Config, ConfigError, DeviceCaFiles, Limits, Listener, ListenerLimits, Serves,
};
pub use pulse::Pulse;
pub use server::{Deps, Running, Server, ServerError};
pub use signing::{SigningConfig, SigningListener};
