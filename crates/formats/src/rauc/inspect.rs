//! What a bundle says of itself.

use super::bundle::Bundle;
use super::envelope::Envelope;
use super::manifest::Manifest;
use super::sign::with_cms;
use super::squashfs::{self, SUPERBLOCK};
use super::{NAME, payload};
use crate::cms;
use crate::cms::read::Signed;
use crate::decryption_key::{DecryptionKey, Held};
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::plan::Plan;
use crate::source::Source;

/// Longest plain payload: OpenSSL takes lengths of 31 bits, and of what was
/// longer RAUC signed and verified the first bytes (CVE-2026-34155).
const PLAIN_MAX: u64 = i32::MAX as u64;

/// A bundle that was read, payload and all.
pub(super) struct Examined {
    pub(super) inspection: Inspection,
    /// Where payload and tree end.
    pub(super) payload_end: u64,
    pub(super) shape: Shape,
}

/// What a bundle's signature is over.
pub(super) enum Shape {
    /// The payload itself.
    Plain,
    /// This manifest, which holds the root of the payload's tree.
    Manifest(Vec<u8>),
    /// Nobody without a recipient's key can tell.
    Enveloped,
}

/// Reads a bundle.
pub(super) fn examine(source: &dyn Source) -> Result<Examined, FormatError> {
    let Bundle { payload_end, cms } = Bundle::read(source)?;
    if Envelope::is_one(&cms) {
        let envelope = Envelope::read(&cms).map_err(in_cms)?;
        let inspection = sealed(&envelope, payload_end);
        return Ok(Examined { inspection, payload_end, shape: Shape::Enveloped });
    }
    let signed = Signed::read(&cms).map_err(in_cms)?;
    if signed.content_type != cms::DATA {
        return Err(in_cms("it is over something else than data"));
    }
    // RAUC takes no other number.
    if signed.signers.len() != 1 {
        return Err(in_cms("it has more than one signer"));
    }
    let (mut inspection, shape) = match signed.content {
        None => (plain(source, payload_end)?, Shape::Plain),
        Some(content) => {
            let manifest = cms::octets(content).map_err(in_cms)?;
            (described(source, manifest, payload_end)?, Shape::Manifest(manifest.to_vec()))
        }
    };
    inspection.signatures = signed.signatures(|hash| match &shape {
        Shape::Manifest(manifest) => Ok(hash.of(manifest)),
        _ => hash.of_range(source, 0..payload_end),
    })?;
    Ok(Examined { inspection, payload_end, shape })
}

/// What a manifest says, and the payload that it is over: `end` is where the
/// tree ends.
fn described(source: &dyn Source, manifest: &[u8], end: u64) -> Result<Inspection, FormatError> {
    let manifest = Manifest::read(manifest)?;
    let len = payload::check(source, &manifest.terms()?, end)?;
    let mut inspection = Inspection::new(NAME, len);
    manifest.describe(&mut inspection);
    Ok(inspection)
}

/// A payload that is signed as it is.
fn plain(source: &dyn Source, len: u64) -> Result<Inspection, FormatError> {
    if len > PLAIN_MAX {
        return Err(FormatError::unsupported(
            NAME,
            "a plain bundle beyond 2 GiB, of which RAUC has verified but a part; build it with format=verity",
        ));
    }
    let mut superblock = [0; SUPERBLOCK];
    if len >= SUPERBLOCK as u64 {
        source.read_at(0, &mut superblock)?;
    }
    squashfs::check(&superblock, len)?;
    let mut inspection = Inspection::new(NAME, len);
    inspection.field("bundle format", "plain");
    inspection.field("payload sha256", hex(&Hash::Sha256.of_range(source, 0..len)?));
    inspection
        .note("manifest", "in the squashfs, where it is not read: version and compatible are not known");
    Ok(inspection)
}

/// A bundle whose signature is encrypted.
fn sealed(envelope: &Envelope<'_>, len: u64) -> Inspection {
    let mut inspection = Inspection::new(NAME, len);
    inspection.encrypted = true;
    inspection.field("bundle format", "crypt");
    for recipient in &envelope.recipients {
        inspection.note("recipient", recipient.told());
    }
    inspection
        .note("signature", "in the CMS that is encrypted: a recipient's key shows manifest and signature");
    inspection
}

/// A sealed bundle with its CMS in the clear, as it was signed.
pub(super) fn opened(source: &dyn Source, key: &DecryptionKey) -> Result<Plan, FormatError> {
    let Bundle { payload_end, cms } = Bundle::read(source)?;
    if !Envelope::is_one(&cms) {
        return Err(FormatError::unsupported(NAME, "the bundle is not encrypted for recipients"));
    }
    let envelope = Envelope::read(&cms).map_err(in_cms)?;
    let Held::Agreement(key) = &key.0 else {
        return Err(FormatError::unsupported(
            NAME,
            "the device's key; bundles are opened with keys of P-256",
        ));
    };
    let cms = envelope.open(key).ok_or(FormatError::NotForThisKey)?;
    // RAUC takes an envelope around a manifest's signature, and none around a
    // payload's or another envelope.
    if Signed::read(&cms).map_err(in_cms)?.content.is_none() {
        return Err(in_cms("what is encrypted in it is over no manifest"));
    }
    Ok(with_cms(Plan::new(source.len()?).source(0..payload_end), cms))
}

fn in_cms(why: &str) -> FormatError {
    FormatError::malformed(NAME, format!("its CMS: {why}"))
}
