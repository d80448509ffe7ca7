//! Artifacts: the bytes a build made, and what their format says about them.

use firmseal_manifest::ArtifactId;
use serde::{Deserialize, Serialize};

use crate::Time;

/// Immutable bytes in the registry, named by their digest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the bytes.
    pub id: ArtifactId,
    /// How many bytes.
    pub size: u64,
    /// The firmware format that recognised them: a row of `firmseal-formats`.
    pub format: String,
    /// What the format read from them, as it prints it.
    pub inspection: serde_json::Value,
    /// The operator who uploaded them.
    pub uploaded_by: String,
    /// When they arrived.
    pub created: Time,
}
