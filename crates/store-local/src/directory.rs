//! The directory: what lies where, one process at a time, and how a file
//! comes to be there for good.
//!
//! ```text
//! lock               held while a process has the store; says which
//! successor          held while a process waits for it
//! store.db           the database
//! intents.log        the intent log; beside it intents.key, and
//! intents.tiles/     what is published of it
//! blobs/ab/cdef...   blobs, by digest
//! uploads/upl-...    uploads under way
//! tmp/               files that are not yet anything
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_manifest::{Digest, UploadId};
use firmseal_store::StoreError;

use crate::error::file;

/// The database, relative to the directory.
pub(crate) const DATABASE: &str = "store.db";
/// The intent log, likewise.
pub(crate) const INTENTS: &str = "intents.log";
/// What a process that waits for the store holds, likewise.
pub(crate) const SUCCESSOR: &str = "successor";

/// An open store directory. Whoever has it is the only process that does.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    temporary: AtomicU64,
    /// The lock goes when the file is closed, even by a kill: it cannot be
    /// left behind. That is why it is a lock and not a file that exists.
    _lock: File,
}

impl Directory {
    /// Creates the directory where it is missing, takes its lock, and
    /// throws away what earlier processes left unfinished.
    pub(crate) fn open(root: &Path) -> Result<Directory, StoreError> {
        create_dir(root)?;
        let lock = lock(&lock_of(root))?;
        let blobs = root.join("blobs");
        for dir in [&blobs, &root.join("uploads"), &root.join("tmp")] {
            create_dir(dir)?;
        }
        // All 256 at once: later no rename has to think about directories.
        for prefix in 0..=255u8 {
            create_dir(&blobs.join(format!("{prefix:02x}")))?;
        }
        sync_dir(&blobs)?;
        sync_dir(root)?;
        if let Some(parent) = root.canonicalize().ok().as_deref().and_then(Path::parent) {
            sync_dir(parent)?;
        }
        let directory = Directory { root: root.to_owned(), temporary: AtomicU64::new(0), _lock: lock };
        for left in list(&directory.root.join("tmp"))? {
            remove(&left)?;
        }
        Ok(directory)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    pub(crate) fn intents(&self) -> PathBuf {
        self.root.join(INTENTS)
    }

    pub(crate) fn successor(&self) -> PathBuf {
        self.root.join(SUCCESSOR)
    }

    pub(crate) fn upload(&self, id: UploadId) -> PathBuf {
        self.root.join("uploads").join(id.to_string())
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// Where a blob lies. The full digest is the name: nothing that a
    /// client wrote becomes part of a path.
    pub(crate) fn blob(&self, id: &Digest) -> PathBuf {
        let hex = id.to_string();
        let (prefix, rest) = hex.split_at(2);
        self.root.join("blobs").join(prefix).join(rest)
    }

    /// The blob files that exist, and the digest that each name stands for;
    /// `None` for a name that is no digest.
    pub(crate) fn blobs(&self) -> Result<Vec<(PathBuf, Option<Digest>)>, StoreError> {
        let mut found = Vec::new();
        for dir in list(&self.root.join("blobs"))? {
            for path in list(&dir)? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let hex = name(&dir).zip(name(&path)).map(|(prefix, rest)| prefix + &rest);
                let digest = hex.and_then(|hex| firmseal_manifest::ids::parse_digest(&hex));
                found.push((path, digest));
            }
        }
        Ok(found)
    }

    /// A path of its own for a file that is not yet anything. Only this
    /// process makes files here, and the counter never repeats.
    pub(crate) fn temporary(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(number.to_string())
    }

    /// Gives a finished, synced file its name as a blob, durably.
    ///
    /// The rename replaces whatever has the name: it can only be the same
    /// bytes, or damage.
    pub(crate) fn publish(&self, temporary: &Path, id: &Digest) -> Result<(), StoreError> {
        let path = self.blob(id);
        fs::rename(temporary, &path).map_err(file("name", &path))?;
        // Where both names are already one file, rename does nothing and the
        // temporary name stays (POSIX rename).
        remove(temporary)?;
        // Without this the file is durable but its name is not.
        path.parent().map_or(Ok(()), sync_dir)
    }
}

/// Creates a file that must not exist yet, for this user only.
pub(crate) fn create(path: &Path) -> Result<File, StoreError> {
    File::options()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(file("create", path))
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The files in a directory.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(file("list", dir))?;
    entries.map(|entry| Ok(entry.map_err(file("list", dir))?.path())).collect()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file("sync", dir))
}

fn create_dir(path: &Path) -> Result<(), StoreError> {
    // 0700: what lies here is nobody else's business.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("create", path))
}

/// What a process holds that has the store at `root`.
pub(crate) fn lock_of(root: &Path) -> PathBuf {
    root.join("lock")
}

/// Opens a file that is there to be locked.
pub(crate) fn open_lock(path: &Path) -> Result<File, StoreError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(file("open", path))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = file("lock", path);
    let mut lock = open_lock(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Whoever has it wrote its number; between taking the lock and
            // writing there is a moment in which it is not there yet.
            let mut text = String::new();
            let holder =
                match lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
                    Some(pid) => format!("process {pid}"),
                    None => "another process".to_owned(),
                };
            let path = path.parent().unwrap_or(path).display().to_string();
            return Err(StoreError::InUse { path, holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    lock.set_len(0).map_err(&failed)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(&failed)?;
    Ok(lock)
}
