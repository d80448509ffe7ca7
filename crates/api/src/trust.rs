//! Trust: what publishing root documents and revocations answers.
//!
//! The documents themselves travel as they were signed, in CBOR.

use firmseal_manifest::{ReleaseId, RolloutId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A root document was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedRoot {
    /// Its number.
    pub version: u64,
    /// Whether devices that hold it take the newest revocation. `false`
    /// where the keys of the revocation role were replaced: its entries have
    /// to be signed and published again.
    pub revocation_stands: bool,
    /// Releases that are being rolled out and that devices refuse once they
    /// hold it: it takes away who signed them, or demands more.
    #[schema(value_type = Vec<String>)]
    pub refused: Vec<ReleaseId>,
}

/// A revocation was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedRevocation {
    /// Its number.
    pub version: u64,
    /// The releases that it took away here. Those that were revoked before
    /// are not among them.
    #[schema(value_type = Vec<String>)]
    pub releases: Vec<ReleaseId>,
    /// The rollouts that were halted.
    #[schema(value_type = Vec<String>)]
    pub rollouts: Vec<RolloutId>,
}
