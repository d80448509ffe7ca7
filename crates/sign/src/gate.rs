//! The gate: which orders may be signed.
//!
//! Pure. It decides on what our own parsers read from the artifact, on the
//! product and on the releases before, never on the pipeline's word.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::product::{ComponentSpec, Environment};
use firmseal_fleet::{Product, Release};
use firmseal_formats::Inspection;
use firmseal_manifest::Digest;

use crate::order::Order;

/// The rules, in the words that are hashed into every intent. A change of
/// the rules is a change of this text.
pub const RULES: &str = "\
firmseal gate 1
each component of the product gets exactly one artifact
the sequence number is above every earlier one of the product
the security epoch is not below that of the latest release
the version is new, and the one that the artifact carries
the security epoch is the one that the artifact carries
the artifact is of the product's format and fits its slot
debug builds are never signed for production
";

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
    #[error("security epoch {offered} goes back: the latest release has {latest}")]
    Epoch {
        /// In the order.
        offered: u64,
        /// Of the latest release.
        latest: u64,
    },
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
    /// A debug build for production.
    #[error("component `{component}` is a debug build; those are signed for test products only")]
    Debug {
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

/// Checks the order against the product and its latest release. Returns
/// the sequence number that the release gets.
pub fn check_order(order: &Order, product: &Product, latest: Option<&Release>) -> Result<u64, GateRefusal> {
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
    // Devices begin at floor 0 and demand more than their floor.
    if sequence <= floor {
        return Err(GateRefusal::Sequence { offered: sequence, latest: floor });
    }
    if let Some(latest) = latest
        && order.epoch < latest.epoch
    {
        return Err(GateRefusal::Epoch { offered: order.epoch, latest: latest.epoch });
    }
    Ok(sequence)
}

/// Checks what a format read from the payload of one component, as it will
/// be installed.
pub fn check_payload(
    order: &Order,
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
        && inspection.semver().as_ref() != Some(&order.version)
    {
        return Err(GateRefusal::Version {
            component: name(),
            carried: carried.clone(),
            ordered: order.version.to_string(),
        });
    }
    if let Some(carried) = inspection.epoch
        && carried != order.epoch
    {
        return Err(GateRefusal::ArtifactEpoch { component: name(), carried, ordered: order.epoch });
    }
    if size > component.capacity {
        return Err(GateRefusal::TooLarge { component: name(), size, capacity: component.capacity });
    }
    if inspection.debug == Some(true) && product.environment == Environment::Production {
        return Err(GateRefusal::Debug { component: name() });
    }
    Ok(())
}
