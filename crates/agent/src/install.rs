//! Installing: admit, then do what the command engine says, then activate.
//!
//! Nothing is written before the envelope is admitted. After a cut the same
//! function starts at the first command again and finds most of the work
//! done; there is no other recovery.

use firmseal_api::updates::Phase;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::COMPONENTS_MAX;
use firmseal_core::{Action, Admitted, Device, Outcome, Refusal, Streamed, admit};
use tracing::{error, info};
use uuid::Uuid;

use crate::boot_control::Slot;
use crate::device::Stand;
use crate::error::{Error, Reason, Refused};
use crate::feed::{Feed, Meter};
use crate::fetch::{Counts, Fetched, buffers, fetch};
use crate::files::Access;
use crate::measure::{holds, measure};
use crate::release::{Head, Kept, Origin};
use crate::reports::Event;
use crate::slot::{Extent, InactiveSlot, Syncing};
use crate::source::{Blob, Kind, Source, payload_digest};
use crate::state::State;

/// An image that is installed and waits for its trial boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// Where it is.
    pub slot: Slot,
    /// Its version, for people.
    pub version: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Digest of its manifest, in hexadecimal.
    pub manifest: String,
    /// Where its blocks came from.
    pub counts: Counts,
}

/// Gives the source of an admitted release: a bundle finds its blobs only
/// by what the signed facts say.
pub(crate) type OpenSource<'s> = dyn Fn(&Admitted<'_>) -> Result<Box<dyn Source + 's>, Error> + 's;

impl State {
    /// Installs what an envelope describes into the inactive slot and puts
    /// it on trial. Every outcome is reported.
    pub(crate) fn install(
        &self,
        envelope: &[u8],
        origin: &Origin,
        meter: &Meter,
        open: &OpenSource<'_>,
    ) -> Result<Installed, Error> {
        let result = self.try_install(envelope, origin, meter, open);
        match &result {
            Ok(installed) => info!(
                slot = %installed.slot,
                version = installed.version,
                fetched = installed.counts.fetched,
                copied = installed.counts.copied,
                resumed = installed.counts.resumed,
                "installed"
            ),
            Err(Error::Refused(refused)) => self.note_refusal(envelope, refused, origin)?,
            Err(err) => self.note_interruption(err)?,
        }
        result
    }

    fn try_install(
        &self,
        envelope: &[u8],
        origin: &Origin,
        meter: &Meter,
        open: &OpenSource<'_>,
    ) -> Result<Installed, Error> {
        let boot = self.control.active()?;
        if boot.trial.is_some() {
            return Err(Error::TrialPending);
        }
        // What was written into the slot that runs would pass for what was
        // booted from it.
        if boot.needs_reboot() {
            return Err(Error::SlotRuns(boot.active));
        }
        self.reports.has_room()?;
        self.profile.trust.now().has_its_owner()?;
        let slot = boot.inactive();
        self.journal.reload();
        let floors = self.counters.floors()?;
        let stand = Stand {
            floors: &floors,
            slot,
            under: None,
            stranded: self.stranded(&boot),
            takes: self.profile.takes(),
        };
        let (kept, counts) = self.profile.with_device(stand, |device| -> Result<_, Error> {
            let admitted = admit(envelope, device, &RustCrypto)?;
            if admitted.components().count() != device.components.len() {
                return Err(Error::Refused(Refused { reason: Reason::Partial, evidence: None }));
            }
            let source = open(&admitted)?;
            let kept = self.begin(&admitted, envelope, origin, slot)?;
            let counts = match self.update(&admitted, device, &kept, &*source, meter) {
                // What an earlier run had written did not survive the cut as
                // it should have. That is the disk's doing, not the
                // release's: once more from the first block.
                Err(Error::Refused(refused))
                    if refused.reason == Reason::Core(Refusal::ImageMismatch)
                        && self.journal.resumed(kept.head.install) =>
                {
                    info!("the resumed image does not match; starting over");
                    self.journal.rewind()?;
                    self.update(&admitted, device, &kept, &*source, meter)
                }
                result => result,
            };
            let counts = match counts {
                Err(err @ Error::Refused(_)) => {
                    self.journal.end()?;
                    return Err(err);
                }
                counts => counts?,
            };
            Ok((kept, counts))
        })??;
        // A word against it may have come while it was downloaded.
        let still =
            self.profile.with_device(stand, |device| admit(envelope, device, &RustCrypto).map(drop))?;
        if let Err(refusal) = still {
            self.journal.end()?;
            return Err(refusal.into());
        }
        self.activate(&kept, counts)
    }

