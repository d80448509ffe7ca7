//! Products and artifacts, and the registry's way to releases.

use std::sync::Arc;

use async_trait::async_trait;
use firmseal_fleet::audit::Circumstances;
use firmseal_fleet::{Artifact, Caller, Product, Release, ReleaseState};
use firmseal_manifest::{ArtifactId, ChannelName, Digest, Event, ProductId, ReleaseId, RequestId};
use firmseal_store::{Page, Registry, StoreError, page::PAGE_MAX};
use rusqlite::{Connection, OptionalExtension, Row, params};
use semver::Version;

use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::events::note;
use crate::{LocalStore, blobs, releases};

/// What a page asks SQLite for.
pub(crate) fn limit<K>(page: &Page<K>) -> u32 {
    page.limit.min(PAGE_MAX)
}

/// Reads all rows of a statement.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reads the row of a statement, if there is one.
pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, Failure> {
    Ok(connection.prepare_cached(sql)?.query_row(params, read).optional()?)
}

/// Whether an insert is one, or a retry of one that happened.
pub(crate) fn fresh<T>(
    there: Option<T>,
    same: impl FnOnce(&T) -> bool,
    what: String,
) -> Result<bool, Failure> {
    match there {
        None => Ok(true),
        Some(there) if same(&there) => Ok(false),
        Some(_) => Err(StoreError::conflict(format!("{what} exists with another content")).into()),
    }
}

const PRODUCT: &str = "id, environment, vendor, class, hardware, format, components, created";

fn read_product(row: &Row<'_>) -> rusqlite::Result<Product> {
    let (Text(id), Word(environment), Text(vendor), Text(class)) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let (Json(hardware), Json(components), When(created)) = (row.get(4)?, row.get(6)?, row.get(7)?);
    Ok(Product { id, environment, vendor, class, hardware, format: row.get(5)?, components, created })
}

/// The product of an id, if there is one.
pub(crate) fn find_product(connection: &Connection, id: &ProductId) -> Result<Option<Product>, Failure> {
    one(connection, &format!("SELECT {PRODUCT} FROM products WHERE id = ?"), [id.as_str()], read_product)
}

pub(crate) fn no_product(id: &ProductId) -> StoreError {
    StoreError::not_found(format!("product {id}"))
}

const ARTIFACT: &str = "id, size, format, inspection, uploaded_by, created";

fn read_artifact(row: &Row<'_>) -> rusqlite::Result<Artifact> {
    let (Hash(id), Count(size), Json(inspection), When(created)) =
        (row.get(0)?, row.get(1)?, row.get(3)?, row.get(5)?);
    let (id, format, uploaded_by) = (ArtifactId(id), row.get(2)?, row.get(4)?);
    Ok(Artifact { id, size, format, inspection, uploaded_by, created })
}

/// The artifact of an id, if there is one.
pub(crate) fn find_artifact(connection: &Connection, id: &ArtifactId) -> Result<Option<Artifact>, Failure> {
    one(connection, &format!("SELECT {ARTIFACT} FROM artifacts WHERE id = ?"), [Hash(id.0)], read_artifact)
}

pub(crate) fn no_artifact(id: &ArtifactId) -> StoreError {
    StoreError::not_found(format!("artifact {id}"))
}

