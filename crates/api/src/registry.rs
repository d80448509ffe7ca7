//! Registry: products, uploads and the artifacts they become.

use firmseal_manifest::{ArtifactId, ProductId, UploadId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A product: what a device is checked against before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name.
    #[schema(value_type = String)]
    pub id: ProductId,
    /// SUIT vendor id.
    pub vendor: Uuid,
    /// SUIT class id.
    pub class: Uuid,
    /// Its components, in the order of the manifest.
    #[schema(min_items = 1, max_items = 16)]
    pub components: Vec<Component>,
}

/// One updatable part of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name: `firmware`, `modem`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// The format its artifacts must have: `raw`, `mcuboot`.
    pub format: String,
    /// Size of a slot in bytes; a larger artifact is refused.
    pub slot_size: u64,
    /// Bytes in a block of its tree: 4096, or 1024 for small RAM.
    #[serde(default = "default_block_size")]
    pub block_size: u32,
}

fn default_block_size() -> u32 {
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
    /// The artifact was there before: nothing needs to be sent.
    pub present: bool,
}

/// An immutable artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its SHA-256.
    #[schema(value_type = String)]
    pub id: ArtifactId,
    /// Its length in bytes.
    pub size: u64,
}
