//! Releases: one signed envelope with its payloads.

use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, ReleaseId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::Time;

/// How far a release has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// It has its signatures, and waits for the consent of its devices'
    /// owners; nothing here offers it.
    Signed,
    /// The server itself verified envelope and payloads as a device would.
    /// Only a release in this state is offered.
    Verified,
    /// A person took it back. It is offered to nobody, for good.
    Withdrawn,
    /// A revocation takes it away: devices that know of it refuse it. It is
    /// offered to nobody, for good.
    Revoked,
}

/// What a release puts into one component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseComponent {
    /// The component of the product, by name.
    pub name: String,
    /// What was uploaded.
    pub artifact: ArtifactId,
    /// Blob of the bytes as installed: the artifact itself, or the artifact
    /// with its format's own signature attached.
    #[serde(with = "crate::hex")]
    pub payload: Digest,
    /// Bytes as installed.
    pub size: u64,
    /// Root of the block tree over them.
    #[serde(with = "crate::hex")]
    pub tree_root: Digest,
    /// Blob of the tree's hash blocks, top down; the empty blob for a
    /// payload of one block.
    #[serde(with = "crate::hex")]
    pub hash_blocks: Digest,
}

/// One signed envelope with its payloads, and where it came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// The product it is for.
    pub product: ProductId,
    /// The channel it was released on.
    pub channel: ChannelName,
    /// The version, for people.
    pub version: Version,
    /// SUIT sequence number: orders the releases of a product.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// Its components, in the order of the product.
    pub components: Vec<ReleaseComponent>,
    /// SHA-256 of the manifest: what was approved, logged and signed.
    #[serde(with = "crate::hex")]
    pub manifest: Digest,
    /// Blob of the envelope.
    #[serde(with = "crate::hex")]
    pub envelope: Digest,
    /// Blob of its software bill of materials, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub sbom: Option<Digest>,
    /// Documents about the build, as they were handed in: provenance, test
    /// results, reproductions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ArtifactId>,
    /// How far it has come.
    pub state: ReleaseState,
    /// The CI's id of the build, as CI wrote it.
    pub build: String,
    /// The commit it was built from, as CI wrote it.
    pub commit: String,
    /// The signing request that made it.
    pub request: RequestId,
    /// Who asked for the signature.
    pub requester: String,
    /// Index of the intent in the log.
    pub log_index: u64,
    /// When it was signed.
    pub created: Time,
}
