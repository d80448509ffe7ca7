//! The state of a device: everything durable, behind one door.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use firmseal_api::updates::Phase;
use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use tracing::warn;
use uuid::Uuid;

use crate::boot_control::{BootControl, BootState, FileBootControl, Slot};
use crate::boot_stage::{BootOutcome, BootStage};
use crate::clock::Clock;
use crate::config::{Config, OnRefusal};
use crate::deps::Deps;
use crate::device::Profile;
use crate::error::{Error, Refused};
use crate::fetch::Counts;
use crate::files::Files;
use crate::floors::{Counters, FileCounters};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::presence;
use crate::quarantine::Quarantine;
use crate::release::{Origin, Shelf};
use crate::reports::{Event, Reports};

pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) control: Arc<dyn BootControl>,
    /// The same, where the boot stage of this crate is the one that boots.
    stage: FileBootControl,
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) reports: Reports,
    quarantine: Quarantine,
    /// The trust document of each kind that was refused last.
    pub(crate) refused: Mutex<BTreeMap<&'static str, Uuid>>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
}

impl State {
    pub(crate) fn new(config: Config, anchor: Vec<u8>, deps: &Deps) -> Result<State, Error> {
        let dir = config.state.clone();
        let files = deps.files.clone();
        let stage = FileBootControl::new(files.clone(), &dir);
        let server = config.server.is_some() || Identity::new(files.clone(), &dir).server()?.is_some();
        let counters = || Arc::new(FileCounters::new(files.clone(), &dir)) as Arc<dyn Counters>;
        Ok(State {
            control: deps.control.clone().unwrap_or_else(|| Arc::new(stage.clone())),
            stage,
            counters: deps.counters.clone().unwrap_or_else(counters),
            journal: Arc::new(Journal::new(files.clone(), &dir)),
            reports: Reports::new(files.clone(), &dir, server.then_some(config.reports_max)),
            refused: Mutex::default(),
            quarantine: Quarantine::new(files.clone(), &dir, config.quarantine.cases),
            profile: Profile::new(anchor, config, deps)?,
            files,
            clock: deps.clock.clone(),
            dir,
        })
    }

    pub(crate) fn now(&self) -> Option<u64> {
        self.clock.now()
    }

    /// Whether what the recovery role signed may come in: nothing boots, or
    /// somebody stands in front of the device and says so.
    pub(crate) fn stranded(&self, boot: &BootState) -> bool {
        let presence = &self.profile.config.presence;
        boot.stranded || presence.as_deref().is_some_and(|path| presence::is_shown(&*self.files, path))
    }

    /// The release that was installed into a slot last.
    pub(crate) fn shelf(&self, slot: Slot) -> Shelf {
        Shelf::slot(self.files.clone(), &self.dir, slot)
    }

    /// Runs the boot stage.
    pub(crate) fn boot_stage(&self) -> Result<BootOutcome, Error> {
        BootStage {
            profile: &self.profile,
            files: &*self.files,
            control: &self.stage,
            counters: &*self.counters,
            release: &|slot| self.shelf(slot).read(),
        }
        .run()
    }

    /// Reports a refusal and, where the policy says so, isolates its cause.
    pub(crate) fn note_refusal(
        &self,
        envelope: &[u8],
        refused: &Refused,
        origin: &Origin,
    ) -> Result<(), Error> {
        let code = refused.reason.code();
        warn!(code, "refused: {}", refused.reason);
        let phase = match self.profile.config.on_refusal {
            OnRefusal::Reject => Phase::Refused,
            OnRefusal::Isolate => match self.quarantine.isolate(envelope, refused, origin, self.now()) {
                Ok(()) => Phase::Isolated,
                // The refusal is what the server must hear of, whether or
                // not there was room for its cause.
                Err(err) => {
                    warn!("the quarantine did not take it: {err}");
                    Phase::Refused
                }
            },
        };
        self.reports.keep(Event {
            id: refusal_id(RustCrypto.digest(envelope), code, origin),
            origin,
            phase,
            code: Some(code),
            message: Some(refused.reason.to_string()),
            counts: Counts::default(),
            at: self.now(),
        })
    }

    /// Reports that trouble interrupted an install, once per install and
    /// kind of trouble.
    pub(crate) fn note_interruption(&self, err: &Error) -> Result<(), Error> {
        warn!("interrupted: {err}");
        let Some(code) = err.trouble() else { return Ok(()) };
        let Some(kept) = self.journal.current()? else { return Ok(()) };
        match self.reports.keep(Event::trouble(&kept.head, code, err.to_string(), self.now())) {
            // A full disk has no room for the report of it either.
            Err(Error::DiskFull(_)) => Ok(()),
            result => result,
        }
    }
}

/// The same refusal of the same offer is the same report.
fn refusal_id(envelope: Digest, code: u16, origin: &Origin) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x7a3e_0b52_6d0c_4a1e_9c57_51d1_8f6a_20c4);
    let (rollout, request) = (origin.rollout, origin.request);
    Uuid::new_v5(&NAMESPACE, format!("{envelope} {code} {rollout:?} {request:?}").as_bytes())
}
