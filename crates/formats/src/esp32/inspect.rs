//! Inspection of an image: what it says of itself, and its signature blocks.

use firmseal_manifest::{KeyAlgorithm, Tbs};

use super::app::{self, App};
use super::block::Block;
use super::image::{Image, Segment};
use super::{NAME, chip, sector};
use crate::error::FormatError;
use crate::hash::{Hash, array, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim, Load};
use crate::source::Source;

pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let image = Image::read(source)?;
    let mut inspection = describe(source, &image, App::read(source, &image)?.as_ref())?;
    for (index, (_, block)) in blocks(source, &image)?.into_iter().enumerate() {
        let number = index + 1;
        inspection.note(format!("signature block {number} key digest"), hex(&block.key_digest));
        match block.key {
            Some(key) => inspection.signatures.push(ExistingSignature {
                algorithm: key.algorithm(),
                covered: Covered::Tbs(tbs(key.algorithm(), &block.digest)),
                claim: KeyClaim::Key(Box::new(key)),
                signature: block.signature,
            }),
            None => inspection.note(format!("signature block {number}"), "P-192, which is not verified here"),
        }
    }
    Ok(inspection)
}

/// What stands inside the signatures.
pub(super) fn describe(
    source: &dyn Source,
    image: &Image,
    app: Option<&App>,
) -> Result<Inspection, FormatError> {
    let mut inspection = Inspection::new(NAME, image.end);
    inspection.target = Some(chip::name(image.chip));
    // Segments at zero fill the file up to a page of flash.
    let segments = image.segments.iter().filter(|segment| segment.address != 0);
    let load = |segment: &Segment| {
        let size = segment.data.end - segment.data.start;
        Load { address: u64::from(segment.address), size: Some(size) }
    };
    inspection.loads = segments.map(load).collect();
    inspection.load_addresses = inspection.loads.iter().map(|load| load.address).collect();
    match app {
        Some(app) => app.describe(&mut inspection),
        None => app::bootloader(source, image, &mut inspection)?,
    }
    let segments = image
        .segments
        .iter()
        .map(|segment| format!("{:#010x} ({})", segment.address, segment.data.end - segment.data.start));
    inspection.field("segments", segments.collect::<Vec<_>>().join(", "));
    inspection.field("entry point", format!("{:#010x}", image.entry));
    let revision = |number: u16| format!("v{}.{}", number / 100, number % 100);
    let (min, max) = (revision(image.min_revision), revision(image.max_revision));
    inspection.field("chip revisions", format!("{min} to {max}"));
    let flash = format!("mode {:#04x}, size and speed {:#04x}", image.flash_mode, image.flash_size_and_speed);
    inspection.field("flash", flash);
    inspection.field("own hash", if image.has_hash { "appended" } else { "none" });
    Ok(inspection)
}

/// The bytes of the blocks behind an image, and what they say: all of them are
/// over this image.
pub(super) fn blocks(source: &dyn Source, image: &Image) -> Result<Vec<(Vec<u8>, Block)>, FormatError> {
    let Some(at) = image.sector else { return Ok(Vec::new()) };
    let found = sector::read(source, at)?;
    let mut digests: Vec<Vec<u8>> = Vec::new();
    for (_, block) in &found {
        if digests.contains(&block.digest) {
            continue;
        }
        let hash = Hash::of_len(block.digest.len()).unwrap_or(Hash::Sha256);
        if hash.of_range(source, 0..at)? != block.digest {
            return Err(FormatError::DigestMismatch { format: NAME });
        }
        digests.push(block.digest.clone());
    }
    Ok(found)
}

/// What a key signs, of a digest of its hash.
pub(super) fn tbs(algorithm: KeyAlgorithm, digest: &[u8]) -> Tbs {
    match algorithm {
        KeyAlgorithm::P384 => Tbs::Sha384(array(digest)),
        _ => Tbs::Sha256(array(digest)),
    }
}
