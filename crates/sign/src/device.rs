//! The product's newest device, on paper: what core is asked about before
//! anything leaves the pipeline.

use firmseal_core::{Component, Device, Refusal, Takes, Trust};
use firmseal_fleet::Product;

use crate::trust::Chain;

/// Floors of a device: everything above them may be installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Floors {
    /// Sequence number of what it runs.
    pub sequence: u64,
    /// Its security epoch counter.
    pub epoch: u64,
}

/// Asks `question` of a device of this product that has seen every root
/// document and revocation.
pub fn ask<T>(
    product: &Product,
    trust: &Chain,
    floors: Floors,
    question: impl FnOnce(&Device<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    trust.ask(|trust| ask_with(product, trust, floors, question))
}

/// The same of a device that trusts as it is told here.
pub(crate) fn ask_with<T>(
    product: &Product,
    trust: Trust<'_>,
    floors: Floors,
    question: impl FnOnce(&Device<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let ids: Vec<[&[u8]; 1]> =
        product.components.iter().map(|component| [component.name.as_bytes()]).collect();
    let components: Vec<Component<'_>> = product
        .components
        .iter()
        .zip(&ids)
        .map(|(component, id)| Component {
            id,
            // The server does not know which slot a device will use: slots
            // are for the device to judge.
            slot: 0,
            capacity: component.capacity,
            sequence: floors.sequence,
        })
        .collect();
    question(&Device {
        trust,
        stranded: false,
        // Which channels devices take is for them to say.
        takes: Takes::Any,
        product: product.id.as_str(),
        vendor: product.vendor.as_bytes(),
        class: product.class.as_bytes(),
        id: None,
        epoch: floors.epoch,
        delegation: 0,
        components: &components,
    })
}
