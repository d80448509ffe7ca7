//! A file on its way to becoming a blob.
//!
//! It lies in `tmp/` under a number, so nobody can take it for anything.
//! Whatever goes wrong, from a wrong digest to a dropped connection, ends in
//! the same removal; a crash ends in it at the next start.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use firmseal_manifest::Digest;
use firmseal_store::StoreError;

use crate::directory::{self, Directory};
use crate::error::file;
use crate::pool::Handle;
use crate::sums::{Summing, Sums};

/// The file, its sums so far, and its removal unless it is published.
pub(crate) struct Incoming {
    file: File,
    summing: Summing,
    temporary: Temporary,
}

impl Incoming {
    /// Blocks; so do all methods.
    pub(crate) fn create(directory: &Arc<Directory>, files: &Handle<()>) -> Result<Incoming, StoreError> {
        let temporary = Temporary::new(directory, files);
        let file = directory::create(&temporary.path)?;
        Ok(Incoming { file, summing: Summing::new(), temporary })
    }

    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        for piece in pieces {
            self.summing.update(piece);
            self.file.write_all(piece).map_err(file("write", &self.temporary.path))?;
        }
        Ok(())
    }

    /// Makes the bytes durable under their name, if they are those that
    /// were announced.
    pub(crate) fn publish(self, size: u64, id: &Digest) -> Result<Sums, StoreError> {
        let sums = self.summing.finish();
        check(&sums, size, id)?;
        // First the bytes, then the name: the other way round, a power cut
        // leaves a blob of zeros.
        self.file.sync_all().map_err(file("sync", &self.temporary.path))?;
        self.temporary.publish(id)?;
        Ok(sums)
    }

    pub(crate) fn size(&self) -> u64 {
        self.summing.size()
    }
}

/// Whether bytes are those that were announced.
pub(crate) fn check(sums: &Sums, size: u64, id: &Digest) -> Result<(), StoreError> {
    if sums.size != size {
        return Err(StoreError::SizeMismatch { expected: size, actual: sums.size });
    }
    if sums.digest != *id {
        return Err(StoreError::DigestMismatch { expected: *id, actual: sums.digest });
    }
    Ok(())
}

/// A path in `tmp/`, freed when it is dropped.
pub(crate) struct Temporary {
    pub(crate) path: PathBuf,
    directory: Arc<Directory>,
    files: Handle<()>,
    published: bool,
}

impl Temporary {
    pub(crate) fn new(directory: &Arc<Directory>, files: &Handle<()>) -> Temporary {
        Temporary {
            path: directory.temporary(),
            directory: Arc::clone(directory),
            files: files.clone(),
            published: false,
        }
    }

    /// Gives the file its name as a blob, durably.
    pub(crate) fn publish(mut self, id: &Digest) -> Result<(), StoreError> {
        self.directory.publish(&self.path, id)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let path = std::mem::take(&mut self.path);
        // Not here: this may be the executor, and removing gigabytes takes
        // a while. If nobody takes the job, the next start does it.
        let _ = self.files.submit("remove a temporary file", move |()| {
            let _ = directory::remove(&path);
        });
    }
}