#[async_trait]
impl Registry for LocalStore {
    async fn insert_product(&self, product: Product, by: &Caller) -> Result<(), StoreError> {
        product.check().map_err(|error| StoreError::conflict(error.to_string()))?;
        let digest = product.digest().map_err(|error| StoreError::conflict(error.to_string()))?;
        let by = by.clone();
        self.write("add a product", move |connection| {
            let there = find_product(connection, &product.id)?;
            if !fresh(there, |there| *there == product, format!("product {}", product.id))? {
                return Ok(());
            }
            connection
                .prepare_cached(&format!("INSERT INTO products ({PRODUCT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?
                .execute(params![
                    product.id.as_str(),
                    Word(product.environment),
                    Text(product.vendor),
                    Text(product.class),
                    Json(&product.hardware),
                    product.format,
                    Json(&product.components),
                    When(product.created)
                ])?;
            let event = Event::Product { product: digest, by: by.id() };
            let (time, product) = (product.created, Some(product.id));
            let circumstances = Circumstances { time, caller: Some(by), product, reasons: Vec::new() };
            note(connection, &event, Some(&circumstances))
        })
        .await
    }

    async fn product(&self, id: &ProductId) -> Result<Product, StoreError> {
        if let Some(product) = self.inner.products.get(id) {
            return Ok(Product::clone(&product));
        }
        let asked = id.clone();
        let product = self
            .query("look a product up", move |connection| {
                find_product(connection, &asked)?.ok_or_else(|| no_product(&asked).into())
            })
            .await?;
        // Products and artifacts are added, and never changed.
        self.inner.products.put(id.clone(), Arc::new(product.clone()), 1);
        Ok(product)
    }

    async fn products(&self, page: Page<ProductId>) -> Result<Vec<Product>, StoreError> {
        self.query("list products", move |connection| {
            let after = page.after.as_ref().map(ProductId::as_str);
            let sql = format!(
                "SELECT {PRODUCT} FROM products
                 WHERE ?1 IS NULL OR n < (SELECT n FROM products WHERE id = ?1) ORDER BY n DESC LIMIT ?2"
            );
            all(connection, &sql, params![after, limit(&page)], read_product)
        })
        .await
    }

    async fn insert_artifact(&self, artifact: Artifact) -> Result<(), StoreError> {
        self.write("add an artifact", move |connection| {
            let size = blobs::require(connection, &artifact.id.0)?;
            if size != artifact.size {
                let what = format!("blob {} has {size} bytes, not {}", artifact.id, artifact.size);
                return Err(StoreError::conflict(what).into());
            }
            connection
                .prepare_cached(&format!(
                    "INSERT INTO artifacts ({ARTIFACT}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
                ))?
                .execute(params![
                    Hash(artifact.id.0),
                    Count::new("size", artifact.size)?,
                    artifact.format,
                    Json(&artifact.inspection),
                    artifact.uploaded_by,
                    When(artifact.created)
                ])?;
            Ok(())
        })
        .await
    }

    async fn artifact(&self, id: &ArtifactId) -> Result<Artifact, StoreError> {
        if let Some(artifact) = self.inner.artifacts.get(id) {
            return Ok(Artifact::clone(&artifact));
        }
        let asked = *id;
        let artifact = self
            .query("look an artifact up", move |connection| {
                find_artifact(connection, &asked)?.ok_or_else(|| no_artifact(&asked).into())
            })
            .await?;
        self.inner.artifacts.put(*id, Arc::new(artifact.clone()), 1);
        Ok(artifact)
    }

    async fn artifacts(&self, page: Page<ArtifactId>) -> Result<Vec<Artifact>, StoreError> {
        self.query("list artifacts", move |connection| {
            let after = page.after.map(|id| Hash(id.0));
            let sql = format!(
                "SELECT {ARTIFACT} FROM artifacts
                 WHERE ?1 IS NULL OR n < (SELECT n FROM artifacts WHERE id = ?1) ORDER BY n DESC LIMIT ?2"
            );
            all(connection, &sql, params![after, limit(&page)], read_artifact)
        })
        .await
    }

    async fn insert_release(&self, release: Release) -> Result<(), StoreError> {
        self.write("add a release", move |connection| releases::insert(connection, &release)).await
    }

    async fn release(&self, id: ReleaseId) -> Result<Release, StoreError> {
        self.query("look a release up", move |connection| releases::get(connection, id)).await
    }

    async fn release_of_request(&self, request: RequestId) -> Result<Option<Release>, StoreError> {
        self.query("look a request's release up", move |connection| releases::of_request(connection, request))
            .await
    }

    async fn release_of_manifest(&self, manifest: &Digest) -> Result<Option<Release>, StoreError> {
        let manifest = *manifest;
        self.query("look a manifest's release up", move |connection| {
            releases::of_manifest(connection, manifest)
        })
        .await
    }

    async fn latest_release(&self, product: &ProductId) -> Result<Option<Release>, StoreError> {
        let product = product.clone();
        self.query("look the latest release up", move |connection| releases::latest(connection, &product))
            .await
    }

    async fn latest_release_on(
        &self,
        product: &ProductId,
        channel: &ChannelName,
    ) -> Result<Option<Release>, StoreError> {
        let (product, channel) = (product.clone(), channel.clone());
        self.query("look a channel's latest release up", move |connection| {
            releases::latest_on(connection, &product, &channel)
        })
        .await
    }

    async fn release_of_version(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        version: &Version,
    ) -> Result<Option<Release>, StoreError> {
        let (product, channel, version) = (product.clone(), channel.clone(), version.clone());
        self.query("look a version up", move |connection| {
            releases::of_version(connection, &product, &channel, &version)
        })
        .await
    }

    async fn releases(
        &self,
        product: Option<&ProductId>,
        page: Page<ReleaseId>,
    ) -> Result<Vec<Release>, StoreError> {
        let product = product.cloned();
        self.query("list releases", move |connection| releases::list(connection, product.as_ref(), &page))
            .await
    }

    async fn set_release_state(&self, id: ReleaseId, state: ReleaseState) -> Result<(), StoreError> {
        self.write("change a release's state", move |connection| releases::set_state(connection, id, state))
            .await
    }
}
