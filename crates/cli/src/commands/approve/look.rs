//! Looking at a release before agreeing to it: everything is read, hashed
//! and compared here.

use std::fs::File;
use std::io::Write;

use firmseal_api::requests::SigningRequest;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::evidence::holder_id;
use firmseal_core::{BlockSize, Digest, KeyId, Root, StatementPurpose};
use firmseal_evidence::Materials;
use firmseal_manifest::{ArtifactId, Statement, TreeBuilder};
use firmseal_sign::review::{self, Difference, Side};

use super::source::Source;
use crate::bundle_file::said;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// What was found in the bytes.
pub(super) struct Seen {
    pub(super) after: Side,
    pub(super) difference: Difference,
    pub(super) header: Digest,
    /// What each payload says of itself, for people.
    pub(super) payloads: Vec<String>,
}

pub(super) fn lies(what: &str) -> CliError {
    CliError::new(Kind::Refused, format_args!("{what} is not what the server says of it"))
        .hint("do not approve; tell whoever runs the server")
}

/// Reads everything that the release will be made of.
pub(super) async fn look(source: &Source, told: &SigningRequest, output: &Output) -> Result<Seen> {
    let after = Side::read(&source.unsigned(told.id).await?)?;
    if after.manifest != told.manifest.0 {
        return Err(lies("the manifest"));
    }
    let product = source.product(&told.product).await?;
    let (mut headers, mut payloads) = (Vec::new(), Vec::new());
    if after.components.len() != told.components.len() || after.product != told.product.as_str() {
        return Err(lies("the list of components"));
    }
    for (part, payload) in after.components.iter().zip(&told.components) {
        let component = product.components.iter().find(|component| component.name == part.name);
        let block = component.and_then(|component| BlockSize::from_bytes(u64::from(component.block_size)));
        let block = block.ok_or_else(|| lies("the product"))?;
        output.note(format_args!("reading component {}: {} bytes", part.name, part.size));
        let mut incoming = source.payload(told.id, payload.payload, part.size)?;
        let (mut copy, mut tree) = (tempfile::tempfile()?, TreeBuilder::new(block));
        while let Some(piece) = incoming.piece().await? {
            copy.write_all(&piece)?;
            tree.update(&piece);
        }
        // The tree is in the manifest: what it covers is what devices write.
        if *tree.finish()?.tree.root() != part.tree_root || payload.component != part.name {
            return Err(lies(&format!("the payload of component {}", part.name)));
        }
        let read = inspect(copy, &product.format)?;
        headers.push((part.name.clone(), read.0));
        payloads.push(format!("{}: {}", part.name, read.1));
    }
    let before = match told.previous {
        Some(previous) => {
            let envelope = source.previous(&told.product, previous).await?;
            let side = Side::read(&envelope.ok_or_else(|| lies("the release before"))?)?;
            match side.manifest == previous.0 {
                true => Some(side),
                false => return Err(lies("the release before")),
            }
        }
        None => None,
    };
    let header = review::header(&headers);
    let sboms = [
        materials(source, told, told.previous_sbom, "the bill of materials before").await?,
        materials(source, told, told.sbom, "the bill of materials").await?,
    ];
    let evidence = told.evidence.clone();
    let difference = Difference { before, after: after.clone(), sboms, evidence };
    Ok(Seen { after, difference, header, payloads })
}

/// A bill of materials, if it is the one that is named.
async fn materials(
    source: &Source,
    told: &SigningRequest,
    named: Option<ArtifactId>,
    what: &str,
) -> Result<Option<Materials>> {
    let Some(id) = named else { return Ok(None) };
    let sbom = Materials::read(&source.sbom(told.id, id).await?)
        .map_err(|error| CliError::new(Kind::Refused, error).about(format_args!("{what} {id}")))?;
    if sbom.digest() == id.0 { Ok(Some(sbom)) } else { Err(lies(what)) }
}

/// What the format's parser reads of a payload: its digest, and a line.
fn inspect(copy: File, format: &str) -> Result<(Digest, String)> {
    let inspection = review::inspect(format, &copy)?;
    let line = said(&inspection);
    Ok((inspection.digest(), line))
}

/// The Statement over what was seen. Where the server's request says
/// otherwise, nobody should sign.
pub(super) fn statement_of(told: &SigningRequest, seen: &Seen, root: &Root<'_>) -> Result<Statement> {
    let difference = seen.difference.digest();
    if seen.header != told.header.0 {
        return Err(lies("what the payloads say of themselves"));
    }
    if difference != told.difference.0 {
        return Err(lies("the difference from the release before"));
    }
    let said = (told.version.to_string(), told.channel.to_string(), told.sequence, told.epoch);
    let read =
        (seen.after.version.clone(), seen.after.channel.clone(), seen.after.sequence, seen.after.epoch);
    if said != read || seen.after.environment != root.environment() {
        return Err(lies("version, channel, sequence, epoch or environment"));
    }
    // Shown is a name, signed a digest: whoever asked must be the same.
    if told.requester_id.0 != holder_id(&told.requester, &RustCrypto) {
        return Err(lies("who asked for it"));
    }
    Ok(Statement {
        purpose: StatementPurpose::Approval,
        environment: root.environment(),
        lineage: *root.lineage(),
        request: told.id,
        manifest: seen.after.manifest,
        signers: told.signers.iter().map(|id| KeyId(id.0)).collect(),
        previous: told.previous.map(|previous| previous.0),
        expiry: told.expiry,
        header: seen.header,
        difference,
        policy: told.policy.0,
        requester: told.requester_id.0,
    })
}
