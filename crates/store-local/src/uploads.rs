//! Uploads: a file that grows, and a row that says how far it counts.
//!
//! The offset in the row follows the fsync of the file, so it never promises
//! bytes that a power cut could take. Bytes beyond it, left by a crash
//! between the two, are overwritten by the next append.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use firmseal_fleet::Time;
use firmseal_manifest::{Digest, UploadId};
use firmseal_store::uploads::APPEND_MAX;
use firmseal_store::{NewUpload, StoreError, Upload, Uploads};
use rusqlite::{Connection, OptionalExtension, params};

use crate::column::{Count, Hash, Text, When};
use crate::directory::{self, Directory};
use crate::error::{Failure, file};
use crate::incoming::{self, Temporary};
use crate::pool::Handle;
use crate::sums::{CHUNK, Summing, Sums};
use crate::{LocalStore, blobs};

/// The only one at work on an upload. It travels with the work: a caller
/// who hangs up does not let the next one in while a write still runs.
struct Turn {
    id: UploadId,
    taken: Arc<Mutex<HashSet<UploadId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl LocalStore {
    fn turn(&self, id: UploadId) -> Result<Turn, StoreError> {
        let taken = Arc::clone(&self.inner.uploading);
        if !taken.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return Err(StoreError::Busy { what: format!("upload {id}") });
        }
        Ok(Turn { id, taken })
    }

    /// Ends an upload: first the row, then the file. A crash between leaves
    /// a file without a row, which the next start removes.
    async fn end(&self, turn: Turn, sums: Option<Sums>) -> Result<(), StoreError> {
        let id = turn.id;
        let turn = self
            .write("end an upload", move |connection| {
                if let Some(sums) = &sums {
                    blobs::insert(connection, sums)?;
                }
                connection.prepare_cached("DELETE FROM uploads WHERE id = ?")?.execute([Text(id)])?;
                Ok(turn)
            })
            .await?;
        let path = self.inner.directory.upload(id);
        let files = self.inner.files.handle();
        files
            .run("remove an upload", move |()| {
                let _turn = turn;
                directory::remove(&path)
            })
            .await
    }
}

fn select(connection: &Connection, id: UploadId) -> Result<Upload, Failure> {
    connection
        .prepare_cached("SELECT size, digest, owner, expires, offset FROM uploads WHERE id = ?")?
        .query_row([Text(id)], |row| {
            let (Count(size), Hash(digest), When(expires)) = (row.get(0)?, row.get(1)?, row.get(3)?);
            let Count(offset) = row.get(4)?;
            Ok(Upload { announced: NewUpload { id, size, digest, owner: row.get(2)?, expires }, offset })
        })
        .optional()?
        .ok_or_else(|| StoreError::not_found(format!("upload {id}")).into())
}

