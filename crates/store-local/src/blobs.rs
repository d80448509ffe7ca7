//! Blobs: a file each, and a row that makes it exist.
//!
//! The order is bytes, sync, name, sync, row. A crash between any two
//! leaves a file that nobody can see and the next start removes; a row
//! without its file needs a person's hand or a broken disk, and is damage.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use firmseal_manifest::Digest;
use firmseal_store::{BlobStream, Blobs, StoreError};
use futures_util::{StreamExt, stream};
use rusqlite::{Connection, OptionalExtension, params};

use crate::column::{Count, Hash};
use crate::error::{Failure, file};
use crate::incoming::Incoming;
use crate::sums::{self, CHUNK, Sums};
use crate::{LocalStore, no_blob};

/// Bytes that go to or come from a thread at a time: enough that the hop
/// costs nothing, little enough that a thousand streams fit into memory.
const HOP: usize = 4 * CHUNK;
/// What sums that are kept in memory weigh besides their list.
const ENTRY: usize = 256;

/// Makes a blob visible, or mends the record of one.
pub(crate) fn insert(connection: &Connection, sums: &Sums) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO blobs (digest, size, chunks) VALUES (?, ?, ?)
             ON CONFLICT (digest) DO UPDATE SET size = excluded.size, chunks = excluded.chunks",
        )?
        .execute(params![Hash(sums.digest), Count::new("size", sums.size)?, sums.chunks])?;
    Ok(())
}

/// Refuses unless a blob exists.
pub(crate) fn require(connection: &Connection, id: &Digest) -> Result<u64, Failure> {
    connection
        .prepare_cached("SELECT size FROM blobs WHERE digest = ?")?
        .query_row([Hash(*id)], |row| row.get(0))
        .optional()?
        .map(|Count(size)| size)
        .ok_or_else(|| no_blob(id).into())
}

#[async_trait]
impl Blobs for LocalStore {
    async fn put(&self, id: Digest, size: u64, mut source: BlobStream) -> Result<(), StoreError> {
        let files = self.inner.files.handle();
        let (directory, handle) = (Arc::clone(&self.inner.directory), files.clone());
        let mut incoming =
            files.run("receive a blob", move |()| Incoming::create(&directory, &handle)).await?;
        let (mut pieces, mut gathered) = (Vec::new(), 0);
        loop {
            let piece = source.next().await.transpose()?;
            let ended = piece.is_none();
            if let Some(piece) = piece {
                gathered += piece.len();
                pieces.push(piece);
                let actual = incoming.size() + gathered as u64;
                if actual > size {
                    return Err(StoreError::SizeMismatch { expected: size, actual });
                }
            }
            if ended || gathered >= HOP {
                let pieces = std::mem::take(&mut pieces);
                gathered = 0;
                incoming =
                    files.run("write a blob", move |()| incoming.write(&pieces).map(|()| incoming)).await?;
            }
            if ended {
                break;
            }
        }
        let sums = files.run("publish a blob", move |()| incoming.publish(size, &id)).await?;
        self.write("record a blob", move |connection| insert(connection, &sums)).await
    }

    async fn put_bytes(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let files = self.inner.files.handle();
        let (directory, handle) = (Arc::clone(&self.inner.directory), files.clone());
        let sums = files
            .run("write a blob", move |()| {
                let id = Digest(sums::sha256(&bytes));
                let mut incoming = Incoming::create(&directory, &handle)?;
                let size = bytes.len() as u64;
                incoming.write(&[bytes])?;
                incoming.publish(size, &id)
            })
            .await?;
        let id = sums.digest;
        self.write("record a blob", move |connection| insert(connection, &sums)).await?;
        Ok(id)
    }

    async fn size(&self, id: &Digest) -> Result<Option<u64>, StoreError> {
        match self.sums(id).await {
            Ok(sums) => Ok(Some(sums.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, id: &Digest, range: Range<u64>) -> Result<BlobStream, StoreError> {
        let sums = self.sums(id).await?;
        let Range { start, end } = range;
        if start > end || end > sums.size {
            return Err(StoreError::OutOfRange { start, end, size: sums.size });
        }
        let path = self.inner.directory.blob(id);
        let files = self.inner.files.handle().clone();
        let reading = files.run("open a blob", move |()| Reading::open(path, sums, start..end)).await?;
        Ok(Box::pin(stream::try_unfold((files, reading), |(files, mut reading)| async move {
            if reading.range.is_empty() {
                return Ok(None);
            }
            let (piece, reading) =
                files.run("read a blob", move |()| reading.step().map(|piece| (piece, reading))).await?;
            Ok(Some((piece, (files, reading))))
        })))
    }
}

impl LocalStore {
    async fn sums(&self, id: &Digest) -> Result<Arc<Sums>, StoreError> {
        if let Some(sums) = self.inner.sums.get(id) {
            return Ok(sums);
        }
        let digest = *id;
        let sums = self
            .query("look a blob up", move |connection| {
                let found = connection
                    .prepare_cached("SELECT size, chunks FROM blobs WHERE digest = ?")?
                    .query_row([Hash(digest)], |row| {
                        let Count(size) = row.get(0)?;
                        Ok(Sums { digest, size, chunks: row.get(1)? })
                    })
                    .optional()?;
                found.ok_or_else(|| no_blob(&digest).into())
            })
            .await?;
        let sums = Arc::new(sums);
        self.inner.sums.put(*id, Arc::clone(&sums), ENTRY + sums.chunks.len());
        Ok(sums)
    }
}

/// A range being read.
struct Reading {
    file: File,
    path: PathBuf,
    sums: Arc<Sums>,
    /// What is still to be handed out.
    range: Range<u64>,
    /// Present if the whole blob is read: then its own digest must come out
    /// as well, so that a damaged record cannot vouch for damaged bytes.
    whole: Option<Context>,
}

impl Reading {
    fn open(path: PathBuf, sums: Arc<Sums>, range: Range<u64>) -> Result<Reading, StoreError> {
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                StoreError::corrupt(format!("blob {}, whose file is gone,", sums.digest))
            }
            _ => file("open", &path)(error),
        })?;
        let whole = (range == (0..sums.size)).then(|| Context::new(&SHA256));
        Ok(Reading { file, path, sums, range, whole })
    }

    /// Reads and checks the next chunks, and hands out what was asked for.
    fn step(&mut self) -> Result<Bytes, StoreError> {
        let chunk = CHUNK as u64;
        let first = self.range.start / chunk;
        let from = first * chunk;
        // Chunks are checked whole, so the first and the last may be read
        // beyond what is asked for.
        let to = (from + HOP as u64).min(self.range.end.next_multiple_of(chunk)).min(self.sums.size);
        let mut buffer = vec![0; (to - from) as usize];
        let damaged = |at: u64| StoreError::corrupt(format!("blob {} near byte {at}", self.sums.digest));
        self.file.read_exact_at(&mut buffer, from).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(to),
            _ => file("read", &self.path)(error),
        })?;
        for (index, bytes) in (first..).zip(buffer.chunks(CHUNK)) {
            if self.sums.chunk(index as usize) != Some(sums::sha256(bytes).as_slice()) {
                return Err(damaged(index * chunk));
            }
        }
        let until = to.min(self.range.end);
        if let Some(mut whole) = self.whole.take() {
            whole.update(&buffer);
            if until < self.range.end {
                self.whole = Some(whole);
            } else if sums::digest(whole) != self.sums.digest {
                return Err(damaged(0));
            }
        }
        let piece = Bytes::from(buffer).slice((self.range.start - from) as usize..(until - from) as usize);
        self.range.start = until;
        Ok(piece)
    }
}
