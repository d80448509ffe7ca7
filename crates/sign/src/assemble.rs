//! Assembling: a release on paper, for people who sign it elsewhere.
//!
//! No key, no registry and no log: files, a product and numbers go in, and
//! what comes out is what the gate lets through. Whoever signs it looks at
//! the bytes again.

use std::fs::File;

use firmseal_fleet::{Product, product};
use firmseal_manifest::{ChannelName, Digest, Environment, PayloadTree, ReleaseSpec, author};
use semver::Version;

use crate::component::{block, detected};
use crate::error::PipelineError;
use crate::gate::{self, GateRefusal, Said};
use crate::rollback::unmarked;
use crate::spool;

/// What a release shall be called, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// The sequence number.
    pub sequence: u64,
    /// The security epoch.
    pub epoch: u64,
    /// Of a roll-back that is signed ahead: the manifest that must have been
    /// revoked.
    pub rollback_of: Option<Digest>,
}

/// Assembles the manifest of these files: one for each component of the
/// product, in its order. In formats that carry a signature of their own,
/// the images are signed already.
pub fn assemble(
    product: &Product,
    names: Names,
    files: &[(String, File)],
) -> Result<(ReleaseSpec, Vec<PayloadTree>), PipelineError> {
    let wanted: Vec<&str> = product.components.iter().map(|component| component.name.as_str()).collect();
    let got: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    if wanted != got {
        let product = product.id.to_string();
        return Err(
            GateRefusal::Components { product, wanted: wanted.join(", "), got: got.join(", ") }.into()
        );
    }
    let format = firmseal_formats::find(&product.format)
        .map_err(|error| PipelineError::Format { component: product.id.to_string(), error })?;
    // A roll-back's version may be marked; its payloads' is not.
    let version = match names.rollback_of {
        Some(_) => unmarked(&names.version),
        None => names.version.clone(),
    };
    let said = Said { version: &version, epoch: names.epoch };
    let (mut components, mut trees) = (Vec::new(), Vec::new());
    for ((name, file), component) in files.iter().zip(&product.components) {
        let inspection = detected(format, file)
            .map_err(|error| PipelineError::Format { component: name.clone(), error })?;
        let payload = spool::tree(file, block(component.block_size))?;
        gate::check_payload(said, product, component, &inspection, payload.tree.size())?;
        if format.embedding().is_some() && inspection.signatures.is_empty() {
            return Err(GateRefusal::Unsigned { component: name.clone() }.into());
        }
        components.push(author::ComponentSpec {
            name: name.clone(),
            size: payload.tree.size(),
            digest: payload.digest,
            slot: None,
            block: payload.tree.block(),
            tree_root: *payload.tree.root(),
        });
        trees.push(payload);
    }
    let spec = ReleaseSpec {
        environment: match product.environment {
            product::Environment::Test => Environment::Test,
            product::Environment::Production => Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        product: product.id.clone(),
        channel: names.channel,
        version: names.version,
        sequence: names.sequence,
        epoch: names.epoch,
        delegation: 0,
        rollback_of: names.rollback_of,
        components,
        description: None,
    };
    Ok((spec, trees))
}
