//! Facts: what a policy may decide on.

use serde::{Deserialize, Serialize};

/// Everything that the evidence of one build says, after it was verified.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Its software bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Sbom>,
    /// Provenance statements that are about exactly these artifacts and
    /// whose signatures hold, under builder keys that are configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
    /// How many provenance statements were handed in that nobody known
    /// signed, or that are about something else.
    #[serde(default)]
    pub unproven: u32,
    /// Test results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestRun>,
    /// Whether two builds of the same source were compared and are the same;
    /// absent where nobody compared them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduced: Option<bool>,
}

/// A software bill of materials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sbom {
    /// `cyclonedx` or `spdx`.
    pub format: String,
    /// Version of its specification: `1.6`, `2.3`.
    pub specification: String,
    /// How many components it lists.
    pub components: u32,
}

/// Provenance whose signature holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// The builder that it names, and whose configured key signed it.
    pub builder: String,
    /// The kind of build that it names.
    pub build_type: String,
    /// The source repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// One run of a test suite.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestRun {
    /// The suite.
    pub suite: String,
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed.
    pub failed: u32,
    /// Whether the result was signed by a configured key.
    pub signed: bool,
}
