//! Blobs: immutable bytes, named by their SHA-256.

use std::ops::Range;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use firmseal_manifest::Digest;
use futures_util::{Stream, StreamExt};

use crate::StoreError;

/// Bytes that arrive or leave piece by piece. The first error is the last
/// item.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// Content-addressed storage.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores a blob.
    ///
    /// On return the blob is durable and visible, whole; before that it is
    /// not visible at all. Not more than `size` bytes are taken from
    /// `source`. Fewer or more are [`StoreError::SizeMismatch`], others are
    /// [`StoreError::DigestMismatch`], and nothing remains of either.
    ///
    /// May be retried, and called at once for the same blob: the bytes are
    /// the same. Storing a blob that exists checks the source like any
    /// other and replaces the stored bytes, which mends a damaged one.
    async fn put(&self, id: Digest, size: u64, source: BlobStream) -> Result<(), StoreError>;

    /// Stores a blob that is in memory, under the digest of its bytes.
    async fn put_bytes(&self, bytes: Bytes) -> Result<Digest, StoreError>;

    /// The size of a blob, or `None` if there is no such blob.
    async fn size(&self, id: &Digest) -> Result<Option<u64>, StoreError>;

    /// Reads a range, which must lie inside the blob.
    ///
    /// Every byte is checked, before it is handed out, against digests that
    /// were recorded when the blob was stored; damage ends the stream with
    /// [`StoreError::Corrupt`]. Memory is bounded whatever the range, and
    /// nothing is read ahead of a slow reader.
    async fn read(&self, id: &Digest, range: Range<u64>) -> Result<BlobStream, StoreError>;

    /// Reads a small blob whole. A blob above `limit` bytes is refused with
    /// [`StoreError::OutOfRange`] before anything is read.
    async fn read_all(&self, id: &Digest, limit: u64) -> Result<Bytes, StoreError> {
        let Some(size) = self.size(id).await? else {
            return Err(StoreError::not_found(format!("blob {id}")));
        };
        if size > limit {
            return Err(StoreError::OutOfRange { start: 0, end: limit, size });
        }
        let mut stream = self.read(id, 0..size).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }
}

/// A stream of bytes that are in memory already.
pub fn stream_of(bytes: impl Into<Bytes>) -> BlobStream {
    Box::pin(futures_util::stream::iter([Ok(bytes.into())]))
}
