//! The HTTP interface in types: what travels, group by group, and a typed
//! client that speaks it.
//!
//! Types only: this crate decides nothing, and it reads no store. What is
//! here is the wire's shape; the server converts at its rim, so that a
//! column can change without breaking a device in the field.

pub mod access;
pub mod audit;
#[cfg(feature = "client")]
pub mod client;
pub mod encoding;
pub mod enrolment;
pub mod fleet;
pub mod keys;
pub mod policies;
pub mod problem;
pub mod registry;
pub mod requests;
pub mod signatures;
pub mod signing;
pub mod trust;
pub mod updates;

pub use encoding::{Base64, Page};
pub use problem::Problem;

/// Media type of a SUIT envelope (draft-ietf-suit-manifest, IANA
/// considerations).
pub const ENVELOPE_TYPE: &str = "application/suit-envelope+cose";
/// Media type of a root document and of a revocation.
pub const ROOT_TYPE: &str = "application/cbor";
/// Media type of payloads, trees and upload chunks.
pub const BYTES_TYPE: &str = "application/octet-stream";
/// Header that carries the request id, both ways.
pub const REQUEST_ID: &str = "x-request-id";
/// Header that makes a repeated request safe: the same key with the same
/// body gets the same stored answer.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header by which a caller says how long to wait for a signature:
/// `wait=SECONDS` (RFC 7240 §4.3).
pub const PREFER: &str = "prefer";
/// Header with the offset at which an upload's next chunk begins.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Header with an upload's whole length.
pub const UPLOAD_LENGTH: &str = "upload-length";
