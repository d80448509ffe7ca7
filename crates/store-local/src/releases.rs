//! Releases in the database: the order that never goes back is kept here.

use firmseal_fleet::{Release, ReleaseState};
use firmseal_manifest::{ChannelName, Digest, Event, ProductId, ReleaseId, RequestId};
use firmseal_store::{Page, StoreError};
use rusqlite::{Connection, Row, params};
use semver::Version;

use crate::blobs;
use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, find_artifact, find_product, fresh, limit, no_artifact, no_product, one};

const COLUMNS: &str = "id, product, channel, version, sequence, epoch, components, manifest, envelope, state, \
                       build, source_commit, request, requester, log_index, created, sbom, evidence";

fn read(row: &Row<'_>) -> rusqlite::Result<Release> {
    let (Text(id), Text(product), Text(channel), Text(version)) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let (Count(sequence), Count(epoch), Json(components)) = (row.get(4)?, row.get(5)?, row.get(6)?);
    let (Hash(manifest), Hash(envelope), Word(state)) = (row.get(7)?, row.get(8)?, row.get(9)?);
    let (Text(request), Count(log_index), When(created)) = (row.get(12)?, row.get(14)?, row.get(15)?);
    let (build, commit, requester) = (row.get(10)?, row.get(11)?, row.get(13)?);
    let (sbom, Json(evidence)): (Option<Hash>, _) = (row.get(16)?, row.get(17)?);
    Ok(Release {
        id,
        product,
        channel,
        version,
        sequence,
        epoch,
        components,
        manifest,
        envelope,
        sbom: sbom.map(|Hash(sbom)| sbom),
        evidence,
        state,
        build,
        commit,
        request,
        requester,
        log_index,
        created,
    })
}

fn find(connection: &Connection, id: ReleaseId) -> Result<Option<Release>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM releases WHERE id = ?"), [Text(id)], read)
}

pub(crate) fn get(connection: &Connection, id: ReleaseId) -> Result<Release, Failure> {
    find(connection, id)?.ok_or_else(|| StoreError::not_found(format!("release {id}")).into())
}

pub(crate) fn of_request(connection: &Connection, request: RequestId) -> Result<Option<Release>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM releases WHERE request = ?"), [Text(request)], read)
}

pub(crate) fn of_manifest(connection: &Connection, manifest: Digest) -> Result<Option<Release>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM releases WHERE manifest = ?"), [Hash(manifest)], read)
}

pub(crate) fn latest(connection: &Connection, product: &ProductId) -> Result<Option<Release>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE product = ? ORDER BY sequence DESC LIMIT 1");
    one(connection, &sql, [product.as_str()], read)
}

pub(crate) fn latest_on(
    connection: &Connection,
    product: &ProductId,
    channel: &ChannelName,
) -> Result<Option<Release>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM releases WHERE product = ? AND channel = ? ORDER BY sequence DESC LIMIT 1"
    );
    one(connection, &sql, [product.as_str(), channel.as_str()], read)
}

pub(crate) fn of_version(
    connection: &Connection,
    product: &ProductId,
    channel: &ChannelName,
    version: &Version,
) -> Result<Option<Release>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE product = ? AND channel = ? AND version = ?");
    one(connection, &sql, params![product.as_str(), channel.as_str(), Text(version)], read)
}

pub(crate) fn list(
    connection: &Connection,
    product: Option<&ProductId>,
    page: &Page<ReleaseId>,
) -> Result<Vec<Release>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM releases
         WHERE (?1 IS NULL OR product = ?1) AND (?2 IS NULL OR n < (SELECT n FROM releases WHERE id = ?2))
         ORDER BY n DESC LIMIT ?3"
    );
    let params = params![product.map(ProductId::as_str), page.after.map(Text), limit(page)];
    all(connection, &sql, params, read)
}

