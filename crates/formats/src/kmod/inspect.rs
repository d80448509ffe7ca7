//! What a module says of itself.

use super::appended::Appended;
use super::elf::Elf;
use super::modinfo::ModInfo;
use super::{NAME, pkcs7};
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::source::Source;

/// Describes a module with its signatures.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let appended = Appended::read(source)?;
    let mut out = describe(source, appended.end)?;
    let signers = match &appended.pkcs7 {
        None => Vec::new(),
        Some(bytes) => {
            pkcs7::read(bytes).map_err(|why| FormatError::malformed(NAME, format!("its signature: {why}")))?
        }
    };
    // Each hash once, however many signers there are.
    let mut digests: Vec<(Hash, Vec<u8>)> = Vec::new();
    for signer in &signers {
        let signature = signer.signature(|hash| {
            if let Some((_, digest)) = digests.iter().find(|(own, _)| *own == hash) {
                return Ok::<_, FormatError>(digest.clone());
            }
            let digest = hash.of_range(source, 0..appended.end)?;
            digests.push((hash, digest.clone()));
            Ok(digest)
        })?;
        let known = if signature.is_some() { "" } else { ", of a kind that is not known here" };
        out.note("signer", format!("{}{known}", signer.name));
        out.signatures.extend(signature);
    }
    Ok(out)
}

/// What stands inside the signature.
pub(super) fn describe(source: &dyn Source, end: u64) -> Result<Inspection, FormatError> {
    let elf = Elf::read(source, end)?;
    let info = ModInfo::read(source, &elf.modinfo)?;
    let mut out = Inspection::new(NAME, end);
    out.target = info.one("vermagic")?;
    out.field("machine", elf.machine);
    // A module's own version is any text, and none that orders are held
    // against.
    let told = [
        ("name", info.one("name")?),
        ("version", info.all("version")),
        ("srcversion", info.one("srcversion")?),
        ("license", info.all("license")),
        ("depends", info.one("depends")?),
        ("firmware", info.all("firmware")),
    ];
    for (key, value) in told {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.field(key, value);
        }
    }
    out.field("sha256", hex(&Hash::Sha256.of_range(source, 0..end)?));
    Ok(out)
}
