//! An owner's consent: what somebody agrees to who owns devices and did not
//! make the release.
//!
//! Pure. The vendor's signatures are there already; what is added is a
//! Statement under the owner's own lineage.

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{
    Component, Device, Digest, Envelope, KeyId, Refusal, Root, StatementPurpose, Takes, Trust, admit,
};
use firmseal_manifest::{ReleaseSpec, RequestId, Statement, consent};

use crate::review::{self, Difference};

/// Whether a root demands the owner's consent to releases of a product: the
/// vendor's, or the owner's own.
pub fn is_demanded(vendor: &Root<'_>, owner: &Root<'_>, product: &str) -> bool {
    vendor.demands(product).owner || owner.demands(product).owner
}

/// What a holder of the owner's approver role signs, over what was read
/// here: payloads' headers, and the difference from the release before.
pub fn statement(
    envelope: &[u8],
    owner: &Root<'_>,
    headers: &[(String, Digest)],
    difference: &Difference,
    expiry: u64,
) -> Result<Statement, Refusal> {
    let envelope = Envelope::decode(envelope)?;
    let hints = envelope.signatures().filter_map(|signature| signature.key_id().and_then(Digest::from_slice));
    let signers: BTreeSet<Digest> = hints.collect();
    // A log's entry says who asked, and by which rules; without one there is
    // nothing that devices compare with.
    let nobody = RustCrypto.digest(b"firmseal countersign");
    let (requester, policy) = consent::announced(&envelope).unwrap_or((nobody, nobody));
    Ok(Statement {
        purpose: StatementPurpose::Owner,
        environment: owner.environment(),
        lineage: *owner.lineage(),
        request: RequestId::new(),
        manifest: difference.after.manifest,
        signers: signers.into_iter().map(KeyId).collect(),
        previous: difference.before.as_ref().map(|before| before.manifest),
        expiry,
        header: review::header(headers),
        difference: difference.digest(),
        policy,
        requester,
    })
}

/// Asks core as a device of this product and this owner would that has
/// never run anything.
pub fn ask(spec: &ReleaseSpec, envelope: &[u8], trust: Trust<'_>) -> Result<(), Refusal> {
    let ids: Vec<[&[u8]; 1]> = spec.components.iter().map(|component| [component.name.as_bytes()]).collect();
    let components: Vec<Component<'_>> = spec
        .components
        .iter()
        .zip(&ids)
        .map(|(component, id)| Component {
            id,
            slot: component.slot.unwrap_or_default(),
            capacity: component.size,
            sequence: spec.sequence.saturating_sub(1),
        })
        .collect();
    let device = Device {
        trust,
        stranded: false,
        takes: Takes::Any,
        product: spec.product.as_str(),
        vendor: spec.vendor.as_bytes(),
        class: spec.class.as_bytes(),
        id: None,
        epoch: spec.epoch,
        delegation: 0,
        components: &components,
    };
    admit(envelope, &device, &RustCrypto).map(drop)
}
