//! The gate: which orders may be signed.
//!
//! Pure. It decides on what our own parsers read from the artifact, on the
//! product and on the releases before, never on the pipeline's word.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::product::{ComponentSpec, Environment};
use firmseal_fleet::{Product, Release, Trespass};
use firmseal_formats::Inspection;
use firmseal_manifest::Digest;
use semver::Version;

use crate::order::Order;

/// The rules, in the words that are hashed into every intent. A change of
/// the rules is a change of this text.
pub const RULES: &str = "\
firmseal gate 7
each component of the product gets exactly one artifact
the sequence number is above every earlier one of the product, by 1048576 at most
the security epoch is not below the lowest of the root document in force, nor that of the latest release, nor the
  highest that a file was signed under by itself, and above the highest of these by 16 at most; files hold back no
  roll-back, and nothing that the same key has signed before
the version is new on its channel, and the one that the artifact carries
the security epoch is the one that the artifact carries
the artifact is of the product's format and fits its slot
each address that the artifact names, with as much as it says to lie there behind it, or with the size of the
  artifact where it does not say, lies in one of the regions that the product allows the component, if it says
  any, and touches none that it protects
an artifact that names no address is for no component with such regions, unless the product lets it through by a
  word, or is from before that word
a file that is signed by itself keeps to these rules for one of the components; if it names addresses, and
  any component says which it allows, for one that does
debug builds are never signed for production
a roll-back that is signed ahead follows the release that it rolls back at once, has its security epoch,
  and holds the payloads of an earlier one that may be offered, under that one's version, marked
";

/// How far a sequence number may rise above the latest: room for reserved
/// ones, and no way to use all of them up in one order, after which devices
/// would accept nothing any more.
pub const SEQUENCE_STEP_MAX: u64 = 1 << 20;

/// How far a security epoch may rise above the latest: a device's counter
/// never goes back, and some have few steps.
pub const EPOCH_STEP_MAX: u64 = 16;

/// Digest of [`RULES`].
pub fn policy() -> Digest {
    RustCrypto.digest(RULES.as_bytes())
}

/// A rule that an order breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// The components of the order are not those of the product.
    #[error("product `{product}` has the components {wanted}, the order names {got}")]
    Components {
        /// The product.
        product: String,
        /// Its components.
        wanted: String,
        /// Those in the order.
        got: String,
    },
    /// The sequence number goes back.
    #[error("sequence number {offered} does not rise: the latest release has {latest}")]
    Sequence {
        /// In the order.
        offered: u64,
        /// Of the latest release.
        latest: u64,
    },
    /// The security epoch goes back.
    #[error(
        "security epoch {offered} goes back: the product's releases and files have {latest}; use that or a \
         higher one"
    )]
    Epoch {
        /// In the order.
        offered: u64,
        /// The highest so far.
        latest: u64,
    },
    /// The security epoch is below what the root document allows.
    #[error(
        "security epoch {offered} is below {lowest}, the lowest of the root document in force, and devices \
         would refuse it; use {lowest} or a higher one"
    )]
    EpochRoot {
        /// In the order.
        offered: u64,
        /// The root document's lowest.
        lowest: u64,
    },
    /// The sequence number runs ahead.
    #[error("sequence number {offered} is more than {SEQUENCE_STEP_MAX} above the latest, {latest}")]
    SequenceAhead {
        /// In the order.
        offered: u64,
        /// Of the latest release.
        latest: u64,
    },
    /// The security epoch runs ahead.
    #[error("security epoch {offered} is more than {EPOCH_STEP_MAX} above the highest so far, {latest}")]
    EpochAhead {
        /// In the order.
        offered: u64,
        /// The highest so far.
        latest: u64,
    },
    /// The version exists.
    #[error("version {version} exists on channel {channel} already; use another")]
    VersionExists {
        /// The version.
        version: String,
        /// The channel.
        channel: String,
    },
    /// The product is of another environment than the release.
    #[error("the product and the release are of different environments (test and production never mix)")]
    Environment,
    /// The artifact is of another format.
    #[error("component `{component}`: the artifact is `{got}`, the product's format is `{wanted}`")]
    Format {
        /// The component.
        component: String,
        /// The product's format.
        wanted: String,
        /// The artifact's.
        got: String,
    },
    /// The artifact says another version.
    #[error("component `{component}`: the artifact carries version {carried}, the order says {ordered}")]
    Version {
        /// The component.
        component: String,
        /// In the artifact.
        carried: String,
        /// In the order.
        ordered: String,
    },
    /// The artifact says another security epoch.
    #[error(
        "component `{component}`: the artifact carries security epoch {carried}, the order says {ordered}"
    )]
    ArtifactEpoch {
        /// The component.
        component: String,
        /// In the artifact.
        carried: u64,
        /// In the order.
        ordered: u64,
    },
    /// The payload does not fit.
    #[error("component `{component}`: the payload has {size} bytes, a slot holds {capacity}")]
    TooLarge {
        /// The component.
        component: String,
        /// Payload size in bytes.
        size: u64,
        /// Slot capacity in bytes.
        capacity: u64,
    },
    /// The image would be loaded where none may lie.
    #[error(
        "component `{component}`: {size} bytes at address {address:#x} lie in none of the regions that the \
         product allows"
    )]
    Address {
        /// The component.
        component: String,
        /// Where it would be loaded.
        address: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// The component has an address map, and nothing to hold against it.
    #[error(
        "component `{component}` has an address map, and the file names no address that could be held \
         against it; hand in a file that does, or make a product whose `addresses` say \
         `allow_unplaced = true`"
    )]
    NoAddress {
        /// The component.
        component: String,
    },
    /// The image would be loaded over something that is protected.
    #[error(
        "component `{component}`: {size} bytes at address {address:#x} touch `{region}`, which is protected"
    )]
    Protected {
        /// The component.
        component: String,
        /// Where it would be loaded.
        address: u64,
        /// Its size in bytes.
        size: u64,
        /// What lies there.
        region: String,
    },
    /// A debug build for production.
    #[error("component `{component}` is a debug build; those are signed for test products only")]
    Debug {
        /// The component.
        component: String,
    },
    /// Devices that took what came after would not go back to it.
    #[error("{later} came after {release}; a roll-back has its number between the two, and none is left")]
    RollbackLate {
        /// The release that would be rolled back.
        release: String,
        /// What came after.
        later: String,
    },
    /// What a roll-back would bring back cannot be offered.
    #[error("release {0} is no earlier one of this product that may be offered")]
    RollbackTo(String),
    /// There is nothing to go back to.
    #[error("no release of this channel before {0} may be offered; name one with --to")]
    NothingBefore(String),
    /// An image whose format signs it, without that signature.
    #[error("component `{component}` carries no signature of its own, which its format demands")]
    Unsigned {
        /// The component.
        component: String,
    },
    /// A published development key for production.
    #[error("the key is a published development key ({name}); production needs a key of its own")]
    DevelopmentKey {
        /// Which one.
        name: &'static str,
    },
    /// The sequence numbers are used up.
    #[error("no sequence number is left above {0}")]
    SequenceExhausted(u64),
}

