//! Chains of root documents: what followed an anchor, one record for each
//! version.
//!
//! A version that is written replaces nothing, so a cut leaves the chain as
//! it was or one document longer. At every start it is verified again from
//! the anchor on: what has rotted, or was put there by somebody, ends it,
//! loudly, and the device stands where the last good document put it. The
//! server or the next bundle brings it forward again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_core::Root;
use firmseal_core::crypto::RustCrypto;
use tracing::error;

use crate::error::Error;
use crate::files::Files;
use crate::record::Record;

/// Where the documents of one lineage are kept, behind its anchor.
pub(crate) struct Chain {
    files: Arc<dyn Files>,
    dir: PathBuf,
    name: &'static str,
}

/// How far a chain leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Walked {
    /// The newest document.
    pub(crate) newest: Vec<u8>,
    /// What is kept goes further and cannot be used.
    pub(crate) broken: bool,
}

impl Chain {
    /// The records `name-2`, `name-3` and so on in `dir`.
    pub(crate) fn new(files: &Arc<dyn Files>, dir: &Path, name: &'static str) -> Chain {
        Chain { files: files.clone(), dir: dir.to_owned(), name }
    }

    /// Walks from the anchor over what is kept. Nothing that is found ends
    /// in an error: a device with a bad medium still has to boot.
    pub(crate) fn walk(&self, anchor: Vec<u8>) -> Result<Walked, Error> {
        let mut walked = Walked { newest: anchor, broken: false };
        loop {
            let held = Root::decode(&walked.newest).map_err(Error::Anchor)?;
            let Some(version) = held.version().checked_add(1) else { return Ok(walked) };
            let why = match self.record(version).read() {
                Ok(None) => return Ok(walked),
                Ok(Some(document)) => match held.successor(&document, &RustCrypto) {
                    Ok(_) => {
                        walked.newest = document;
                        continue;
                    }
                    Err(refusal) => refusal.to_string(),
                },
                Err(err) => err.to_string(),
            };
            let name = self.name;
            error!(version, "{name}: the kept root document cannot be used, the one before it holds: {why}");
            return Ok(Walked { broken: true, ..walked });
        }
    }

    /// Keeps the document of a version, in both copies: one that rots must
    /// not bring an earlier root document back. Durable when it returns.
    pub(crate) fn keep(&self, version: u64, document: &[u8]) -> Result<(), Error> {
        self.record(version).write_twice(document)
    }

    fn record(&self, version: u64) -> Record {
        Record::new(self.files.clone(), &self.dir, &format!("{}-{version}", self.name))
    }
}