/// Adds a release if everything it stands on is there and the product's
/// order allows it. One writer runs this: nobody is between the question
/// and the insert, and the UNIQUE constraints would catch whoever were.
pub(crate) fn insert(connection: &Connection, release: &Release) -> Result<(), Failure> {
    let same = |there: &Release| Release { state: release.state, ..there.clone() } == *release;
    if !fresh(find(connection, release.id)?, same, format!("release {}", release.id))? {
        return Ok(());
    }
    let Release { product, sequence, version, channel, .. } = release;
    find_product(connection, product)?.ok_or_else(|| no_product(product))?;
    blobs::require(connection, &release.envelope)?;
    if let Some(sbom) = &release.sbom {
        blobs::require(connection, sbom)?;
    }
    for document in &release.evidence {
        blobs::require(connection, &document.0)?;
    }
    for component in &release.components {
        let artifact = &component.artifact;
        find_artifact(connection, artifact)?.ok_or_else(|| no_artifact(artifact))?;
        blobs::require(connection, &component.hash_blocks)?;
        let size = blobs::require(connection, &component.payload)?;
        if size != component.size {
            let what = format!("blob {} has {size} bytes, not {}", component.payload, component.size);
            return Err(StoreError::conflict(what).into());
        }
    }
    check_free(connection, product, channel, version, *sequence)?;
    let request = Text(release.request);
    if connection.prepare_cached("SELECT 1 FROM releases WHERE request = ?")?.exists([request])? {
        let what = format!("signing request {} has made another release already", release.request);
        return Err(StoreError::conflict(what).into());
    }
    connection
        .prepare_cached(&format!(
            "INSERT INTO releases ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ))?
        .execute(params![
            Text(release.id),
            product.as_str(),
            channel.as_str(),
            Text(version),
            Count::new("sequence", *sequence)?,
            Count::new("epoch", release.epoch)?,
            Json(&release.components),
            Hash(release.manifest),
            Hash(release.envelope),
            Word(release.state),
            release.build,
            release.commit,
            Text(release.request),
            release.requester,
            Count::new("log index", release.log_index)?,
            When(release.created),
            release.sbom.map(Hash),
            Json(&release.evidence)
        ])?;
    let Release { manifest, envelope, log_index: intent, .. } = *release;
    happened(connection, &Event::Released { manifest, envelope, intent })
}

/// Checks that the product's order allows a sequence and a version: asked
/// before a key is used and again when the release comes in.
pub(crate) fn check_free(
    connection: &Connection,
    product: &ProductId,
    channel: &ChannelName,
    version: &Version,
    sequence: u64,
) -> Result<(), Failure> {
    if let Some(latest) = latest(connection, product)?
        && sequence <= latest.sequence
    {
        let at = latest.sequence;
        let what = format!("{product} is at sequence {at} already; use a number above it, not {sequence}");
        return Err(StoreError::conflict(what).into());
    }
    if of_version(connection, product, channel, version)?.is_some() {
        let what = format!("{product} has a version {version} on channel {channel} already; use another");
        return Err(StoreError::conflict(what).into());
    }
    Ok(())
}

pub(crate) fn set_state(connection: &Connection, id: ReleaseId, state: ReleaseState) -> Result<(), Failure> {
    let Release { state: now, manifest, .. } = get(connection, id)?;
    let allowed = match (now, state) {
        (ReleaseState::Signed, ReleaseState::Verified) => true,
        (ReleaseState::Signed | ReleaseState::Verified, ReleaseState::Withdrawn) => true,
        (ReleaseState::Signed | ReleaseState::Verified | ReleaseState::Withdrawn, ReleaseState::Revoked) => {
            true
        }
        (now, next) if now == next => return Ok(()),
        _ => false,
    };
    if !allowed {
        let what = format!("release {id} is {now:?} and cannot become {state:?}").to_lowercase();
        return Err(StoreError::conflict(what).into());
    }
    connection
        .prepare_cached("UPDATE releases SET state = ? WHERE id = ?")?
        .execute(params![Word(state), Text(id)])?;
    match state {
        ReleaseState::Signed | ReleaseState::Verified => Ok(()),
        ReleaseState::Withdrawn => happened(connection, &Event::Retired { manifest, revoked: false }),
        ReleaseState::Revoked => happened(connection, &Event::Retired { manifest, revoked: true }),
    }
}
