//! Trust: what publishing root documents and revocations answers.
//!
//! The documents themselves travel as they were signed, in CBOR.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A root document was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedRoot {
    /// Its number.
    pub version: u64,
}
