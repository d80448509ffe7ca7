//! Registry: products, uploads and the artifacts they become.

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, ProductId, UploadId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Test and production never mix: not their keys, builds or devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// For development and trial devices.
    Test,
    /// For what customers have.
    Production,
}

/// A product: the devices that may run the same release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name.
    #[schema(value_type = String)]
    pub id: ProductId,
    /// Test or production, for good.
    pub environment: Environment,
    /// SUIT vendor id.
    pub vendor: Uuid,
    /// SUIT class id.
    pub class: Uuid,
    /// Hardware revisions its releases run on.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub hardware: Vec<String>,
    /// The firmware format its artifacts have: `raw`, `mcuboot`.
    pub format: String,
    /// Its components, in the order of their SUIT indexes.
    #[schema(min_items = 1, max_items = 8)]
    pub components: Vec<Component>,
    /// When it was made; the server's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, read_only)]
    pub created: Option<Time>,
}

/// A place in a device that an update fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name: `rootfs`, `app`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Bytes that fit into one of its slots.
    pub capacity: u64,
    /// Bytes in a block of its tree: 4096, or 1024 for small RAM.
    #[serde(default = "page")]
    pub block_size: u32,
    /// Where its images may be loaded; anywhere, where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressMap>,
}

/// Where images may be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressMap {
    /// An image lies in one of these in whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub allowed: Vec<Region>,
    /// No image touches any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub protected: Vec<Region>,
    /// Whether files that name no address are signed as well, though nothing
    /// can be held against them. A product that is made without this word is
    /// stored with `false`. One that is shown without it is from before the
    /// word, and has them signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_unplaced: Option<bool>,
}

/// A piece of a device's address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// What lies there: `app slot`, `certificate store`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
}

fn page() -> u32 {
    4096
}

/// Begins an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Length of the artifact in bytes.
    pub size: u64,
    /// Its SHA-256.
    #[schema(value_type = String)]
    pub sha256: ArtifactId,
}

/// An upload on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Names the upload.
    #[schema(value_type = String)]
    pub id: UploadId,
    /// The artifact it becomes.
    #[schema(value_type = String)]
    pub sha256: ArtifactId,
    /// Its whole length in bytes.
    pub size: u64,
    /// Bytes that are durable; the next chunk begins here.
    pub offset: u64,
    /// When it may be thrown away if nothing arrives.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// An immutable artifact, and what its format says about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its SHA-256.
    #[schema(value_type = String)]
    pub id: ArtifactId,
    /// Its length in bytes.
    pub size: u64,
    /// The firmware format that recognised it.
    pub format: String,
    /// What the format read from it.
    #[schema(value_type = Object)]
    pub inspection: serde_json::Value,
    /// The operator who uploaded it.
    pub uploaded_by: String,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}
