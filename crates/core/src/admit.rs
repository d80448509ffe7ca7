//! Admission and boot: the two verdicts.
//!
//! [`Admitted`] and [`Bootable`] cannot be made anywhere else. The order of
//! checks matters: nothing of the manifest is parsed before its signatures
//! have been verified, and nothing is hashed whose size was not bounded.

use crate::action::{Action, Identity, Outcome};
use crate::command::{Command, Parameter, Section, Selection, Sequence, condition};
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::facts::{ComponentFacts, Facts};
use crate::limits::COMPONENTS_MAX;
use crate::machine::Machine;
use crate::manifest::{Authenticated, ComponentId, Manifest, authenticate};
use crate::measure::Measured;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::root::Root;

/// What a device knows of itself and demands.
#[derive(Clone, Copy, Debug)]
pub struct Device<'d> {
    /// The root document it trusts.
    pub root: &'d Root<'d>,
    /// Product name.
    pub product: &'d str,
    /// Vendor UUID.
    pub vendor: &'d [u8; 16],
    /// Class UUID.
    pub class: &'d [u8; 16],
    /// UUID of this very device, where it has one.
    pub id: Option<&'d [u8; 16]>,
    /// The monotonic counter of security epochs.
    pub epoch: u64,
    /// The highest delegation index committed.
    pub delegation: u64,
    /// The components it has.
    pub components: &'d [Component<'d>],
}

/// A component that a device has.
#[derive(Clone, Copy, Debug)]
pub struct Component<'d> {
    /// Its SUIT component identifier.
    pub id: &'d [&'d [u8]],
    /// Index of the slot that is written by an install or run by a boot.
    pub slot: u64,
    /// Bytes the slot holds.
    pub capacity: u64,
    /// The sequence number of the confirmed image.
    pub sequence: u64,
}

impl<'d> Device<'d> {
    fn identity(&self) -> Identity<'d> {
        Identity { vendor: self.vendor, class: self.class, device: self.id }
    }
}

/// A release that this device may install.
#[derive(Clone, Debug)]
pub struct Admitted<'a> {
    judged: Judged<'a>,
}

/// An image that this device may boot: the release was admitted again, and
/// what its slots hold was measured and matches.
#[derive(Clone, Debug)]
pub struct Bootable<'a> {
    judged: Judged<'a>,
}

/// A release that passed every check of one purpose.
#[derive(Clone, Debug)]
struct Judged<'a> {
    authenticated: Authenticated<'a>,
    facts: Facts<'a>,
    slots: [u64; COMPONENTS_MAX],
    places: [u8; COMPONENTS_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Install,
    Boot,
}

/// Decides whether a device may install what an envelope describes.
///
/// Verifies the signatures against the device's root, then the target, the
/// floors and every command. It downloads and hashes no payload: an
/// envelope is admitted before a byte of payload is fetched.
pub fn admit<'a>(
    envelope: &'a [u8],
    device: &Device<'_>,
    crypto: &impl Crypto,
) -> Result<Admitted<'a>, Refusal> {
    judge(envelope, device, crypto, Purpose::Install).map(|judged| Admitted { judged })
}

/// Decides whether a device may run what its slots hold.
///
/// `measured` gives, for each component of the manifest in order, what the
/// slot to be run was measured to hold. The checks of [`admit`] are
/// repeated, with two differences: the confirmed image itself stands at
/// the floors, so an equal sequence number is allowed; and the root's
/// minimum epoch governs installs, never a boot.
pub fn boot<'a>(
    envelope: &'a [u8],
    measured: &[Measured],
    device: &Device<'_>,
    crypto: &impl Crypto,
) -> Result<Bootable<'a>, Refusal> {
    let judged = judge(envelope, device, crypto, Purpose::Boot)?;
    // Every component must match its facts, whatever the commands say: a
    // manifest that validates nothing must not boot anything.
    for (index, facts) in judged.facts.components().enumerate() {
        let measured = measured.get(index).ok_or(Refusal::ImageMismatch)?;
        if measured.size() != facts.tree.size() {
            return Err(Refusal::ImageMismatch);
        }
    }
    let mut machine = Machine::validation(&judged.authenticated, device.identity(), &judged.slots);
    loop {
        match machine.next()? {
            Action::Finished => break,
            Action::Measure { component, .. } => {
                machine.done(measured.get(component).map_or(Outcome::Failed, |m| Outcome::Measured(*m)));
            }
            // A content check would need the slot itself.
            _ => return Err(Refusal::CommandNotAllowed(condition::CHECK_CONTENT)),
        }
    }
    if machine.all_matched() { Ok(Bootable { judged }) } else { Err(Refusal::ImageMismatch) }
}

