//! Boot control: which slot runs, which one is on trial, and who decides.
//!
//! The agent starts and ends trials; only the boot stage counts tries
//! ([`FileBootControl::begin_try`] is its own, not the trait's). So an agent
//! that never comes up again cannot keep a bad image alive.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::Files;
use crate::record::Record;

/// One of the two slots that every component has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first, index 0.
    A,
    /// The second, index 1.
    B,
}

impl Slot {
    /// The other slot.
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// The index that manifests use.
    pub const fn index(self) -> usize {
        match self {
            Slot::A => 0,
            Slot::B => 1,
        }
    }

    /// The name in reports and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An image that has to prove itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Its slot.
    pub slot: Slot,
    /// Boots it has left.
    pub tries: u8,
    /// The boot stage has run it. Only the boot stage says so: that the
    /// slot runs proves nothing, an install may have written it since.
    #[serde(default)]
    pub booted: bool,
}

/// A trial that ended badly and was not yet taken notice of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Its slot.
    pub slot: Slot,
    /// The number of the boot stage's refusal; absent where tries ran out
    /// or the image was not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// How the slots stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootState {
    /// The slot that runs.
    pub active: Slot,
    /// The slot with the confirmed image; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Slot>,
    /// The trial that is pending or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The trial that failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// No slot could boot when the boot stage last looked: what the recovery
    /// role signed may come in. Ends with the next boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stranded: bool,
}

impl BootState {
    /// The slot an install goes to: never the confirmed one.
    ///
    /// It may be the one that runs: a trial that was given up runs on until
    /// the reboot. No install begins then ([`Self::needs_reboot`]).
    pub fn inactive(&self) -> Slot {
        self.confirmed.unwrap_or(self.active).other()
    }

    /// Whether only a reboot frees the slot that an install goes to.
    pub fn needs_reboot(&self) -> bool {
        // Where nothing boots, nothing runs either.
        self.inactive() == self.active && !self.stranded
    }

    /// Whether the running image is on trial.
    pub fn on_trial(&self) -> bool {
        self.trial.is_some_and(|trial| trial.slot == self.active && trial.booted)
    }
}

/// What the agent asks of a boot chain. Each call is durable when it
/// returns, and may be repeated.
pub trait BootControl: Send + Sync {
    /// How the slots stand.
    fn active(&self) -> Result<BootState, Error>;
    /// Boots `slot` next, at most `tries` times, unless it is confirmed.
    fn set_trial(&self, slot: Slot, tries: u8) -> Result<(), Error>;
    /// Makes the running image the confirmed one. Without a trial there is
    /// nothing to confirm, which is an error unless it was done before.
    fn confirm(&self) -> Result<(), Error>;
    /// Ends the trial: the confirmed image boots next.
    fn abandon(&self) -> Result<(), Error>;
    /// Forgets a failed trial that was taken notice of.
    fn acknowledge(&self) -> Result<(), Error>;
}

/// Boot control in two redundant files, for the boot stage of this crate.
#[derive(Clone)]
pub struct FileBootControl {
    record: Record,
}

const FRESH: BootState =
    BootState { active: Slot::A, confirmed: None, trial: None, failed: None, stranded: false };

impl FileBootControl {
    /// The record `boot` in `dir`.
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> FileBootControl {
        FileBootControl { record: Record::new(files, dir, "boot") }
    }

    /// Takes one try of the pending trial, before the image is looked at:
    /// a crash while it boots has cost a try. `None` where there is no
    /// trial, or it has none left and ends here.
    pub(crate) fn begin_try(&self) -> Result<Option<Slot>, Error> {
        let mut state = self.active()?;
        let Some(trial) = &mut state.trial else { return Ok(None) };
        let slot = trial.slot;
        if trial.tries == 0 {
            self.trial_failed(None)?;
            return Ok(None);
        }
        trial.tries -= 1;
        self.write(&state)?;
        Ok(Some(slot))
    }

    /// The image on trial was refused, or has no tries left.
    pub(crate) fn trial_failed(&self, code: Option<u16>) -> Result<(), Error> {
        let mut state = self.active()?;
        if let Some(trial) = state.trial.take() {
            state.failed = Some(Failed { slot: trial.slot, code });
            self.write(&state)?;
        }
        Ok(())
    }

    /// Notes which slot runs from now on, and that its trial, if it is on
    /// one, has begun.
    pub(crate) fn booted(&self, slot: Slot) -> Result<(), Error> {
        let before = self.active()?;
        let trial = before.trial.map(|trial| Trial { booted: trial.booted || trial.slot == slot, ..trial });
        let after = BootState { active: slot, trial, stranded: false, ..before };
        if after == before { Ok(()) } else { self.write(&after) }
    }

    /// Notes that no slot may boot.
    pub(crate) fn strand(&self) -> Result<(), Error> {
        let state = self.active()?;
        if state.stranded { Ok(()) } else { self.write(&BootState { stranded: true, ..state }) }
    }

    fn write(&self, state: &BootState) -> Result<(), Error> {
        let bytes = serde_json::to_vec(state)
            .map_err(|err| Error::Corrupt { what: "boot state", why: err.to_string() })?;
        self.record.write(&bytes)
    }
}

impl BootControl for FileBootControl {
    fn active(&self) -> Result<BootState, Error> {
        match self.record.read_or_forget()? {
            None => Ok(FRESH),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|err| Error::Corrupt { what: "boot state", why: err.to_string() }),
        }
    }

    fn set_trial(&self, slot: Slot, tries: u8) -> Result<(), Error> {
        let state = self.active()?;
        self.write(&BootState { trial: Some(Trial { slot, tries, booted: false }), failed: None, ..state })
    }

    fn confirm(&self) -> Result<(), Error> {
        let state = self.active()?;
        if state.on_trial() {
            return self.write(&BootState {
                confirmed: Some(state.active),
                trial: None,
                failed: None,
                ..state
            });
        }
        if state.trial.is_none() && state.confirmed == Some(state.active) {
            return Ok(());
        }
        Err(Error::NoTrial)
    }

    fn abandon(&self) -> Result<(), Error> {
        match self.active()?.trial {
            Some(_) => self.trial_failed(None),
            None => Err(Error::NoTrial),
        }
    }

    fn acknowledge(&self) -> Result<(), Error> {
        let state = self.active()?;
        if state.failed.is_none() {
            return Ok(());
        }
        self.write(&BootState { failed: None, ..state })
    }
}
