//! Verification of a finished release, as a device would do it.
//!
//! The server asks this of every release that was signed elsewhere before
//! it offers it: the envelope is admitted by core, its update procedure is
//! run with the payloads in the store, and their trees are built anew.

use std::collections::HashMap;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Action, Admitted, Device, Environment, Measured, Measurement, Outcome, Refusal, Tree};
use firmseal_fleet::product;
use firmseal_fleet::{Product, Release, ReleaseComponent};
use firmseal_formats::Inspection;
use firmseal_manifest::{ArtifactId, BlockSize, Digest, PayloadTree, ids, payload_uri};
use firmseal_store::{Store, StoreError};
use semver::Version;

use crate::component::detected;
use crate::device::{self, Floors};
use crate::error::PipelineError;
use crate::gate::{self, Epochs, GateRefusal, Said};
use crate::rollback;
use crate::spool;
use crate::trust::Chain;

/// What a verified envelope says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// SHA-256 of the manifest.
    pub manifest: Digest,
    /// Channel name.
    pub channel: String,
    /// Version.
    pub version: Version,
    /// Sequence number.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// Whether it is for production.
    pub production: bool,
    /// The payloads in the store.
    pub components: Vec<ReleaseComponent>,
}

/// What a payload in the store was measured to be.
struct Payload {
    tree: PayloadTree,
    measured: Measured,
    inspection: Inspection,
}

/// How a dry run of the update procedure ended.
enum Run {
    /// It needs the payload with this digest.
    Needs { digest: Digest, block: BlockSize },
    /// It finished; the payload of each component, by URI.
    Finished { verified: Verified, parts: Vec<(String, Tree, String)> },
}

/// Verifies an envelope against product, root and revocation, and its payloads in
/// the store; then asks the gate what it asks of an order, but for what
/// only an order has.
pub async fn verify_release(
    store: &dyn Store,
    product: &Product,
    trust: &Chain,
    latest: Option<&Release>,
    envelope: &[u8],
) -> Result<Verified, PipelineError> {
    let floors = Floors {
        sequence: latest.map_or(0, |release| release.sequence),
        epoch: latest.map_or(0, |release| release.epoch),
    };
    let format = firmseal_formats::find(&product.format)
        .map_err(|error| PipelineError::Format { component: product.id.to_string(), error })?;
    let rolls_back = rollback::rolls_back(envelope)?.is_some();
    let mut payloads: HashMap<String, Payload> = HashMap::new();
    // Each run fetches one payload more than the one before; a procedure
    // starts again at its first command, so nothing is remembered between.
    loop {
        let run = device::ask(product, trust, floors, |device| {
            let admitted = firmseal_core::admit(envelope, device, &RustCrypto)?;
            dry_run(&admitted, device, &payloads)
        })?;
        match run {
            Run::Needs { digest, block } => {
                let file = spool::fetch(store, &digest).await?;
                let payload = spool::blocking(move || {
                    let inspection = detected(format, &file)
                        .map_err(|error| PipelineError::Format { component: digest.to_string(), error })?;
                    let tree = spool::tree(&file, block)?;
                    let mut measurement = Measurement::start(&RustCrypto);
                    spool::for_each_piece(&file, |piece| {
                        measurement.update(piece);
                        Ok(())
                    })?;
                    Ok(Payload { tree, measured: measurement.finish(), inspection })
                })
                .await?;
                if payload.measured.digest() != digest {
                    return Err(StoreError::Corrupt { what: format!("payload {digest}") }.into());
                }
                payloads.insert(payload_uri(&digest), payload);
            }
            Run::Finished { mut verified, parts } => {
                gate::check_sequence(verified.sequence, latest)?;
                gate::check_epoch(
                    verified.epoch,
                    Epochs { lowest: trust.lowest_epoch(), highest: floors.epoch },
                )?;
                if (product.environment == product::Environment::Production) != verified.production {
                    return Err(GateRefusal::Environment.into());
                }
                if parts.len() != product.components.len() {
                    return Err(PipelineError::PayloadDiffers(product.id.to_string()));
                }
                for ((name, tree, uri), component) in parts.into_iter().zip(&product.components) {
                    let Some(Payload { tree: built, inspection, .. }) = payloads.get(&uri) else {
                        return Err(PipelineError::PayloadDiffers(name));
                    };
                    if built.tree != tree || name != component.name {
                        return Err(PipelineError::PayloadDiffers(name));
                    }
                    // A roll-back's version is marked; its payloads' is not.
                    let version = match rolls_back {
                        true => rollback::unmarked(&verified.version),
                        false => verified.version.clone(),
                    };
                    let said = Said { version: &version, epoch: verified.epoch };
                    gate::check_payload(said, product, component, inspection, tree.size())?;
                    verified.components.push(ReleaseComponent {
                        name,
                        artifact: ArtifactId(built.digest),
                        payload: built.digest,
                        size: tree.size(),
                        tree_root: *tree.root(),
                        hash_blocks: store.put_bytes(built.hash_blocks.clone().into()).await?,
                    });
                }
                return Ok(verified);
            }
        }
    }
}

/// Runs the update procedure with the payloads at hand.
fn dry_run(
    admitted: &Admitted<'_>,
    device: &Device<'_>,
    payloads: &HashMap<String, Payload>,
) -> Result<Run, Refusal> {
    let mut machine = admitted.update(device);
    let mut fetched: HashMap<usize, String> = HashMap::new();
    loop {
        match machine.next()? {
            Action::Finished => break,
            Action::Fetch { component, uri, .. } => {
                if !payloads.contains_key(uri) {
                    let digest = uri.strip_prefix("payloads/").and_then(ids::parse_digest);
                    let digest = digest.ok_or(Refusal::Unsupported("a payload outside `payloads/`"))?;
                    let facts = admitted.facts().component(component).ok_or(Refusal::FactsMissing)?;
                    return Ok(Run::Needs { digest, block: facts.tree.block() });
                }
                fetched.insert(component, uri.to_owned());
                machine.done(Outcome::Done);
            }
            Action::Measure { component, .. } => {
                let payload = fetched.get(&component).and_then(|uri| payloads.get(uri));
                machine.done(payload.map_or(Outcome::Failed, |payload| Outcome::Measured(payload.measured)));
            }
            // Copies, swaps and writes depend on what a device holds.
            _ => return Err(Refusal::Unsupported("a release that does not fetch its payloads whole")),
        }
    }
    if !machine.all_matched() {
        return Err(Refusal::ImageMismatch);
    }
    let mut parts = Vec::new();
    for (index, (id, facts, _)) in admitted.components().enumerate() {
        let name = id.parts().first().copied().unwrap_or_default();
        let uri = fetched.remove(&index).ok_or(Refusal::ImageMismatch)?;
        parts.push((String::from_utf8_lossy(name).into_owned(), facts.tree, uri));
    }
    let facts = admitted.facts();
    let verified = Verified {
        manifest: admitted.manifest_digest(),
        channel: facts.channel.to_owned(),
        version: facts.version.parse().map_err(|_| Refusal::Malformed("a version that is not semver"))?,
        sequence: admitted.sequence(),
        epoch: facts.epoch,
        production: facts.environment == Environment::Production,
        components: Vec::new(),
    };
    Ok(Run::Finished { verified, parts })
}
