//! Uploads: blobs that arrive over several requests and survive all of them
//! failing.

use async_trait::async_trait;
use bytes::Bytes;
use firmseal_fleet::Time;
use firmseal_manifest::{Digest, UploadId};

use crate::StoreError;

/// Longest piece that [`Uploads::append`] takes, in bytes.
pub const APPEND_MAX: usize = 16 * 1024 * 1024;

/// What an uploader announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUpload {
    /// Its id, made by the caller.
    pub id: UploadId,
    /// How many bytes will come.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// Who uploads: nobody else may continue.
    pub owner: String,
    /// When an unfinished upload may be thrown away.
    pub expires: Time,
}

/// An upload under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// What was announced.
    pub announced: NewUpload,
    /// Bytes that are durable.
    pub offset: u64,
}

/// Resumable uploads.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Begins an upload. Beginning the same one again changes nothing; the
    /// same id with anything else announced is a conflict.
    async fn create(&self, upload: NewUpload) -> Result<(), StoreError>;

    /// An upload, with the offset at which it continues.
    async fn upload(&self, id: UploadId) -> Result<Upload, StoreError>;

    /// Appends at an offset and returns the new one, which is durable.
    ///
    /// The offset must be the current one, otherwise
    /// [`StoreError::OffsetMismatch`] names it: so a retry whose first
    /// attempt did arrive is told where to go on. Two appends at once to
    /// the same upload are [`StoreError::Busy`] for one of them. A piece
    /// that exceeds the announced size or [`APPEND_MAX`] is refused whole.
    async fn append(&self, id: UploadId, offset: u64, piece: Bytes) -> Result<u64, StoreError>;

    /// Makes the blob and ends the upload, in one step.
    ///
    /// An upload with bytes missing is refused and remains. Bytes of
    /// another digest are [`StoreError::DigestMismatch`] and end the
    /// upload: no further byte could mend it.
    async fn complete(&self, id: UploadId) -> Result<Digest, StoreError>;

    /// Throws an upload away. One that does not exist is no error.
    async fn abort(&self, id: UploadId) -> Result<(), StoreError>;

    /// Throws away what has expired, and returns how many uploads that was.
    async fn expire(&self, now: Time) -> Result<u64, StoreError>;
}
