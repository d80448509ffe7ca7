//! Registry: products, uploads and artifacts.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use firmseal_api::registry::{CreateUpload, Product};
use firmseal_fleet::{Artifact, Caller};
use firmseal_manifest::{ArtifactId, UploadId};
use firmseal_store::uploads::APPEND_MAX;
use firmseal_store::{NewUpload, StoreError, Upload};
use uuid::Uuid;

use super::App;
use crate::error::ApiError;
use crate::http::extract::read;
use crate::wire;

impl App {
    /// Makes a product, of the environment that the root document is for.
    pub(crate) async fn create_product(
        &self,
        creator: &Caller,
        product: Product,
    ) -> Result<Product, ApiError> {
        let product = wire::product_in(product, self.clock.now())?;
        // Devices under this root refuse whatever is of another environment
        // (refusal 302), and so does the check after signing. Said here, it
        // costs nobody an upload and no key is used for nothing.
        if product.environment != self.environment {
            let (wanted, ours) = (product.environment.name(), self.environment.name());
            return Err(ApiError::Refused {
                why: format!("the product is for {wanted}, the root document of this server for {ours}"),
                hint: format!(
                    "make the product with environment `{ours}`, or use a server under a root document for {wanted}"
                ),
            });
        }
        // A repeat must find the same value, so the first one's date holds.
        let known = self.store.product(&product.id).await.ok();
        let product = product.to_store(known);
        self.store.insert_product(product.clone(), creator).await?;
        tracing::info!(product = %product.id, creator = creator.name, "product made");
        Ok(wire::product_out(product))
    }

    /// Begins an upload, or finds it where it broke off: an operator's
    /// upload of the same bytes is the same upload, also from another
    /// process or after the first answer was lost.
    pub(crate) async fn create_upload(&self, owner: &str, wish: CreateUpload) -> Result<Upload, ApiError> {
        if wish.size > self.limits.artifact_bytes {
            return Err(ApiError::TooLong(self.limits.artifact_bytes));
        }
        let (id, now) = (upload_id(owner, &wish), self.clock.now());
        match self.store.upload(id).await {
            Ok(found) if found.announced.expires > now => return Ok(found),
            // Expired, and the next sweep would take it from under us.
            Ok(_) => self.store.abort(id).await?,
            Err(StoreError::NotFound { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        let announced = NewUpload {
            id,
            size: wish.size,
            digest: wish.sha256.0,
            owner: owner.to_owned(),
            expires: now.plus(Duration::from_secs(self.limits.upload_seconds)),
        };
        match self.store.create(announced.clone()).await {
            Ok(()) => Ok(Upload { announced, offset: 0 }),
            // The same wish came twice at once, and the other was faster.
            Err(StoreError::Conflict { .. }) => Ok(self.store.upload(id).await?),
            Err(other) => Err(other.into()),
        }
    }

    /// An upload of this operator. Somebody else's does not exist for them.
    pub(crate) async fn upload_of(&self, owner: &str, id: UploadId) -> Result<Upload, ApiError> {
        let upload = self.store.upload(id).await?;
        if upload.announced.owner != owner {
            return Err(ApiError::NotFound(format!("upload {id}")));
        }
        Ok(upload)
    }

    /// Appends a piece. One piece is held in memory: it becomes durable
    /// whole or not at all, so a broken connection costs one piece.
    pub(crate) async fn append(
        &self,
        owner: &str,
        id: UploadId,
        offset: u64,
        body: Body,
    ) -> Result<Upload, ApiError> {
        let mut upload = self.upload_of(owner, id).await?;
        if upload.offset != offset {
            return Err(ApiError::Offset(upload.offset));
        }
        let max = self.limits.piece_bytes.min(APPEND_MAX);
        let piece: Bytes = read(body, max, self.limits.stall()).await?;
        upload.offset = self.store.append(id, offset, piece).await?;
        Ok(upload)
    }

    /// Makes the artifact, and reads from it what its format says.
    pub(crate) async fn complete(&self, owner: &str, id: UploadId) -> Result<Artifact, ApiError> {
        let upload = self.upload_of(owner, id).await?;
        let digest = self.store.complete(id).await?;
        let inspection = self.inspect(digest, upload.announced.size).await?;
        let artifact = Artifact {
            id: ArtifactId(digest),
            size: upload.announced.size,
            format: inspection.format.clone(),
            inspection: serde_json::to_value(&inspection)
                .map_err(|err| ApiError::Internal(err.to_string()))?,
            uploaded_by: owner.to_owned(),
            created: self.clock.now(),
        };
        self.store.insert_artifact(artifact).await?;
        tracing::info!(artifact = %digest, size = upload.announced.size, operator = owner, "artifact stored");
        // Whoever brought it first is on record.
        Ok(self.store.artifact(&ArtifactId(digest)).await?)
    }
}

/// An upload's id: a hash of whose it is and what it becomes. Nobody gains
/// by guessing one, since only its owner may use it.
fn upload_id(owner: &str, wish: &CreateUpload) -> UploadId {
    let name = format!("firmseal upload {} {} {owner}", wish.sha256, wish.size);
    UploadId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
}
