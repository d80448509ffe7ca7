//! Inspection of a capsule: what its signature covers, and all that it does
//! not.

use firmseal_manifest::{KeyAlgorithm, Tbs};

use super::NAME;
use super::authentication::{Authentication, begins};
use super::frame::{AUTHENTICATION, Capsule, DEPENDENCY, INITIATE_RESET, Item, PERSIST_ACROSS_RESET};
use super::payload_header::{self, PayloadHeader};
use crate::cms;
use crate::cms::read::Signed;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection};
use crate::plan::Plan;
use crate::source::Source;

pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let capsule = Capsule::read(source)?;
    let (mut inspection, mut found) = match capsule.items.as_slice() {
        [item] => one(source, &capsule, item)?,
        _ => several(source, &capsule)?,
    };
    if let Some(why) = unsigned_parts(&capsule) {
        found.iter_mut().for_each(|own| own.covered = Covered::Unknown(why));
    }
    inspection.signatures = found;
    notes(&mut inspection, &capsule);
    Ok(inspection)
}

/// A capsule with one payload, of which everything that counts is signed.
fn one(
    source: &dyn Source,
    capsule: &Capsule,
    item: &Item,
) -> Result<(Inspection, Vec<ExistingSignature>), FormatError> {
    let authentication = authentication(source, item)?;
    let payload = authentication.as_ref().map_or(item.image.clone(), |own| own.payload.clone());
    let plan = Plan::new(source.len()?).source(payload);
    let count = authentication.as_ref().map(|own| own.count);
    let inspection = match unsigned_parts(capsule) {
        None => describe(&plan.over(source)?, count)?,
        // Whether its payload is what is updated nobody vouches for.
        Some(_) => Inspection::new(NAME, plan.output_len()),
    };
    let found = match &authentication {
        Some(authentication) => signatures(source, authentication)?,
        None => Vec::new(),
    };
    Ok((inspection, found))
}

/// A capsule without payload, or with several: each signature in it is over one
/// of them, and none over how they belong together.
fn several(
    source: &dyn Source,
    capsule: &Capsule,
) -> Result<(Inspection, Vec<ExistingSignature>), FormatError> {
    let mut found = Vec::new();
    for item in &capsule.items {
        if let Some(authentication) = authentication(source, item)? {
            found.extend(signatures(source, &authentication)?);
        }
    }
    let size = capsule.items.iter().map(|item| item.image.end - item.image.start).sum();
    Ok((Inspection::new(NAME, size), found))
}

/// What a device does with, and no signature covers: then the signature of a
/// payload is none of the capsule.
pub(super) fn unsigned_parts(capsule: &Capsule) -> Option<&'static str> {
    let [item] = capsule.items.as_slice() else {
        return Some("the capsule has no payload or several, and a signature is over one");
    };
    if capsule.drivers > 0 {
        return Some("the capsule has drivers, which no signature of its covers");
    }
    (!item.vendor_code.is_empty())
        .then_some("its payload has vendor code behind it, which no signature covers")
}

/// The authentication of a payload, if there is one.
pub(super) fn authentication(
    source: &dyn Source,
    item: &Item,
) -> Result<Option<Authentication>, FormatError> {
    let announced = match item.header.version {
        3 => Some(item.header.support & AUTHENTICATION != 0),
        _ => None,
    };
    let there = begins(source, &item.image)?;
    if announced == Some(false) && there {
        return Err(FormatError::malformed(
            NAME,
            "it has an authentication, and its header says that it has none",
        ));
    }
    if announced == Some(true) || there {
        return Authentication::read(source, item.image.clone()).map(Some);
    }
    Ok(None)
}

