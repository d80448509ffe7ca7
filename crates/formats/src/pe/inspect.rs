//! What a PE image says of itself.

use super::image::Image;
use super::{NAME, sbat, spc, table};
use crate::cms::read::Signed;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection};
use crate::source::Source;

/// Machines (*PE Format*, "Machine Types"), by UEFI's names for them (UEFI
/// 2.10 §3.5.1.1).
const MACHINES: [(u16, &str); 7] = [
    (0x014c, "ia32"),
    (0x8664, "x64"),
    (0x01c2, "arm"),
    (0xaa64, "aa64"),
    (0x5032, "riscv32"),
    (0x5064, "riscv64"),
    (0x6264, "loongarch64"),
];

/// What UEFI runs (*PE Format*, "Windows Subsystem").
const SUBSYSTEMS: [(u16, &str); 4] = [
    (10, "EFI application"),
    (11, "EFI boot service driver"),
    (12, "EFI runtime driver"),
    (13, "EFI ROM image"),
];

/// Describes an image.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let image = Image::read(source)?;
    let mut inspection = describe(&image, source)?;
    let mut digests = Vec::new();
    let table = image.table(source)?;
    for entry in table::read(&table)? {
        inspection.signatures.extend(signatures(&image, source, entry, &mut digests)?);
    }
    Ok(inspection)
}

/// What stands inside its signature.
pub(super) fn describe(image: &Image, source: &dyn Source) -> Result<Inspection, FormatError> {
    // With the zeros that signing appends, and hashes.
    let mut inspection = Inspection::new(NAME, image.end.next_multiple_of(8));
    let named = |table: &[(u16, &str)], number: u16| {
        table.iter().find(|(own, _)| *own == number).map(|(_, name)| (*name).to_owned())
    };
    inspection.target =
        Some(named(&MACHINES, image.machine).unwrap_or_else(|| format!("machine {:#06x}", image.machine)));
    let subsystem = named(&SUBSYSTEMS, image.subsystem);
    inspection.field("subsystem", subsystem.unwrap_or_else(|| image.subsystem.to_string()));
    let sections = image.sections.iter().map(|section| {
        let end = section.name.iter().position(|byte| *byte == 0).unwrap_or(8);
        let name: String = section.name[..end].escape_ascii().to_string();
        format!("{name} ({})", section.size)
    });
    inspection.field("sections", sections.collect::<Vec<_>>().join(", "));
    for entry in sbat::read(image, source)? {
        inspection.field(format!("sbat {}", entry.component), entry.generation.to_string());
    }
    inspection.field("authenticode sha256", hex(&image.digest(source, Hash::Sha256)?));
    Ok(inspection)
}

/// Whether UEFI runs it.
pub(super) fn is_efi(image: &Image) -> bool {
    SUBSYSTEMS.iter().any(|(own, _)| *own == image.subsystem)
}

/// The signature of one entry.
fn signatures(
    image: &Image,
    source: &dyn Source,
    entry: &[u8],
    digests: &mut Vec<(Hash, Vec<u8>)>,
) -> Result<Vec<ExistingSignature>, FormatError> {
    let malformed = |why: &str| FormatError::malformed(NAME, format!("a signature of its: {why}"));
    let signed = Signed::read(entry).map_err(malformed)?;
    let (spc::INDIRECT_DATA, Some(content)) = (signed.content_type, signed.content) else {
        return Err(malformed("is over something else than an image"));
    };
    // "Authenticode supports only one signer".
    if signed.signers.len() != 1 {
        return Err(malformed("has more than one signer"));
    }
    let hashed = spc::hashed(content.whole).map_err(malformed)?;
    let mut found = signed.signatures(|hash| Ok::<_, FormatError>(hash.of(hashed)))?;
    let said = spc::read(content).map_err(malformed)?;
    // Each hash once, however many signatures there are.
    if let Some((hash, _)) = said
        && !digests.iter().any(|(own, _)| *own == hash)
    {
        digests.push((hash, image.digest(source, hash)?));
    }
    let why = match said {
        None => Some("it hashes the image with something else than SHA-2"),
        Some((hash, digest)) if !digests.iter().any(|(own, it)| *own == hash && it == digest) => {
            Some("the image is not the one that was signed")
        }
        Some(_) => None,
    };
    if let Some(why) = why {
        found.iter_mut().for_each(|own| own.covered = Covered::Unknown(why));
    }
    Ok(found)
}
