//! The registry: products, artifacts and releases.

use async_trait::async_trait;
use firmseal_fleet::{Artifact, Caller, Product, Release, ReleaseState};
use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, ReleaseId, RequestId};
use semver::Version;

use crate::{Page, StoreError};

/// Products, artifacts and releases.
///
/// What is in the registry stays: nothing is deleted, and of a release only
/// the state changes. Inserting exactly the same value again is `Ok`, so
/// every insert may be retried; the same id with another content is a
/// conflict.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Adds a product. One that fails [`Product::check`] is a conflict. `by`
    /// is who makes it, for the record.
    async fn insert_product(&self, product: Product, by: &Caller) -> Result<(), StoreError>;

    /// A product.
    async fn product(&self, id: &ProductId) -> Result<Product, StoreError>;

    /// All products, newest first.
    async fn products(&self, page: Page<ProductId>) -> Result<Vec<Product>, StoreError>;

    /// Adds an artifact, whose blob must exist with the same size.
    ///
    /// Unlike elsewhere, an artifact that exists is left as it is whoever
    /// brings it again: the bytes are the same, and the first uploader is
    /// the one on record.
    async fn insert_artifact(&self, artifact: Artifact) -> Result<(), StoreError>;

    /// An artifact.
    async fn artifact(&self, id: &ArtifactId) -> Result<Artifact, StoreError>;

    /// All artifacts, newest first.
    async fn artifacts(&self, page: Page<ArtifactId>) -> Result<Vec<Artifact>, StoreError>;

    /// Adds a release, whose product, artifacts and blobs must exist.
    ///
    /// Its sequence must be above every sequence of the product so far, and
    /// its version new on the channel; both are decided in the same step
    /// that makes it visible, so of two at once exactly one wins and the
    /// other is a conflict.
    async fn insert_release(&self, release: Release) -> Result<(), StoreError>;

    /// A release.
    async fn release(&self, id: ReleaseId) -> Result<Release, StoreError>;

    /// The release that a signing request made, if it made one.
    async fn release_of_request(&self, request: RequestId) -> Result<Option<Release>, StoreError>;

    /// The release with this manifest.
    async fn release_of_manifest(&self, manifest: &Digest) -> Result<Option<Release>, StoreError>;

    /// The release of a product with the highest sequence, on whatever
    /// channel and in whatever state: a withdrawn one still counts.
    async fn latest_release(&self, product: &ProductId) -> Result<Option<Release>, StoreError>;

    /// The same of one channel.
    async fn latest_release_on(
        &self,
        product: &ProductId,
        channel: &ChannelName,
    ) -> Result<Option<Release>, StoreError>;

    /// The release of a product with this version on a channel, in whatever
    /// state.
    async fn release_of_version(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        version: &Version,
    ) -> Result<Option<Release>, StoreError>;

    /// The releases of a product, or all, newest first.
    async fn releases(
        &self,
        product: Option<&ProductId>,
        page: Page<ReleaseId>,
    ) -> Result<Vec<Release>, StoreError>;

    /// Brings a release into a state: signed to verified, either to
    /// withdrawn, and all three to revoked. The state it has already is `Ok`; every other way is a
    /// conflict.
    async fn set_release_state(&self, id: ReleaseId, state: ReleaseState) -> Result<(), StoreError>;
}
