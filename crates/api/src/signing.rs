//! Signing: from artifacts to a release that devices accept.

use std::collections::BTreeMap;

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::signatures::Priority;

/// Asks for a release: artifacts in, a signed envelope out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRelease {
    /// The product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// The channel.
    #[schema(value_type = String)]
    pub channel: ChannelName,
    /// The version, for people (semver).
    #[schema(value_type = String)]
    pub version: Version,
    /// The sequence number; the next free one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The security epoch.
    pub epoch: u64,
    /// One artifact for each component of the product.
    #[schema(min_items = 1, max_items = 16)]
    pub components: Vec<ReleaseComponent>,
    /// The build that made the artifacts.
    #[schema(max_length = 256)]
    pub build: String,
    /// The commit it was built from.
    #[schema(max_length = 256)]
    pub commit: String,
    /// The software bill of materials: CycloneDX or SPDX as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sbom: Option<ArtifactId>,
    /// Documents about the build: provenance, test results, scans and
    /// evaluations in DSSE, JUnit XML, reproductions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub evidence: Vec<ArtifactId>,
    /// Parameters of the firmware format, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
    /// After how many seconds it is of no use any more; 604800 (7 days) if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub deadline_seconds: Option<u32>,
}

/// Asks for a roll-back that is signed ahead: devices take it once the
/// release that it rolls back was revoked, and not before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareRollback {
    /// The earlier release whose payloads come back; the newest one before
    /// that may still be offered if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<ReleaseId>,
}

/// One artifact of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseComponent {
    /// The component's name.
    pub component: String,
    /// The artifact.
    #[schema(value_type = String)]
    pub artifact: ArtifactId,
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// It has its signatures, and waits for the consent of its devices'
    /// owners; no rollout offers it.
    Signed,
    /// The server verified it as a device would; rollouts may offer it.
    Verified,
    /// A person took it back. It is offered to nobody, for good.
    Withdrawn,
    /// A revocation takes it away. It is offered to nobody, for good.
    Revoked,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ReleaseId,
    /// Its product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Its channel.
    #[schema(value_type = String)]
    pub channel: ChannelName,
    /// Its version, for people.
    #[schema(value_type = String)]
    pub version: Version,
    /// Its sequence number.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
    /// SHA-256 of the manifest: what was logged and signed.
    #[schema(value_type = String)]
    pub manifest: ArtifactId,
    /// SHA-256 of the envelope.
    #[schema(value_type = String)]
    pub envelope: ArtifactId,
    /// The software bill of materials: CycloneDX or SPDX as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sbom: Option<ArtifactId>,
    /// Documents about the build: provenance, test results, scans and
    /// evaluations in DSSE, JUnit XML, reproductions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub evidence: Vec<ArtifactId>,
    /// The payloads, in the order of the product's components.
    pub components: Vec<Payload>,
    /// Index of the intent in the log.
    pub log_index: u64,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// The signing request that made it.
    #[schema(value_type = String)]
    pub request: RequestId,
    /// Who asked for the signature.
    pub requester: String,
    /// How far it has come.
    pub state: ReleaseState,
    /// When it was signed.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// What a release puts into one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// The component's name.
    pub component: String,
    /// The artifact that was uploaded.
    #[schema(value_type = String)]
    pub artifact: ArtifactId,
    /// SHA-256 of the bytes as installed.
    #[schema(value_type = String)]
    pub payload: ArtifactId,
    /// Their length.
    pub size: u64,
    /// Root of the block tree over them.
    #[schema(value_type = String)]
    pub tree_root: ArtifactId,
    /// Where the bytes are, relative to the server's root.
    pub uri: String,
    /// Where the hash blocks are.
    pub tree: String,
}