    /// Takes up the install of this manifest, or begins one. The envelope
    /// that was kept was admitted as this one was; around the same manifest
    /// it may differ in what was severed or in who has cosigned since.
    fn begin(
        &self,
        admitted: &Admitted<'_>,
        envelope: &[u8],
        origin: &Origin,
        slot: Slot,
    ) -> Result<Kept, Error> {
        let manifest = admitted.manifest_digest().to_string();
        let recovery = admitted.is_recovery();
        let channel = self.profile.config.channel.is_some();
        let same = |head: &Head| {
            head.manifest == manifest
                && head.slot == slot
                && (head.recovery, head.channel) == (recovery, channel)
        };
        let kept = match self.journal.current()? {
            Some(kept) if same(&kept.head) => kept,
            _ => {
                let head = Head {
                    install: Uuid::new_v4(),
                    slot,
                    version: admitted.facts().version.to_owned(),
                    sequence: admitted.sequence(),
                    manifest,
                    origin: origin.clone(),
                    recovery,
                    channel,
                };
                let kept = Kept { head, root: Vec::new(), owner: Vec::new(), envelope: envelope.to_vec() };
                self.journal.begin(&kept)?;
                kept
            }
        };
        info!(slot = %slot, version = kept.head.version, manifest = kept.head.manifest, "admitted");
        if recovery {
            error!(
                version = kept.head.version,
                manifest = kept.head.manifest,
                "RECOVERY: an image comes in without log, approvals and sequence number"
            );
        }
        self.reports.keep(Event::of(&kept.head, Phase::Downloading, self.now()))?;
        Ok(kept)
    }

    /// Runs the update procedure. The slots are durable when it returns.
    fn update(
        &self,
        admitted: &Admitted<'_>,
        device: &Device<'_>,
        kept: &Kept,
        source: &dyn Source,
        meter: &Meter,
    ) -> Result<Counts, Error> {
        let mut syncing = Vec::new();
        let counts = self.run_commands(admitted, device, kept, source, meter, &mut syncing);
        // Also after a refusal: no thread may note progress once the
        // journal is closed.
        let synced = syncing.into_iter().try_for_each(Syncing::wait);
        let counts = counts?;
        synced?;
        Ok(counts)
    }

    fn run_commands(
        &self,
        admitted: &Admitted<'_>,
        device: &Device<'_>,
        kept: &Kept,
        source: &dyn Source,
        meter: &Meter,
        syncing: &mut Vec<Syncing>,
    ) -> Result<Counts, Error> {
        let slot = kept.head.slot;
        let mut machine = admitted.update(device);
        let mut counts = Counts::default();
        let mut streamed: [Option<Streamed>; COMPONENTS_MAX] = Default::default();
        loop {
            let outcome = match machine.next()? {
                Action::Finished => break,
                Action::Fetch { component, uri, args: None } => {
                    let fetched = self.fetch(admitted, component, uri, kept, source, meter)?;
                    counts.add(fetched.counts);
                    syncing.extend(fetched.syncing);
                    if let Some(place) = streamed.get_mut(component) {
                        *place = fetched.streamed;
                    }
                    Outcome::Done
                }
                Action::Measure { component, size } => {
                    let (tree, own) = self.place(admitted, component)?;
                    let size = size.unwrap_or(tree.size()).min(own.capacity);
                    // What this run wrote from the first block to the last
                    // was checked on its way. Of what an earlier run left
                    // nobody knows how a cut left it: it is read back.
                    match streamed.get(component).copied().flatten() {
                        Some(streamed) => Outcome::Streamed(streamed),
                        None => Outcome::Measured(measure(&*self.files, own.slot(slot), size)?),
                    }
                }
                Action::Compare { component, content } => {
                    let (tree, own) = self.place(admitted, component)?;
                    let same =
                        tree.size() == content.len() as u64 && holds(&*self.files, own.slot(slot), content)?;
                    if same { Outcome::Done } else { Outcome::Failed }
                }
                // These would put bytes into a slot that no block tree
                // covers, or need arguments that nothing here understands.
                Action::Fetch { .. } | Action::Write { .. } => Outcome::Failed,
                Action::Copy { .. } | Action::Swap { .. } | Action::Invoke { .. } => Outcome::Failed,
            };
            machine.done(outcome);
        }
        // A manifest may hold no image match at all; only core knows
        // whether every component was measured and matched.
        if machine.all_matched() { Ok(counts) } else { Err(Refusal::ImageMismatch.into()) }
    }

