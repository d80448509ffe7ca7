//! Successors: processes that wait for a store that another one has.
//!
//! Both locks are the system's and go with their process, however it ends: a
//! store is free the moment that its process is gone, and nobody is taken for
//! a successor who is not there any more.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use firmseal_store::{Continuity, StoreError};

use crate::LocalStore;
use crate::directory::{Directory, SUCCESSOR, open_lock};
use crate::error::file;

/// A process that waits for a store. The one that has it knows that somebody
/// does.
#[derive(Debug)]
pub struct Successor {
    root: PathBuf,
    /// Shared with others who wait; whoever has the store looks whether
    /// anybody holds it.
    _mark: File,
}

impl Successor {
    /// Waits for the store at `root`, which exists.
    pub fn of(root: &Path) -> Result<Successor, StoreError> {
        let path = root.join(SUCCESSOR);
        let mark = open_lock(&path)?;
        // Whoever has the store holds it for the moment of a look.
        mark.lock_shared().map_err(file("lock", &path))?;
        Ok(Successor { root: root.to_owned(), _mark: mark })
    }

    /// Opens the store if no process has it; `None` while one does. Blocks as
    /// [`LocalStore::open`] does.
    pub fn take_over(&self) -> Result<Option<LocalStore>, StoreError> {
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
        self.inner.files.handle().run_next("see whether files are worked on", |()| Ok(())).await
    }

    async fn has_successor(&self) -> Result<bool, StoreError> {
        let directory = self.inner.directory.clone();
        self.inner.files.handle().run("look for a successor", move |()| has_successor(&directory)).await
    }
}