/// What stands inside the signature over a payload and its count.
pub(super) fn describe(payload: &dyn Source, count: Option<u64>) -> Result<Inspection, FormatError> {
    let len = payload.len()?;
    let mut inspection = Inspection::new(NAME, len);
    inspection.epoch = count;
    let versions = PayloadHeader::read(payload)?;
    if let Some(versions) = versions {
        inspection.field("firmware version", told(versions.version));
        inspection.field("lowest supported version", told(versions.lowest));
    }
    // The firmware as its build made it.
    let start = versions.map_or(0, |_| payload_header::LEN);
    inspection.field("payload sha256", hex(&Hash::Sha256.of_range(payload, start..len)?));
    Ok(inspection)
}

fn told(version: u32) -> String {
    format!("{version} ({version:#010x})")
}

/// The signature of an authentication.
fn signatures(source: &dyn Source, own: &Authentication) -> Result<Vec<ExistingSignature>, FormatError> {
    let malformed = |why: &str| FormatError::malformed(NAME, format!("its signature: {why}"));
    let mut bytes = vec![0; (own.signature.end - own.signature.start) as usize];
    source.read_at(own.signature.start, &mut bytes)?;
    // Nothing follows the signature in its certificate: what stood there none
    // would cover.
    let signed = Signed::read(&bytes).map_err(malformed)?;
    if signed.content_type != cms::DATA || signed.content.is_some() {
        return Err(malformed("is over a content of its own, and not over a payload"));
    }
    // edk2 wants all signers to be right, U-Boot one of them.
    if signed.signers.len() != 1 {
        return Err(malformed("has more than one signer"));
    }
    // "a signature across the image data and the Monotonic Count value"
    // (UEFI 2.10 §23.1). One without signed attributes would be over the hash
    // of these bytes themselves, which is what keys sign for files of format
    // `raw`: firmware takes it, and here it is read and not believed.
    let ranges = [own.payload.clone(), own.count_at.clone()];
    let mut found: Vec<ExistingSignature> =
        signed.signatures(|hash| Ok::<_, FormatError>(hash.of_ranges(source, &ranges, 0)?))?;
    // edk2 and OpenSSL's smime read PKCS #7, which has no PSS and no Ed25519.
    for own in &mut found {
        let is_ecdsa = matches!(own.algorithm, KeyAlgorithm::P256 | KeyAlgorithm::P384);
        if matches!(own.covered, Covered::Tbs(_))
            && !is_ecdsa
            && !matches!(own.covered, Covered::Tbs(Tbs::Pkcs1(_)))
        {
            own.covered = Covered::Unknown("firmware verifies PKCS #1 v1.5 and ECDSA, and nothing else");
        }
    }
    Ok(found)
}

/// What stands outside of every signature.
fn notes(inspection: &mut Inspection, capsule: &Capsule) {
    let flags = capsule.header.flags;
    let named = [(PERSIST_ACROSS_RESET, "persist across reset"), (INITIATE_RESET, "initiate reset")];
    let names: Vec<_> = named.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    inspection.note(
        "capsule flags",
        format!("{flags:#x} ({})", if names.is_empty() { "none".to_owned() } else { names.join(", ") }),
    );
    if capsule.drivers > 0 {
        inspection.note("drivers", capsule.drivers.to_string());
    }
    if capsule.items.len() != 1 {
        inspection.note("payloads", capsule.items.len().to_string());
    }
    for item in &capsule.items {
        let header = &item.header;
        inspection.note("image type", header.type_id.to_string());
        inspection.note("image index", header.index.to_string());
        inspection.note("image header", format!("version {}", header.version));
        if header.version >= 2 {
            let instance = header.hardware_instance;
            let text = if instance == 0 { "all".to_owned() } else { instance.to_string() };
            inspection.note("hardware instance", text);
        }
        if header.support & DEPENDENCY != 0 {
            inspection.note("dependencies", "an expression before the payload, which is not read here");
        }
        if header.support & !(AUTHENTICATION | DEPENDENCY) != 0 {
            inspection.note("image capsule support", format!("{:#x}", header.support));
        }
        if !item.vendor_code.is_empty() {
            let len = item.vendor_code.end - item.vendor_code.start;
            inspection.note("vendor code", format!("{len} bytes"));
        }
    }
}
