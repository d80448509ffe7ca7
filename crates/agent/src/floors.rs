//! Floors: sequence numbers, security epoch and delegation index that only
//! go up, and only when an image is confirmed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::files::Files;
use crate::record::Record;

/// Where a device stands.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Floors {
    /// Sequence number of the confirmed image, per component.
    pub sequence: BTreeMap<String, u64>,
    /// The security epoch counter.
    pub epoch: u64,
    /// The highest delegation index committed.
    pub delegation: u64,
    /// The last time that a root document lowered the sequence numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}

/// A root document has lowered the sequence numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reset {
    /// Version of the root document; it does so once.
    pub root: u64,
    /// The install that was confirmed then. Its number is what had to go
    /// back, and raises nothing any more.
    pub spared: Option<Uuid>,
}

/// Monotonic counters. A value below the present one changes nothing; only
/// a root document lowers sequence numbers, and nothing lowers the others.
/// Each change is durable when it returns.
pub trait Counters: Send + Sync {
    /// Where they stand.
    fn floors(&self) -> Result<Floors, Error>;
    /// Raises the sequence number of components.
    fn advance_sequence(&self, components: &[&str], to: u64) -> Result<(), Error>;
    /// Raises the security epoch.
    fn advance_epoch(&self, to: u64) -> Result<(), Error>;
    /// Raises the delegation index.
    fn advance_delegation(&self, to: u64) -> Result<(), Error>;
    /// Lowers the sequence numbers to `to`, where they are higher, and notes
    /// `reset` in the same step: a cut must not leave a reset that comes
    /// twice. One by the same or an earlier root document changes nothing.
    fn reset_sequence(&self, to: u64, reset: Reset) -> Result<(), Error>;
}

/// Counters in two redundant files. Whoever can write the state directory
/// can lower them: a product keeps them in a TPM's NV counters, in RPMB or
/// in fuses, behind the same trait.
#[derive(Clone)]
pub struct FileCounters {
    record: Record,
}

impl FileCounters {
    /// The record `floors` in `dir`.
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> FileCounters {
        FileCounters { record: Record::new(files, dir, "floors") }
    }

    fn change(&self, change: impl FnOnce(&mut Floors)) -> Result<(), Error> {
        let before = self.floors()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&after)
            .map_err(|err| Error::Corrupt { what: "floors", why: err.to_string() })?;
        self.record.write_twice(&bytes)
    }
}

impl Counters for FileCounters {
    fn floors(&self) -> Result<Floors, Error> {
        match self.record.read()? {
            None => Ok(Floors::default()),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|err| Error::Corrupt { what: "floors", why: err.to_string() }),
        }
    }

    fn advance_sequence(&self, components: &[&str], to: u64) -> Result<(), Error> {
        self.change(|floors| {
            for component in components {
                let floor = floors.sequence.entry((*component).to_owned()).or_default();
                *floor = to.max(*floor);
            }
        })
    }

    fn reset_sequence(&self, to: u64, reset: Reset) -> Result<(), Error> {
        self.change(|floors| {
            if floors.reset.as_ref().is_none_or(|before| before.root < reset.root) {
                floors.sequence.values_mut().for_each(|floor| *floor = to.min(*floor));
                floors.reset = Some(reset);
            }
        })
    }

    fn advance_epoch(&self, to: u64) -> Result<(), Error> {
        self.change(|floors| floors.epoch = floors.epoch.max(to))
    }

    fn advance_delegation(&self, to: u64) -> Result<(), Error> {
        self.change(|floors| floors.delegation = floors.delegation.max(to))
    }
}