fn judge<'a>(
    envelope: &'a [u8],
    device: &Device<'_>,
    crypto: &impl Crypto,
    purpose: Purpose,
) -> Result<Judged<'a>, Refusal> {
    let role = device.root.role(Role::Release, device.product)?;
    let authenticated = authenticate(Envelope::decode(envelope)?, &role, crypto)?;
    let manifest = authenticated.manifest();
    let facts = manifest.facts().ok_or(Refusal::FactsMissing)?.clone();

    if facts.environment != device.root.environment() {
        return Err(Refusal::WrongEnvironment);
    }
    if facts.product != device.product {
        return Err(Refusal::WrongProduct);
    }
    if facts.vendor != device.vendor {
        return Err(Refusal::WrongVendor);
    }
    if facts.class != device.class {
        return Err(Refusal::WrongClass);
    }
    check_target(manifest, &facts)?;

    if facts.epoch < device.epoch {
        return Err(Refusal::EpochTooLow { offered: facts.epoch, counter: device.epoch });
    }
    if facts.delegation < device.delegation {
        return Err(Refusal::DelegationTooLow { offered: facts.delegation, floor: device.delegation });
    }
    if purpose == Purpose::Install {
        let minimum = device.root.minimum_epoch();
        if facts.epoch < minimum {
            return Err(Refusal::EpochBelowRoot { offered: facts.epoch, minimum });
        }
        if let Some(label) = manifest.dropped() {
            return Err(Refusal::SeveredMissing(label));
        }
    }
    let (slots, places) = place(manifest, &facts, device, purpose)?;
    check_demands(device)?;
    Ok(Judged { authenticated, facts, slots, places })
}

/// "Vendor and class are set and checked once, first and unconditionally,
/// in the shared sequence, and must equal the facts" (the trust protocol,
/// Facts). The shared sequence begins: index of all components (may be
/// left out where there is one), override with both, both conditions.
fn check_target(manifest: &Manifest<'_>, facts: &Facts<'_>) -> Result<(), Refusal> {
    const DISAGREE: Refusal = Refusal::FactsDisagree("vendor and class");
    let count = manifest.component_count();
    if facts.components().count() != count {
        return Err(Refusal::FactsDisagree("the number of components"));
    }
    let shared = manifest.section(Section::Shared).ok_or(DISAGREE)?;
    let mut sequence = Sequence::new(shared)?;
    let mut command = sequence.next(count)?;
    let mut selection = Selection::one(0);
    if let Some(Command::SetIndex(selected)) = command {
        selection = selected;
        command = sequence.next(count)?;
    }
    let Some(Command::Override(parameters)) = command else { return Err(DISAGREE) };
    let (mut vendor, mut class) = (None, None);
    parameters.apply(|parameter| {
        match parameter {
            Parameter::Vendor(id) => vendor = Some(id),
            Parameter::Class(id) => class = Some(id),
            _ => {}
        }
        Ok(())
    })?;
    let conditions = [sequence.next(count)?, sequence.next(count)?];
    let [Some(Command::Condition(condition::VENDOR)), Some(Command::Condition(condition::CLASS))] =
        conditions
    else {
        return Err(DISAGREE);
    };
    // Two parameters in the whole manifest: no later sequence can claim
    // another vendor or class.
    if !selection.covers(count)
        || manifest.identities() != 2
        || vendor != Some(facts.vendor)
        || class != Some(facts.class)
    {
        return Err(DISAGREE);
    }
    Ok(())
}

