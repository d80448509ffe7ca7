//! The public log: what is served of it, and how it stands.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use firmseal_api::Base64;
use firmseal_api::audit::{LogEntries, LogEntry, LogQuery};
use firmseal_api::encoding::PAGE_MAX;
use firmseal_manifest::{ArtifactId, Digest};
use firmseal_sign::Recorded;
use firmseal_store::StoreError;
use firmseal_tlog::{ENTRY_MAX, NOTE_MAX, Tile, WIDTH};
use firmseal_witness::{Cosigned, Included, PublicLog, Status};

use super::App;
use crate::error::ApiError;

/// Longest entry bundle: 256 entries, each behind two bytes of length.
const BUNDLE_MAX: u64 = WIDTH * (ENTRY_MAX as u64 + 2);

/// Longest record of a decision.
const DECISION_MAX: u64 = 4 << 20;

/// The log that anybody may read, where there is one, and the newest
/// freshness document.
pub(crate) struct Published {
    log: Option<PublicLog>,
    fresh: ArcSwapOption<Fresh>,
}

/// A freshness document, and what it was made from.
struct Fresh {
    cosigned: Arc<Cosigned>,
    revocation: u64,
    document: Bytes,
}

impl Published {
    pub(crate) fn new(log: Option<PublicLog>) -> Published {
        Published { log, fresh: ArcSwapOption::empty() }
    }

    /// How the log stands; `None` where none is published.
    pub(crate) fn status(&self) -> Option<Status> {
        self.log.as_ref().map(PublicLog::status)
    }

    /// Lets go of the log.
    pub(crate) async fn close(&self) {
        if let Some(log) = &self.log {
            log.close().await;
        }
    }

    fn log(&self) -> Result<&PublicLog, ApiError> {
        self.log.as_ref().ok_or_else(|| ApiError::NotFound("public log here".to_owned()))
    }
}

impl App {
    /// The checkpoint that is published: with witnesses, the newest that a
    /// quorum has cosigned, so that nobody is ever shown what they have not
    /// seen.
    pub(crate) async fn checkpoint(&self) -> Result<Bytes, ApiError> {
        let log = self.published.log()?;
        if log.is_watched() {
            let newest = log.newest();
            let newest = newest.ok_or_else(|| ApiError::NotFound("checkpoint yet".to_owned()))?;
            return Ok(newest.note().to_string().into());
        }
        read(log.tiles().join("checkpoint"), NOTE_MAX as u64).await
    }

    /// What proves that an entry stands in the log that is published.
    pub(crate) async fn inclusion(&self, index: u64) -> Result<Included, ApiError> {
        let included = self.published.log()?.inclusion(index).await?;
        included.ok_or_else(|| ApiError::Busy(format!("no checkpoint covers entry {index} yet")))
    }

    /// Entries from one on, proven in the tree of a size that was published,
    /// or of the newest.
    pub(crate) async fn log_entries(&self, query: LogQuery) -> Result<LogEntries, ApiError> {
        let limit = query.limit.unwrap_or(100);
        if limit == 0 || limit > PAGE_MAX {
            return Err(ApiError::Malformed(format!("limit is 1 to {PAGE_MAX}")));
        }
        let log = self.published.log()?;
        log.renew().await?;
        let newest = self.inclusion(query.from).await?;
        let size = query.size.unwrap_or(newest.size);
        // What a quorum has not seen is shown to nobody.
        if size > newest.size || query.from >= size {
            return Err(ApiError::Malformed(format!("the tree has {} entries", newest.size)));
        }
        let most = usize::try_from(size - query.from).unwrap_or(usize::MAX).min(limit as usize);
        let leaves = self.log.dyn_read(query.from, most).await;
        let mut entries = Vec::new();
        for (index, leaf) in (query.from..).zip(leaves.map_err(|err| ApiError::Busy(err.to_string()))?) {
            let path = log.proof(index, size).await?.into_iter().map(ArtifactId).collect();
            entries.push(LogEntry { index, leaf: Base64(leaf), path });
        }
        let checkpoint = (size == newest.size).then_some(newest.checkpoint);
        Ok(LogEntries { size, checkpoint, retention_days: self.limits.audit_days, entries })
    }

    /// The record of a decision: a blob that is nothing else.
    pub(crate) async fn decision(&self, id: ArtifactId) -> Result<(Recorded, Bytes), ApiError> {
        let found = self.decision_record(id.0).await?;
        found.ok_or_else(|| ApiError::NotFound(format!("decision {id}")))
    }

    /// The same; `None` where nothing of this digest is one.
    pub(crate) async fn decision_record(
        &self,
        digest: Digest,
    ) -> Result<Option<(Recorded, Bytes)>, StoreError> {
        // Those about files by themselves stand with the jobs, those about
        // releases are blobs.
        let bytes = match self.store.decision(digest).await? {
            Some(record) => Bytes::from(record),
            None => match self.store.read_all(&digest, DECISION_MAX).await {
                Ok(bytes) => bytes,
                Err(StoreError::NotFound { .. } | StoreError::OutOfRange { .. }) => return Ok(None),
                Err(err) => return Err(err),
            },
        };
        // A file that only looks like one is not shown by this way.
        Ok(Recorded::read(&bytes).map(|recorded| (recorded, bytes)))
    }

    /// A tile or a bundle of entries. The path is parsed and then spelt
    /// anew: nothing that a caller wrote becomes part of a file's name.
    pub(crate) async fn tile(&self, path: &str) -> Result<Bytes, ApiError> {
        let log = self.published.log()?;
        let (tile, entries) =
            Tile::parse(path).map_err(|_| ApiError::NotFound("tile of this name".to_owned()))?;
        let (name, most) = match entries {
            true => (tile.entries_path(), BUNDLE_MAX),
            false => (tile.path(), WIDTH * 32),
        };
        read(log.tiles().join(name), most).await
    }

    /// The newest freshness document.
    pub(crate) fn freshness(&self) -> Result<Bytes, ApiError> {
        let fresh = self.published.fresh.load_full();
        let fresh = fresh.ok_or_else(|| ApiError::NotFound("freshness document".to_owned()))?;
        Ok(fresh.document.clone())
    }

    /// Makes a new freshness document if its checkpoint or its revocation is
    /// no longer the newest.
    pub(crate) async fn freshen(&self) -> Result<(), StoreError> {
        let Some((log, cosigned)) = self.published.log.as_ref().and_then(|log| Some((log, log.newest()?)))
        else {
            return Ok(());
        };
        let revocation = self.pipeline.trust().revocation_version();
        let known = self.published.fresh.load_full();
        if known.is_some_and(|known| known.cosigned == cosigned && known.revocation == revocation) {
            return Ok(());
        }
        let document = log.freshness(&cosigned, revocation).await?.into();
        self.published.fresh.store(Some(Arc::new(Fresh { cosigned, revocation, document })));
        Ok(())
    }
}

/// Reads a file of the log.
async fn read(path: PathBuf, most: u64) -> Result<Bytes, ApiError> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    });
    let read: io::Result<Bytes> = reading.await.map_err(|err| ApiError::Internal(err.to_string()))?;
    read.map_err(|err| match err.kind() {
        // A directory is where a full tile will be.
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            ApiError::NotFound("such part of the log".to_owned())
        }
        _ => ApiError::Internal(format!("the log's files: {err}")),
    })
}
