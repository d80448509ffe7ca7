//! Releases read back: what an envelope says, as its author would say it.
//!
//! For people who are asked to sign a release that somebody else has
//! written down. Nobody believes what is read here: it is assembled again,
//! and unless that gives the same manifest, byte for byte, it is none of
//! ours. So what is shown is what is signed.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::envelope::TEXT;
use firmseal_core::{Digest, Envelope, Manifest, Refusal};
use minicbor::Decoder;
use uuid::Uuid;

use crate::author::{ComponentSpec, ReleaseSpec};
use crate::ids::ProductId;

/// Command `override-parameters`, and the parameter `image-digest` in it.
const SET: i64 = 20;
const IMAGE_DIGEST: u64 = 3;

/// Why an envelope is not read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is malformed, or says more than a device understands.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It says what it says in other commands than ours.
    #[error("the manifest is not written as Firmseal writes it")]
    Spelling,
}

impl ReleaseSpec {
    /// Reads an envelope, signed or not. Signatures, delegation and evidence
    /// say nothing of what a release is, and are not looked at.
    pub fn of(envelope: &[u8]) -> Result<ReleaseSpec, ReadError> {
        let envelope = Envelope::decode(envelope)?;
        let manifest = Manifest::decode(&envelope, &RustCrypto)?;
        let spec = read(&envelope, &manifest).ok_or(ReadError::Spelling)?;
        let again = spec.assemble().map_err(|_| ReadError::Spelling)?;
        // The manifest names its severed members by their digests: the same
        // one has the same commands in them.
        match again.digest() == RustCrypto.digest(envelope.manifest().wrapped) {
            true => Ok(spec),
            false => Err(ReadError::Spelling),
        }
    }
}

fn read(envelope: &Envelope<'_>, manifest: &Manifest<'_>) -> Option<ReleaseSpec> {
    let facts = manifest.facts()?;
    let mut digests = digests(envelope.manifest().content)?.into_iter();
    let mut components = Vec::new();
    for (id, facts) in manifest.components().zip(facts.components()) {
        let [name] = id.parts() else { return None };
        components.push(ComponentSpec {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            size: facts.tree.size(),
            digest: digests.next()?,
            slot: facts.slot,
            block: facts.tree.block(),
            tree_root: *facts.tree.root(),
        });
    }
    Some(ReleaseSpec {
        environment: facts.environment,
        vendor: Uuid::from_bytes(*facts.vendor),
        class: Uuid::from_bytes(*facts.class),
        product: facts.product.parse::<ProductId>().ok()?,
        channel: facts.channel.parse().ok()?,
        version: facts.version.parse().ok()?,
        sequence: manifest.sequence,
        epoch: facts.epoch,
        delegation: facts.delegation,
        rollback_of: facts.rollback_of,
        components,
        description: match envelope.severed(TEXT) {
            Some(member) => Some(description(member.content)?),
            None => None,
        },
    })
}

/// The digests of the payloads, in the order of the components: facts have
/// their trees alone.
fn digests(manifest: &[u8]) -> Option<Vec<Digest>> {
    let common = member(manifest, 3)?;
    let mut shared = Decoder::new(member(common, 4)?);
    let mut found = Vec::new();
    for _ in 0..shared.array().ok()?? / 2 {
        if shared.i64().ok()? != SET {
            shared.skip().ok()?;
            continue;
        }
        for _ in 0..shared.map().ok()?? {
            if shared.u64().ok()? != IMAGE_DIGEST {
                shared.skip().ok()?;
                continue;
            }
            // A SUIT_Digest: the algorithm, then the digest.
            let mut digest = Decoder::new(shared.bytes().ok()?);
            digest.array().ok()?;
            digest.skip().ok()?;
            found.push(Digest(digest.bytes().ok()?.try_into().ok()?));
        }
    }
    Some(found)
}

/// A member of a map that is a byte string.
fn member(map: &[u8], label: i64) -> Option<&[u8]> {
    let mut reader = Decoder::new(map);
    for _ in 0..reader.map().ok()?? {
        if reader.i64().ok()? == label {
            return reader.bytes().ok();
        }
        reader.skip().ok()?;
    }
    None
}

fn description(text: &[u8]) -> Option<String> {
    let mut reader = Decoder::new(text);
    reader.map().ok()?;
    reader.str().ok()?;
    reader.map().ok()?;
    reader.u64().ok()?;
    reader.str().ok().map(str::to_owned)
}