    fn place(
        &self,
        admitted: &Admitted<'_>,
        component: usize,
    ) -> Result<(firmseal_core::Tree, &crate::config::Component), Error> {
        let unknown = || Error::from(Refusal::UnknownComponent(component as u8));
        let (_, facts, place) = admitted.components().nth(component).ok_or_else(unknown)?;
        let own = self.profile.config.components.get(place).ok_or_else(unknown)?;
        Ok((facts.tree, own))
    }

    /// Streams one payload into its slot, from where the last run stopped.
    fn fetch(
        &self,
        admitted: &Admitted<'_>,
        component: usize,
        uri: &str,
        kept: &Kept,
        source: &dyn Source,
        meter: &Meter,
    ) -> Result<Fetched, Error> {
        let digest = payload_digest(uri)?;
        let (tree, own) = self.place(admitted, component)?;
        let block = tree.block().bytes() as u64;
        let install = kept.head.install;
        let first = match self.journal.watermark(install, &own.name)? {
            all if all >= tree.size() => tree.blocks(),
            some => some / block,
        };
        if first == tree.blocks() {
            let counts = Counts { resumed: first, ..Counts::default() };
            return Ok(Fetched { counts, ..Fetched::default() });
        }
        let path = own.slot(kept.head.slot);
        let (journal, name) = (self.journal.clone(), own.name.clone());
        let sync = self.profile.config.sync_bytes;
        let on_durable = Box::new(move |bytes| journal.advance(install, &name, bytes));
        let extent = Extent { from: first * block, capacity: own.capacity };
        let (returned, spare) = buffers();
        let slot = InactiveSlot::open(&self.files, path, &extent, sync, on_durable, returned)?;
        let active = self.files.open(own.slot(kept.head.slot.other()), Access::Read).ok();
        let active = active.filter(|file| file.len().is_ok_and(|len| len > 0));
        let data = Blob { component, digest, kind: Kind::Payload, len: tree.size() };
        let feed = Feed { tree, data, source, active, meter };
        fetch(&tree, first, feed, spare, slot)
    }

    /// Puts the installed image on trial.
    ///
    /// The release stands on its slot's shelf before the trial is set: the
    /// boot stage needs it. A cut before the trial is set leaves the journal,
    /// and the next run finds every block written and comes here again.
    fn activate(&self, kept: &Kept, counts: Counts) -> Result<Installed, Error> {
        let head = &kept.head;
        // Admitted in this very run: also where an earlier one began.
        let trusted = self.profile.trust.now();
        let root = trusted.root.newest.clone();
        let owner = trusted.owner.document().unwrap_or_default().to_vec();
        self.shelf(head.slot).write(&Kept { root, owner, ..kept.clone() })?;
        self.control.set_trial(head.slot, self.profile.config.tries)?;
        self.reports.keep(Event { counts, ..Event::of(head, Phase::Installed, self.now()) })?;
        if head.recovery {
            // An event of its own, so that whoever watches the fleet need not
            // read every install's message to see that this door was used.
            let message = Some(format!("recovery image {} ({})", head.version, head.manifest));
            self.reports.keep(Event { message, ..Event::of(head, Phase::Recovered, self.now()) })?;
        }
        Ok(Installed {
            slot: head.slot,
            version: head.version.clone(),
            sequence: head.sequence,
            manifest: head.manifest.clone(),
            counts,
        })
    }
}
