//! The boot stage: which slot runs, decided anew at every boot.
//!
//! In a product a bootloader does this, with the same calls into core; here
//! it is a reference for slots that are files. It counts tries before it
//! looks at an image, asks [`firmseal_core::boot`] for every image it would
//! run, and falls back to the other slot. It never touches what is
//! confirmed: a power cut in here costs a try, never the device.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Image, Refusal, consider};
use tracing::error;

use crate::boot_control::{BootControl, FileBootControl, Slot};
use crate::device::{Profile, Stand};
use crate::error::{Error, Reason};
use crate::files::Files;
use crate::floors::{Counters, Floors};
use crate::measure::measure;
use crate::release::Kept;

/// What the boot stage decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootOutcome {
    /// The slot that runs.
    pub slot: Slot,
    /// It is on trial.
    pub trial: bool,
    /// Digest of its manifest, in hexadecimal.
    pub manifest: String,
    /// Its version, for people.
    pub version: String,
    /// Slots that were refused before, and why.
    pub refused: Vec<(Slot, String)>,
}

/// What the boot stage works with.
pub(crate) struct BootStage<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) files: &'a dyn Files,
    pub(crate) control: &'a FileBootControl,
    pub(crate) counters: &'a dyn Counters,
    /// The release that was installed into a slot.
    pub(crate) release: &'a dyn Fn(Slot) -> Result<Option<Kept>, Error>,
}

impl BootStage<'_> {
    /// Decides what runs.
    pub(crate) fn run(&self) -> Result<BootOutcome, Error> {
        let floors = self.counters.floors()?;
        let mut refused = Vec::new();
        if let Some(slot) = self.control.begin_try()? {
            match self.judge(slot, Image::Trial, &floors) {
                Ok(outcome) => return self.boot(BootOutcome { trial: true, ..outcome }, refused),
                Err(why) => {
                    self.control.trial_failed(why.code())?;
                    refused.push((slot, why.to_string()));
                }
            }
        }
        let state = self.control.active()?;
        // Without a confirmed image, or if it has rotted away, the other
        // slot may run if core lets it: the floors see to it that it is no
        // older image than the confirmed one.
        let first = state.confirmed.unwrap_or(Slot::A);
        for slot in [first, first.other()] {
            if refused.iter().any(|(tried, _)| *tried == slot)
                || (state.confirmed != Some(slot) && state.failed.is_some_and(|failed| failed.slot == slot))
            {
                continue;
            }
            let image = if state.confirmed == Some(slot) { Image::Confirmed } else { Image::Trial };
            match self.judge(slot, image, &floors) {
                Ok(outcome) => return self.boot(outcome, refused),
                Err(why) => refused.push((slot, why.to_string())),
            }
        }
        // From here on a recovery image may come in, until something boots.
        self.control.strand()?;
        error!("no slot may boot: this device is stranded, and takes a recovery image");
        let all: Vec<String> = refused.iter().map(|(slot, why)| format!("slot {slot}: {why}")).collect();
        Err(Error::NothingBootable(all.join("; ")))
    }

    fn boot(&self, outcome: BootOutcome, refused: Vec<(Slot, String)>) -> Result<BootOutcome, Error> {
        self.control.booted(outcome.slot)?;
        Ok(BootOutcome { refused, ..outcome })
    }

    /// Asks core whether a slot may boot. A slot or record that cannot be
    /// read is a reason against this slot and not the end: the other one may
    /// be well.
    fn judge(&self, slot: Slot, image: Image, floors: &Floors) -> Result<BootOutcome, Why> {
        self.try_judge(slot, image, floors).unwrap_or_else(|err| Err(Why::Unreadable(err)))
    }

    fn try_judge(
        &self,
        slot: Slot,
        image: Image,
        floors: &Floors,
    ) -> Result<Result<BootOutcome, Why>, Error> {
        let Some(kept) = (self.release)(slot)? else { return Ok(Err(Why::Empty)) };
        let under = (image == Image::Confirmed).then(|| kept.under());
        // A recovery image boots as one. That it was admitted as such is its
        // record's word; that the recovery role signed it core sees anew.
        let stand = Stand { floors, slot, under, stranded: kept.head.recovery, takes: kept.head.takes() };
        self.profile.with_device(stand, |device| {
            let decide = || -> Result<Result<BootOutcome, Refusal>, Error> {
                // Sizes are taken from a manifest whose signatures hold, and
                // no more is hashed than a slot has: work is bounded before
                // it begins.
                let candidate = match consider(&kept.envelope, device, image, &RustCrypto) {
                    Ok(candidate) => candidate,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let mut measured = Vec::new();
                for (index, (_, facts, place)) in candidate.components().enumerate() {
                    let Some(own) = self.profile.config.components.get(place) else {
                        return Ok(Err(Refusal::UnknownComponent(index as u8)));
                    };
                    let size = facts.tree.size().min(own.capacity);
                    measured.push(measure(self.files, own.slot(slot), size)?);
                }
                Ok(candidate.boot(&measured, device).map(|bootable| BootOutcome {
                    slot,
                    trial: false,
                    manifest: bootable.manifest_digest().to_string(),
                    version: bootable.facts().version.to_owned(),
                    refused: Vec::new(),
                }))
            };
            decide().map(|verdict| verdict.map_err(|refusal| Why::Refused(Reason::Core(refusal))))
        })?
    }
}

/// Why a slot does not run.
enum Why {
    Empty,
    Unreadable(Error),
    Refused(Reason),
}

impl Why {
    fn code(&self) -> Option<u16> {
        match self {
            Why::Empty => None,
            Why::Unreadable(err) => err.trouble(),
            Why::Refused(reason) => Some(reason.code()),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Empty => f.write_str("nothing was installed into it"),
            Why::Unreadable(err) => write!(f, "it cannot be read: {err}"),
            Why::Refused(reason) => write!(f, "{reason} (code {})", reason.code()),
        }
    }
}