/// The security epochs that an order or a file is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epochs {
    /// The lowest of the root document in force.
    pub lowest: u64,
    /// The highest so far: of the latest release, or of a file that was signed
    /// by itself.
    pub highest: u64,
}

/// Checks the order against the product, its latest release and the security
/// epochs. Returns the sequence number that the release gets.
pub fn check_order(
    order: &Order,
    product: &Product,
    latest: Option<&Release>,
    epochs: Epochs,
) -> Result<u64, GateRefusal> {
    let wanted: Vec<_> = product.components.iter().map(|component| component.name.as_str()).collect();
    let got: Vec<_> = order.components.iter().map(|component| component.name.as_str()).collect();
    if wanted != got {
        return Err(GateRefusal::Components {
            product: product.id.to_string(),
            wanted: wanted.join(", "),
            got: got.join(", "),
        });
    }
    let floor = latest.map_or(0, |release| release.sequence);
    let sequence = match order.sequence {
        Some(sequence) => sequence,
        None => floor.checked_add(1).ok_or(GateRefusal::SequenceExhausted(floor))?,
    };
    check_sequence(sequence, latest)?;
    check_epoch(order.epoch, epochs)?;
    Ok(sequence)
}

/// Checks a sequence number against the latest release.
pub fn check_sequence(sequence: u64, latest: Option<&Release>) -> Result<(), GateRefusal> {
    // Devices begin at floor 0 and demand more than their floor.
    let floor = latest.map_or(0, |release| release.sequence);
    if sequence <= floor {
        return Err(GateRefusal::Sequence { offered: sequence, latest: floor });
    }
    if sequence - floor > SEQUENCE_STEP_MAX {
        return Err(GateRefusal::SequenceAhead { offered: sequence, latest: floor });
    }
    Ok(())
}

/// Checks a security epoch.
pub fn check_epoch(offered: u64, Epochs { lowest, highest }: Epochs) -> Result<(), GateRefusal> {
    // A step is counted from the root document's lowest too: a product that is
    // new under a root at 20 has to begin somewhere.
    let floor = lowest.max(highest);
    match offered.checked_sub(floor) {
        None if lowest > highest => Err(GateRefusal::EpochRoot { offered, lowest }),
        None => Err(GateRefusal::Epoch { offered, latest: highest }),
        Some(step) if step > EPOCH_STEP_MAX => Err(GateRefusal::EpochAhead { offered, latest: floor }),
        Some(_) => Ok(()),
    }
}

/// What a release says of itself, in an order or in signed facts.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The version.
    pub version: &'a Version,
    /// The security epoch.
    pub epoch: u64,
}