/// Finds each component of the manifest on the device and checks what
/// depends on it: sequence floor, slot and capacity.
fn place(
    manifest: &Manifest<'_>,
    facts: &Facts<'_>,
    device: &Device<'_>,
    purpose: Purpose,
) -> Result<([u64; COMPONENTS_MAX], [u8; COMPONENTS_MAX]), Refusal> {
    let (mut slots, mut places) = ([0; COMPONENTS_MAX], [0u8; COMPONENTS_MAX]);
    for (index, (id, facts)) in manifest.components().zip(facts.components()).enumerate() {
        let unknown = Refusal::UnknownComponent(index as u8);
        let place = device.components.iter().position(|own| own.id == id.parts()).ok_or(unknown)?;
        if places[..index].contains(&(place as u8)) {
            return Err(unknown);
        }
        let own = &device.components[place];
        (slots[index], places[index]) = (own.slot, place as u8);
        let offered = manifest.sequence;
        let stale = match purpose {
            Purpose::Install => offered <= own.sequence,
            Purpose::Boot => offered < own.sequence,
        };
        if stale {
            return Err(Refusal::SequenceTooLow { offered, floor: own.sequence });
        }
        let size = facts.tree.size();
        if size > own.capacity {
            return Err(Refusal::TooLarge { size, capacity: own.capacity });
        }
        match facts.slot {
            Some(built_for) if built_for != own.slot => {
                return Err(Refusal::WrongSlot { built_for, slot: own.slot });
            }
            _ => {}
        }
    }
    Ok((slots, places))
}

/// Log proofs and approvals cannot be carried by an envelope of this
/// profile yet, so a root that demands them refuses everything: a device
/// fails closed rather than skip what it cannot check.
fn check_demands(device: &Device<'_>) -> Result<(), Refusal> {
    let demands = device.root.demands(device.product);
    if demands.proof {
        return Err(Refusal::ProofMissing);
    }
    if demands.approvals {
        return Err(Refusal::ApprovalsMissing);
    }
    if demands.delegation {
        return Err(Refusal::DelegationMissing);
    }
    if demands.owner {
        return Err(Refusal::OwnerMissing);
    }
    Ok(())
}

macro_rules! judged {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// The digest that names this release everywhere.
            pub fn manifest_digest(&self) -> Digest {
                *self.judged.authenticated.envelope().manifest_digest()
            }

            /// The facts.
            pub fn facts(&self) -> &Facts<'a> {
                &self.judged.facts
            }

            /// The sequence number.
            pub fn sequence(&self) -> u64 {
                self.judged.authenticated.manifest().sequence
            }

            /// The envelope and manifest.
            pub fn authenticated(&self) -> &Authenticated<'a> {
                &self.judged.authenticated
            }

            /// The components, each with its facts and its place in
            /// [`Device::components`], in the manifest's order.
            pub fn components(&self) -> impl Iterator<Item = (&ComponentId<'a>, &ComponentFacts, usize)> {
                let judged = &self.judged;
                judged
                    .authenticated
                    .manifest()
                    .components()
                    .zip(judged.facts.components())
                    .zip(judged.places)
                    .map(|((id, facts), place)| (id, facts, place as usize))
            }
        }
    };
}

judged!(Admitted);
judged!(Bootable);

impl<'a> Admitted<'a> {
    /// The steps of the update procedure.
    pub fn update<'d>(&self, device: &Device<'d>) -> Machine<'a, 'd> {
        Machine::update(&self.judged.authenticated, device.identity(), &self.judged.slots)
    }
}

impl<'a> Bootable<'a> {
    /// The steps of the invocation procedure.
    pub fn invocation<'d>(&self, device: &Device<'d>) -> Machine<'a, 'd> {
        Machine::invocation(&self.judged.authenticated, device.identity(), &self.judged.slots)
    }
}
