//! Facts: what a policy may decide on.

use firmseal_fleet::Time;
use firmseal_manifest::ArtifactId;
use serde::{Deserialize, Serialize};

/// Everything that the evidence of one build says, after it was verified.
///
/// The default is what no evidence says: nothing is attested.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Its software bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Sbom>,
    /// Provenance statements that are about artifacts of this request and
    /// whose signatures hold, under builder keys that are configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
    /// Whether *every* artifact of this request has provenance. One proven
    /// component says nothing about the one beside it.
    #[serde(default)]
    pub attested: bool,
    /// How many statements were handed in that nobody known signed, or that
    /// are about something else.
    #[serde(default)]
    pub unproven: u32,
    /// Test results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestRun>,
    /// Whether every artifact was built a second time, by somebody who may
    /// say so, and came out the same; `false` as soon as one did not, absent
    /// where not all were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduced: Option<bool>,
    /// Scans, for malware or known vulnerabilities, by somebody who may say
    /// what came of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scans: Vec<Scan>,
    /// Evaluations, each signed by whom it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<Evaluation>,
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
    /// Whether a configured key signed that it is the list of all artifacts of
    /// this request.
    #[serde(default)]
    pub signed: bool,
}

/// Provenance whose signature holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
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
    /// The branch or tag, as the source names it: `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The artifacts of this request that it is about, sorted; never empty.
    pub artifacts: Vec<ArtifactId>,
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
    /// Whether a configured key signed that this is about an artifact of
    /// this request. Unsigned results are the caller's word.
    pub signed: bool,
    /// The artifacts of this request that it is about, sorted; none where
    /// nobody signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactId>,
}

/// One run of a scanner.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Scan {
    /// The scanner, by its URI.
    pub scanner: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of what it knows: signatures of malware, vulnerabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// When that was last updated; never after the scan.
    pub updated: Time,
    /// When the scan ended.
    pub finished: Time,
    /// Findings that are critical, or of which nothing says how bad they are.
    pub critical: u32,
    /// Findings that are high.
    pub high: u32,
    /// Findings that are medium.
    pub medium: u32,
    /// Findings below that.
    pub low: u32,
    /// The artifacts of this request that it is about, sorted; never empty.
    pub artifacts: Vec<ArtifactId>,
}

/// One evaluation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Who evaluated, and whose configured key signed it.
    pub evaluator: String,
    /// When.
    pub evaluated: Time,
    /// Until when it holds, where that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Whether the artifact did not pass.
    #[serde(default)]
    pub failed: bool,
    /// Levels and properties that it passed, sorted; none where it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<String>,
    /// The artifacts of this request that it is about, sorted; never empty.
    pub artifacts: Vec<ArtifactId>,
}
