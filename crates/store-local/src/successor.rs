//! Successors: processes that wait for a store that another one has.
//!
//! Both locks are the system's and go with their process, however it ends: a
//! store is free the moment that its process is gone, and nobody is taken for
//! a successor who is not there any more.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use firmseal_store::{Continuity, StoreError};

use crate::LocalStore;
use crate::directory::{self, Directory, SUCCESSOR, open_lock};
use crate::error::file;
use crate::schema;

/// A process that waits for a store. The one that has it knows that somebody
/// does.
#[derive(Debug)]
pub struct Successor {
    root: PathBuf,
    lock: Identity,
    /// Shared with others who wait; whoever has the store looks whether
    /// anybody holds it.
    _mark: File,
}

/// Which file it is, whatever its name is by now.
#[derive(PartialEq, Eq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> Result<Identity, StoreError> {
        match path.metadata() {
            Ok(metadata) => Ok(Identity { device: metadata.dev(), inode: metadata.ino() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::not_found(format!("store whose lock is {}", path.display())))
            }
            Err(error) => Err(file("look at", path)(error)),
        }
    }
}

impl Successor {
    /// Waits for the store at `root`, which exists. One that a newer program
    /// wrote is an error now, and not when it is needed.
    pub fn of(root: &Path) -> Result<Successor, StoreError> {
        let lock = Identity::of(&directory::lock_of(root))?;
        schema::check_version(&root.join(directory::DATABASE))?;
        let path = root.join(SUCCESSOR);
        let mark = open_lock(&path)?;
        // Whoever has the store holds it for the moment of a look.
        mark.lock_shared().map_err(file("lock", &path))?;
        Ok(Successor { root: root.to_owned(), lock, _mark: mark })
    }

    /// Opens the store if no process has it; `None` while one does. Blocks as
    /// [`LocalStore::open`] does.
    ///
    /// It has to be the store that was waited for. Where somebody moved it, or
    /// put another in its place, an empty one would be made, or there would be
    /// two.
    pub fn take_over(&self) -> Result<Option<LocalStore>, StoreError> {
        if Identity::of(&directory::lock_of(&self.root))? != self.lock {
            let root = self.root.display();
            return Err(StoreError::conflict(format!(
                "{root} is another store than when the wait for it began; stop both servers before one is moved"
            )));
        }
        match LocalStore::open(&self.root) {
            Ok(store) => Ok(Some(store)),
            // Busy is what a database is that somebody looks at from outside.
            Err(StoreError::InUse { .. } | StoreError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn has_successor(directory: &Directory) -> Result<bool, StoreError> {
    let path = directory.successor();
    match open_lock(&path)?.try_lock() {
        // Nobody held it; now it is closed and free again.
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(file("lock", &path)(error)),
    }
}

#[async_trait]
impl Continuity for LocalStore {
    async fn answers(&self) -> Result<(), StoreError> {
        self.write_whole("see whether writes get through", |_| Ok(())).await?;
        self.inner.readers.handle().run_next("see whether reads get through", |_| Ok(())).await?;
        // Nothing stands there, which its thread says. Threads that work on
        // files are not asked: each may have a large one for long.
        self.intents().read(u64::MAX, 1).await.map(drop)
    }

    async fn has_successor(&self) -> Result<bool, StoreError> {
        let directory = self.inner.directory.clone();
        self.inner.files.handle().run("look for a successor", move |()| has_successor(&directory)).await
    }
}
