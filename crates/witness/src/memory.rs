//! What a witness remembers: of each log the last checkpoint that it
//! cosigned, durably.
//!
//! A file for each log, named by SHA-256 of the origin, holds the checkpoint
//! with the log's signature and the witness's own. It is at once the state
//! that the next decision is made on and what the monitoring address
//! answers. Reading it back verifies the own cosignature: a file that was
//! damaged, or put there by somebody else, is an error and never a blank
//! memory.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_tlog::{Checkpoint, Note, Seen, VerifierKey};

use crate::error::{WitnessError, file};
use crate::files;

/// The last checkpoint of a log.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) seen: Seen,
    pub(crate) note: Note,
}

/// The memory. One process has it.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: PathBuf,
    logs: BTreeMap<String, Last>,
    /// Set when a write failed: nobody knows what the disk has.
    broken: bool,
    /// Goes with the process, even by a kill.
    _lock: File,
}

/// What a log's file is called, and its monitoring address: lower-case hex
/// of SHA-256 of the origin (tlog-witness, "get checkpoint").
pub(crate) fn name(origin: &str) -> String {
    RustCrypto.digest(origin.as_bytes()).to_string()
}

impl Memory {
    /// Opens the memory in a directory; makes the directory where it is
    /// missing.
    pub(crate) fn open(dir: &Path, key: &VerifierKey) -> Result<Memory, WitnessError> {
        fs::create_dir_all(dir).map_err(file("create", dir))?;
        let path = dir.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(file("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WitnessError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(file("lock", &path)(error)),
        }
        let mut logs = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(file("list", dir))? {
            let path = entry.map_err(file("list", dir))?.path();
            // What a crash left of a write that nobody was told of.
            if path.file_name().is_some_and(|name| name == "lock")
                || path.extension().is_some_and(|end| end == "new")
            {
                continue;
            }
            let bytes = fs::read(&path).map_err(file("read", &path))?;
            let (origin, last) =
                read(&bytes, key).map_err(|why| WitnessError::Memory { path: path.clone(), why })?;
            if path.file_name() != Some(name(&origin).as_ref()) {
                return Err(WitnessError::Memory { path, why: format!("it is about log {origin}") });
            }
            logs.insert(origin, last);
        }
        Ok(Memory { dir: dir.to_owned(), logs, broken: false, _lock: lock })
    }

    /// What was last seen of a log.
    pub(crate) fn last(&self, origin: &str) -> Option<&Last> {
        self.logs.get(origin)
    }

    /// Whether it may still be relied on.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Remembers. When it returns `Ok`, a power cut does not make it forget.
    pub(crate) fn remember(&mut self, origin: &str, last: Last) -> Result<(), WitnessError> {
        // The same tree again: what is on disk says as much.
        let known = self.logs.get(origin).is_some_and(|known| known.seen == last.seen);
        if !known {
            let written = files::replace(&self.dir.join(name(origin)), last.note.to_string().as_bytes());
            if let Err(error) = written {
                // After a failed sync the next one may succeed without what
                // this one was for. Only a new process, which reads what is
                // there, may go on.
                self.broken = true;
                return Err(error);
            }
        }
        self.logs.insert(origin.to_owned(), last);
        Ok(())
    }
}

fn read(bytes: &[u8], key: &VerifierKey) -> Result<(String, Last), String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    note.verify(std::slice::from_ref(key)).map_err(|error| error.to_string())?;
    let Checkpoint { origin, size, root, .. } =
        Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
    Ok((origin, Last { seen: Seen { size, root }, note }))
}
