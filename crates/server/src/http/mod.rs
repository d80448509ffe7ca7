//! What every request goes through, whichever group it belongs to.

pub(crate) mod auth;
pub(crate) mod extract;
pub(crate) mod range;
pub(crate) mod request;
pub(crate) mod rest;