/// Checks what a format read from the payload of one component, as it will
/// be installed.
pub fn check_payload(
    said: Said<'_>,
    product: &Product,
    component: &ComponentSpec,
    inspection: &Inspection,
    size: u64,
) -> Result<(), GateRefusal> {
    let name = || component.name.clone();
    if inspection.format != product.format {
        return Err(GateRefusal::Format {
            component: name(),
            wanted: product.format.clone(),
            got: inspection.format.clone(),
        });
    }
    if let Some(carried) = &inspection.version
        && inspection.semver().as_ref() != Some(said.version)
    {
        return Err(GateRefusal::Version {
            component: name(),
            carried: carried.clone(),
            ordered: said.version.to_string(),
        });
    }
    if let Some(carried) = inspection.epoch
        && carried != said.epoch
    {
        return Err(GateRefusal::ArtifactEpoch { component: name(), carried, ordered: said.epoch });
    }
    if size > component.capacity {
        return Err(GateRefusal::TooLarge { component: name(), size, capacity: component.capacity });
    }
    check_addresses(component, inspection, size.max(inspection.image_size))?;
    if inspection.debug == Some(true) && product.environment == Environment::Production {
        return Err(GateRefusal::Debug { component: name() });
    }
    Ok(())
}

/// Checks a file that is signed by itself, and is for one of the product's
/// components; nobody says for which. One without an address map would take
/// any file past the maps of the others.
pub fn check_file(
    said: Said<'_>,
    product: &Product,
    inspection: &Inspection,
    size: u64,
) -> Result<(), GateRefusal> {
    let placed = !inspection.load_addresses.is_empty();
    let mapped = placed && product.components.iter().any(|component| component.addresses.is_some());
    let mut fitting: Vec<_> =
        product.components.iter().filter(|own| own.addresses.is_some() || !mapped).collect();
    // What is said of a file that fits nowhere is what the largest says.
    fitting.sort_by_key(|component| std::cmp::Reverse(component.capacity));
    let mut first = None;
    for component in fitting {
        match check_payload(said, product, component, inspection, size) {
            Ok(()) => return Ok(()),
            Err(refusal) => drop(first.get_or_insert(refusal)),
        }
    }
    let none = || GateRefusal::Components {
        product: product.id.to_string(),
        wanted: String::new(),
        got: "a file".to_owned(),
    };
    Err(first.unwrap_or_else(none))
}

/// Checks each piece that the artifact says to lie somewhere. Of an address
/// without a size all of it might. Where it names none, nothing would be
/// checked: a map that holds for nothing must not look like one that holds.
fn check_addresses(component: &ComponentSpec, inspection: &Inspection, size: u64) -> Result<(), GateRefusal> {
    let Some(map) = &component.addresses else { return Ok(()) };
    let name = || component.name.clone();
    if inspection.load_addresses.is_empty() && !map.lets_unplaced() {
        return Err(GateRefusal::NoAddress { component: name() });
    }
    let known = |address: &u64| inspection.loads.iter().any(|load| load.address == *address);
    let bare = inspection.load_addresses.iter().filter(|address| !known(address));
    let loads = inspection.loads.iter().map(|load| (load.address, load.size.unwrap_or(size)));
    for (address, size) in loads.chain(bare.map(|address| (*address, size))) {
        match map.trespass(address, size) {
            None => {}
            Some(Trespass::Outside) => return Err(GateRefusal::Address { component: name(), address, size }),
            Some(Trespass::Protected(region)) => {
                let region = region.name.clone();
                return Err(GateRefusal::Protected { component: name(), address, size, region });
            }
        }
    }
    Ok(())
}

impl GateRefusal {
    /// The rule's name, which never changes.
    pub const fn rule(&self) -> &'static str {
        match self {
            GateRefusal::Components { .. } => "gate-components",
            GateRefusal::Sequence { .. } => "gate-sequence",
            GateRefusal::SequenceAhead { .. } => "gate-sequence-ahead",
            GateRefusal::SequenceExhausted(_) => "gate-sequence-exhausted",
            GateRefusal::Epoch { .. } => "gate-epoch",
            GateRefusal::EpochRoot { .. } => "gate-epoch-root",
            GateRefusal::EpochAhead { .. } => "gate-epoch-ahead",
            GateRefusal::ArtifactEpoch { .. } => "gate-artifact-epoch",
            GateRefusal::VersionExists { .. } => "gate-version-exists",
            GateRefusal::Version { .. } => "gate-artifact-version",
            GateRefusal::Environment => "gate-environment",
            GateRefusal::Format { .. } => "gate-format",
            GateRefusal::TooLarge { .. } => "gate-size",
            GateRefusal::Address { .. } => "gate-address",
            GateRefusal::NoAddress { .. } => "gate-no-address",
            GateRefusal::Protected { .. } => "gate-protected-region",
            GateRefusal::Debug { .. } => "gate-debug",
            GateRefusal::RollbackLate { .. } => "gate-rollback-late",
            GateRefusal::RollbackTo(_) | GateRefusal::NothingBefore(_) => "gate-rollback-to",
            GateRefusal::Unsigned { .. } => "gate-unsigned",
            GateRefusal::DevelopmentKey { .. } => "gate-development-key",
        }
    }
}
