//! Signing: from artifacts to a release that devices accept.

use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    pub version: String,
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
    pub build_id: String,
    /// The commit it was built from.
    #[schema(max_length = 256)]
    pub commit: String,
    /// The key to sign with; the product's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
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

/// What a release is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStatus {
    /// Verified by the server; rollouts may offer it.
    Published,
    /// Withdrawn: offered to nobody.
    Withdrawn,
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
    pub version: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
    /// SHA-256 of the encoded manifest, as SUIT has it.
    #[schema(value_type = String)]
    pub manifest_digest: ArtifactId,
    /// SHA-256 of the envelope.
    #[schema(value_type = String)]
    pub envelope_sha256: ArtifactId,
    /// Length of the envelope in bytes.
    pub envelope_size: u64,
    /// The payloads, component by component.
    pub payloads: Vec<Payload>,
    /// Ids of the keys that signed it.
    pub keys: Vec<String>,
    /// Index of the intent in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// The build that made it.
    pub build_id: String,
    /// The commit it was built from.
    pub commit: String,
    /// The request that asked for it.
    pub request_id: String,
    /// What it is good for.
    pub status: ReleaseStatus,
    /// When it was stored, in seconds since 1970.
    pub created_at: u64,
}

/// One payload of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// The component's name.
    pub component: String,
    /// SHA-256 of the bytes as installed.
    #[schema(value_type = String)]
    pub sha256: ArtifactId,
    /// Their length.
    pub size: u64,
    /// Where the bytes are, relative to the server's root.
    pub uri: String,
    /// Where the block tree is.
    pub tree: String,
    /// Length of the block tree in bytes.
    pub tree_size: u64,
}
