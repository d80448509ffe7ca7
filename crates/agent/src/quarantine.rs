//! Quarantine: what was refused, kept for analysis and never for use.
//!
//! A case is the envelope and the first bad block, with a note of why.
//! Nothing reads a case back: it leaves the device by hand. Number and size
//! of cases are bounded, and no name comes from what was refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_core::limits::ENVELOPE_MAX;
use serde::Serialize;

use crate::error::{Error, Refused};
use crate::files::{Access, Files};
use crate::record::Record;
use crate::release::Origin;

/// Longest bad block that is kept, in bytes: the largest block there is.
const BLOCK_MAX: usize = 4096;

/// The cases.
pub(crate) struct Quarantine {
    files: Arc<dyn Files>,
    dir: PathBuf,
    next: Record,
    cases: u8,
}

#[derive(Serialize)]
struct Note<'a> {
    code: u16,
    reason: String,
    at: Option<u64>,
    envelope_bytes: usize,
    block_bytes: usize,
    #[serde(flatten)]
    origin: &'a Origin,
}

impl Quarantine {
    pub(crate) fn new(files: Arc<dyn Files>, state: &Path, cases: u8) -> Quarantine {
        let next = Record::new(files.clone(), state, "quarantine");
        Quarantine { files, dir: state.join("quarantine"), next, cases }
    }

    /// Keeps a case in place of the oldest.
    pub(crate) fn isolate(
        &self,
        envelope: &[u8],
        refused: &Refused,
        origin: &Origin,
        at: Option<u64>,
    ) -> Result<(), Error> {
        let number =
            self.next.read_or_forget()?.and_then(|bytes| bytes.first().copied()).unwrap_or(0) % self.cases;
        let envelope = &envelope[..envelope.len().min(ENVELOPE_MAX)];
        let block = refused.evidence.as_deref().unwrap_or_default();
        let block = &block[..block.len().min(BLOCK_MAX)];
        let note = Note {
            code: refused.reason.code(),
            reason: refused.reason.to_string(),
            at,
            envelope_bytes: envelope.len(),
            block_bytes: block.len(),
            origin,
        };
        let note = serde_json::to_vec_pretty(&note)
            .map_err(|err| Error::Corrupt { what: "a quarantine note", why: err.to_string() })?;
        self.files.create_dir(&self.dir).map_err(|err| Error::storage(&self.dir, err))?;
        // The note is last: a case without one was cut short.
        for (name, bytes) in [("envelope", envelope), ("block", block), ("json", note.as_slice())] {
            let path = self.dir.join(format!("case-{number}.{name}"));
            self.put(&path, bytes).map_err(|err| Error::storage(&path, err))?;
        }
        self.files.sync_dir(&self.dir).map_err(|err| Error::storage(&self.dir, err))?;
        self.next.write(&[number.wrapping_add(1)])
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.open(path, Access::Replace)?;
        file.write_at(bytes, 0)?;
        file.sync()
    }
}
