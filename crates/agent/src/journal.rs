//! The journal: how far an install has come, durable.
//!
//! A watermark is written only after the bytes below it were synced, so
//! after a cut it never promises too much. It is still only a hint where to
//! go on: whether the slot holds the image is for the measurement at the
//! end to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::files::Files;
use crate::record::Record;
use crate::release::{Kept, Shelf};

/// The install under way and its progress.
pub(crate) struct Journal {
    install: Shelf,
    progress: Record,
    // Written by the thread that syncs a slot, read by the one that begins.
    marks: Mutex<Option<Progress>>,
    /// The install whose progress was found and not made by this run.
    resumed: Mutex<Option<Uuid>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Progress {
    install: Uuid,
    /// Bytes of each component that are written and synced.
    components: BTreeMap<String, u64>,
}

impl Journal {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path) -> Journal {
        Journal {
            install: Shelf::install(files.clone(), dir),
            progress: Record::new(files, dir, "progress"),
            marks: Mutex::new(None),
            resumed: Mutex::new(None),
        }
    }

    /// The install under way, if there is one. One that cannot be
    /// understood is none: it costs a download, not the device.
    pub(crate) fn current(&self) -> Result<Option<Kept>, Error> {
        match self.install.read() {
            Err(Error::Corrupt { .. }) => Ok(None),
            read => read,
        }
    }

    /// Begins an install. What an earlier one left behind counts for
    /// nothing: progress belongs to one install by its id.
    pub(crate) fn begin(&self, kept: &Kept) -> Result<(), Error> {
        self.install.write(kept)
    }

    /// Looks at what is durable and forgets what was remembered.
    pub(crate) fn reload(&self) {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where to go on with a component, in bytes.
    pub(crate) fn watermark(&self, install: Uuid, component: &str) -> Result<u64, Error> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.as_ref().is_none_or(|marks| marks.install != install) {
            let found = self.progress.read_or_forget()?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            *marks = found.filter(|found: &Progress| found.install == install);
            *self.resumed.lock().unwrap_or_else(PoisonError::into_inner) =
                marks.as_ref().map(|marks| marks.install);
        }
        Ok(marks.as_ref().and_then(|marks| marks.components.get(component)).copied().unwrap_or(0))
    }

    /// Whether anything of this install was written by an earlier run.
    pub(crate) fn resumed(&self, install: Uuid) -> bool {
        *self.resumed.lock().unwrap_or_else(PoisonError::into_inner) == Some(install)
    }

    /// Notes that a component is durable up to `bytes`.
    pub(crate) fn advance(&self, install: Uuid, component: &str, bytes: u64) -> Result<(), Error> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = match marks.take() {
            Some(marks) if marks.install == install => marks,
            _ => Progress { install, components: BTreeMap::new() },
        };
        next.components.insert(component.to_owned(), bytes);
        let bytes = serde_json::to_vec(&next)
            .map_err(|err| Error::Corrupt { what: "progress", why: err.to_string() })?;
        *marks = Some(next);
        self.progress.write(&bytes)
    }

    /// Forgets progress, so that every block is fetched again.
    pub(crate) fn rewind(&self) -> Result<(), Error> {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.resumed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.progress.clear()
    }

    /// Forgets the install. Progress goes first: without its install it
    /// means nothing, while an install without progress only starts over.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.rewind()?;
        self.install.clear()
    }
}
