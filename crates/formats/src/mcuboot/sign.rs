//! Signing: a raw binary is wrapped as `imgtool sign` wraps it, an image
//! gets new TLVs behind its unchanged signed part.

use firmseal_manifest::Signature;

use super::NAME;
use super::existing::existing;
use super::header::{Magic, Version};
use super::inspect::describe;
use super::options::Options;
use super::scheme::Scheme;
use super::tlv;
use super::wrap::wrap;
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::source::{Source, head};

pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    let options = Options::parse(wanted.parameters)?;
    let scheme = Scheme::of(wanted.key, &options)?;
    let version = Version::of(&wanted.version)?;
    let epoch = u32::try_from(wanted.epoch).map_err(|_| FormatError::DoesNotFit {
        format: NAME,
        field: "security epoch",
        value: wanted.epoch.to_string(),
        why: "the security counter goes up to 4294967295",
    })?;
    // Nothing is read through, let alone hashed, that could not be installed
    // (THREATS 9); the exact bound follows when the layout is known.
    options.fits_bare(source.len()?)?;
    let (image, signed) = match head::<4>(source)?.and_then(Magic::of) {
        Some(_) => existing(source, wanted.key, &scheme, &options, version, epoch)?,
        None => wrap(source, &scheme, &options, version, epoch)?,
    };
    // What others have signed stays before what is added.
    let kept = if options.append { image.unprotected.clone() } else { Vec::new() };
    // Before hashing: the largest file this can become must fit.
    options.fits(signed.output_len() + scheme.area_max(&kept) as u64)?;
    let digest = scheme.hash.of_range(&signed.over(source)?, 0..signed.output_len())?;
    let tbs = scheme.tbs(&signed, source, &digest)?;
    let attach = move |signature: &Signature| {
        let mut area = if kept.is_empty() { scheme.digest(&digest) } else { kept.clone() };
        area.extend(scheme.signature(signature)?);
        let area = tlv::encode(tlv::INFO_MAGIC, &area)
            .ok_or_else(|| FormatError::malformed(NAME, "the TLVs are longer than 65535 bytes"))?;
        Ok(signed.clone().bytes(area))
    };
    Ok(Unsigned::new(tbs, describe(&image), Box::new(attach)))
}
