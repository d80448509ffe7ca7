//! Requests to services that other people run: witnesses, key services,
//! identity providers, timestamp authorities, receivers of notices.
//!
//! One request, one whole answer of a bounded length within a deadline. No
//! redirects, no proxies, no cookies, no public authorities that nobody
//! named: each would let somebody else decide where a request goes or who
//! answers it.

mod endpoint;
mod tls;

pub use endpoint::{Endpoint, Fetched, OutboundError, Request};
pub use tls::connector;
