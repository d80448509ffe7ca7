//! Trials: what happens between activation and confirmation.
//!
//! [`State::tidy`] finishes whatever a cut left half done; it runs at every
//! start and before every install, and doing it twice changes nothing.

use firmseal_api::updates::Phase;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Image, consider};
use tracing::{info, warn};

use crate::boot_control::Slot;
use crate::device::Stand;
use crate::error::Error;
use crate::release::Kept;
use crate::reports::Event;
use crate::state::State;

/// Where a trial stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// There is none.
    None,
    /// It waits for the next boot.
    Pending,
    /// The running image is on trial.
    Running(Slot),
}

impl State {
    /// Where the trial stands, after what was left half done is finished.
    pub(crate) fn standing(&self) -> Result<Standing, Error> {
        self.tidy()?;
        let boot = self.control.active()?;
        let Some(trial) = boot.trial else { return Ok(Standing::None) };
        if !boot.on_trial() {
            return Ok(Standing::Pending);
        }
        if let Some(kept) = self.shelf(trial.slot).read()? {
            self.reports.keep(Event::of(&kept.head, Phase::Trial, self.now()))?;
        }
        Ok(Standing::Running(trial.slot))
    }

    /// Confirms the image on trial, then raises the floors.
    ///
    /// Boot control comes first. The other way round, a cut in between and
    /// a trial that then runs out of tries would fall back to an image
    /// below the floors, which may not boot: a brick. This way a cut leaves
    /// a confirmed image above the floors, which boots, and [`Self::tidy`]
    /// raises them before anything else is admitted.
    pub(crate) fn confirm(&self) -> Result<(), Error> {
        let boot = self.control.active()?;
        if boot.on_trial() {
            self.still_stands(boot.active)?;
        }
        self.control.confirm()?;
        self.tidy()
    }

    /// Whether core still lets the image on trial run: it may have been
    /// revoked since, or its keys rotated away.
    pub(crate) fn still_stands(&self, slot: Slot) -> Result<(), Error> {
        let Some(kept) = self.shelf(slot).read()? else { return Ok(()) };
        let floors = self.counters.floors()?;
        let stand = Stand {
            floors: &floors,
            slot,
            under: None,
            stranded: kept.head.recovery,
            takes: kept.head.takes(),
        };
        self.profile.with_device(stand, |device| {
            consider(&kept.envelope, device, Image::Trial, &RustCrypto).map(drop).map_err(Error::from)
        })?
    }

    /// Ends the trial and reports it.
    pub(crate) fn revert(&self) -> Result<(), Error> {
        self.control.abandon()?;
        self.tidy()
    }

    /// Finishes what confirmation and revert began.
    fn tidy(&self) -> Result<(), Error> {
        let boot = self.control.active()?;
        if let Some(failed) = boot.failed {
            // The report first, then what it is made of, then the failure
            // itself: a cut anywhere repeats this with the same report id.
            if let Some(kept) = self.shelf(failed.slot).read()? {
                let _span = kept.head.origin.span().entered();
                info!(slot = %failed.slot, version = kept.head.version, "reverted");
                let event = Event::of(&kept.head, Phase::Reverted, self.now());
                let message = match failed.code {
                    Some(_) => "the boot stage refused the image",
                    None => "the image did not prove itself",
                };
                self.reports.keep(Event { code: failed.code, message: Some(message.to_owned()), ..event })?;
            }
            self.journal.end()?;
            // A failed image stays on no shelf: the boot stage will not
            // come back to it.
            self.shelf(failed.slot).clear()?;
            self.control.acknowledge()?;
        }
        let kept = match boot.confirmed {
            Some(slot) => self.shelf(slot).read()?,
            None => None,
        };
        self.reset_floors(kept.as_ref().map(|kept| kept.head.install))?;
        let (Some(slot), Some(kept)) = (boot.confirmed, kept) else { return Ok(()) };
        match self.raise_floors(slot, &kept) {
            // Another trust anchor was put into this device: its new root
            // does not know who signed what runs. That must not keep it
            // from updating.
            Err(Error::Refused(refused)) => warn!("the floors stay where they are: {}", refused.reason),
            result => result?,
        }
        if self.journal.current()?.is_some_and(|current| current.head.install == kept.head.install) {
            let _span = kept.head.origin.span().entered();
            info!(slot = %slot, version = kept.head.version, "confirmed");
            self.reports.keep(Event::of(&kept.head, Phase::Confirmed, self.now()))?;
            self.journal.end()?;
        }
        Ok(())
    }

    /// Raises sequence, epoch and delegation, in this order, to the
    /// confirmed image's own values.
    ///
    /// Each is durable before the next begins, and none exceeds what the
    /// confirmed image has, so after a cut between any two of them that
    /// image still boots (at boot an equal value is enough).
    fn raise_floors(&self, slot: Slot, kept: &Kept) -> Result<(), Error> {
        let floors = self.counters.floors()?;
        let under = Some(kept.under());
        let stand =
            Stand { floors: &floors, slot, under, stranded: kept.head.recovery, takes: kept.head.takes() };
        self.profile.with_device(stand, |device| {
            let image = consider(&kept.envelope, device, Image::Confirmed, &RustCrypto)?;
            if image.is_recovery() {
                return Ok(());
            }
            if let Some(time) = image.vouched_time() {
                self.profile.trust.vouch(time)?;
            }
            let spared = floors.reset.as_ref().and_then(|reset| reset.spared);
            if spared != Some(kept.head.install) {
                self.counters.advance_sequence(&self.profile.component_names(), image.sequence())?;
            }
            self.counters.advance_epoch(image.facts().epoch)?;
            self.counters.advance_delegation(image.facts().delegation)
        })?
    }
}