#[async_trait]
impl Uploads for LocalStore {
    async fn create(&self, upload: NewUpload) -> Result<(), StoreError> {
        self.write("begin an upload", move |connection| {
            match select(connection, upload.id) {
                Ok(there) if there.announced == upload => return Ok(()),
                Ok(_) => {
                    let what = format!("upload {} was announced differently before", upload.id);
                    return Err(StoreError::conflict(what).into());
                }
                Err(Failure::Store(StoreError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
            connection
                .prepare_cached(
                    "INSERT INTO uploads (id, size, digest, owner, expires, offset)
                     VALUES (?, ?, ?, ?, ?, 0)",
                )?
                .execute(params![
                    Text(upload.id),
                    Count::new("size", upload.size)?,
                    Hash(upload.digest),
                    upload.owner,
                    When(upload.expires)
                ])?;
            Ok(())
        })
        .await
    }

    async fn upload(&self, id: UploadId) -> Result<Upload, StoreError> {
        self.query("look an upload up", move |connection| select(connection, id)).await
    }

    async fn append(&self, id: UploadId, offset: u64, piece: Bytes) -> Result<u64, StoreError> {
        let turn = self.turn(id)?;
        let upload = self.upload(id).await?;
        if upload.offset != offset {
            return Err(StoreError::OffsetMismatch { have: upload.offset });
        }
        let end = offset.saturating_add(piece.len() as u64);
        if piece.len() > APPEND_MAX {
            return Err(StoreError::conflict(format!("send at most {APPEND_MAX} bytes at a time")));
        }
        if end > upload.announced.size {
            return Err(StoreError::SizeMismatch { expected: upload.announced.size, actual: end });
        }
        if piece.is_empty() {
            return Ok(offset);
        }
        let directory = Arc::clone(&self.inner.directory);
        let turn = self
            .inner
            .files
            .handle()
            .run("write an upload", move |()| extend(&directory, id, offset, &piece).map(|()| turn))
            .await?;
        self.write("record an upload's progress", move |connection| {
            let _turn = turn;
            let moved = connection
                .prepare_cached("UPDATE uploads SET offset = ? WHERE id = ? AND offset = ?")?
                .execute(params![Count(end), Text(id), Count(offset)])?;
            if moved == 0 {
                return Err(StoreError::not_found(format!("upload {id}")).into());
            }
            Ok(end)
        })
        .await
    }

    async fn complete(&self, id: UploadId) -> Result<Digest, StoreError> {
        let turn = self.turn(id)?;
        let Upload { announced, offset } = self.upload(id).await?;
        if offset < announced.size {
            return Err(StoreError::OffsetMismatch { have: offset });
        }
        let NewUpload { size, digest, .. } = announced;
        let directory = Arc::clone(&self.inner.directory);
        let files = self.inner.files.handle().clone();
        let handle = files.clone();
        let (outcome, turn) = files
            .run("check an upload", move |()| match adopt(&directory, &handle, id, size, &digest) {
                Err(error @ (StoreError::DigestMismatch { .. } | StoreError::SizeMismatch { .. })) => {
                    Ok((Err(error), turn))
                }
                other => other.map(|sums| (Ok(sums), turn)),
            })
            .await?;
        match outcome {
            Ok(sums) => self.end(turn, Some(sums)).await.map(|()| digest),
            Err(mismatch) => self.end(turn, None).await.and(Err(mismatch)),
        }
    }

    async fn abort(&self, id: UploadId) -> Result<(), StoreError> {
        let turn = self.turn(id)?;
        self.end(turn, None).await
    }

    async fn expire(&self, now: Time) -> Result<u64, StoreError> {
        let expired: Vec<UploadId> = self
            .query("look for expired uploads", move |connection| {
                let mut statement = connection.prepare_cached("SELECT id FROM uploads WHERE expires <= ?")?;
                let ids = statement.query_map([When(now)], |row| row.get(0).map(|Text(id)| id))?;
                Ok(ids.collect::<Result<_, _>>()?)
            })
            .await?;
        let mut ended = 0;
        for id in expired {
            // One that is being worked on right now expires another time.
            if let Ok(turn) = self.turn(id) {
                self.end(turn, None).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}

/// Writes a piece where it belongs, durably.
fn extend(directory: &Directory, id: UploadId, offset: u64, piece: &[u8]) -> Result<(), StoreError> {
    let path = directory.upload(id);
    let upload = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(file("open", &path))?;
    upload.write_all_at(piece, offset).map_err(file("write", &path))?;
    upload.sync_data().map_err(file("sync", &path))?;
    if offset == 0 {
        directory::sync_dir(&directory.uploads())?;
    }
    Ok(())
}

/// Checks a whole upload and gives its bytes the name of a blob.
///
/// By a link, not a rename: until the row is gone the upload must still be
/// there, so that after a crash in between the same call succeeds again.
fn adopt(
    directory: &Arc<Directory>,
    files: &Handle<()>,
    id: UploadId,
    size: u64,
    digest: &Digest,
) -> Result<Sums, StoreError> {
    let path = directory.upload(id);
    let temporary = Temporary::new(directory, files);
    if size == 0 {
        directory::create(&temporary.path)?;
    } else {
        fs::hard_link(&path, &temporary.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::corrupt(format!("upload {id}, whose file is gone,")),
            _ => file("link", &path)(error),
        })?;
    }
    let sums = sum(&temporary.path)?;
    incoming::check(&sums, size, digest)?;
    temporary.publish(digest)?;
    Ok(sums)
}

/// Sums up a file, and makes sure that it is durable whole.
fn sum(path: &Path) -> Result<Sums, StoreError> {
    let failed = file("read", path);
    let mut upload = File::open(path).map_err(&failed)?;
    upload.sync_all().map_err(&failed)?;
    let mut summing = Summing::new();
    let mut buffer = vec![0; 4 * CHUNK];
    loop {
        match upload.read(&mut buffer).map_err(&failed)? {
            0 => return Ok(summing.finish()),
            read => summing.update(&buffer[..read]),
        }
    }
}
