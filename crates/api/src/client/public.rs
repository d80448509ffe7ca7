//! What anybody may call on the public listener: reading what is published.

use bytes::Bytes;
use firmseal_manifest::{ProductId, ReleaseId};

use super::{Client, ClientError, paged};
use crate::encoding::{Page, PageQuery};
use crate::signing::Release;

/// The calls of anybody.
#[derive(Clone, Copy, Debug)]
pub struct PublicClient<'a>(pub(super) &'a Client);

impl PublicClient<'_> {
    /// A product's releases, newest first.
    pub async fn releases(
        &self,
        product: &ProductId,
        page: &PageQuery,
    ) -> Result<Page<Release>, ClientError> {
        self.0.get(&paged(&format!("/v1/releases?product={product}"), page)).await
    }

    /// One release.
    pub async fn release(&self, release: ReleaseId) -> Result<Release, ClientError> {
        self.0.get(&format!("/v1/releases/{release}")).await
    }

    /// A release's envelope.
    pub async fn envelope(&self, release: ReleaseId) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/releases/{release}/envelope")).await
    }

    /// The newest revocation; not found where there is none.
    pub async fn revocation(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/revocation").await
    }

    /// The newest freshness document; not found where there is none.
    pub async fn freshness(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/freshness").await
    }

    /// A version of the root document.
    pub async fn root(&self, version: u64) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/roots/{version}")).await
    }
}
