//! Targets: is a release about this device, and where does it go?

use crate::command::{Command, Parameter, Section, Selection, Sequence, condition};
use crate::device::Device;
use crate::facts::Facts;
use crate::judge::Purpose;
use crate::limits::COMPONENTS_MAX;
use crate::manifest::Manifest;
use crate::refusal::Refusal;

/// Reads the facts and checks that they are about this device.
pub(crate) fn check_facts<'a>(manifest: &Manifest<'a>, device: &Device<'_>) -> Result<Facts<'a>, Refusal> {
    let facts = manifest.facts().ok_or(Refusal::FactsMissing)?.clone();
    if facts.environment != device.trust.root.environment() {
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
    Ok(facts)
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
pub(crate) fn place(
    manifest: &Manifest<'_>,
    facts: &Facts<'_>,
    device: &Device<'_>,
    purpose: Purpose,
    recovery: bool,
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
            Purpose::Trial | Purpose::Boot => offered < own.sequence,
        };
        if stale && !recovery {
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
