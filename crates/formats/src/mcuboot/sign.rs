//! Signing: a raw binary is wrapped as `imgtool sign` wraps it, an image
//! gets new TLVs behind its unchanged signed part.

use firmseal_manifest::Signature;

use super::NAME;
use super::encryption::Seed;
use super::existing::existing;
use super::header::{Magic, Version};
use super::inspect::describe;
use super::options::Options;
use super::scheme::Scheme;
use super::tlv;
use super::wrap::{refuse_containers, wrap};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::keystream::Keystream;
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
    let magic = head::<4>(source)?.and_then(Magic::of);
    // As text a binary is larger than its slot: the text is what to tell of.
    if magic.is_none() {
        refuse_containers(source)?;
    }
    // Nothing is read through, let alone hashed, that could not be installed
    // (THREATS 9); the exact bound follows when the layout is known.
    options.slot.fits_bare(source.len()?)?;
    let (image, signed) = match magic {
        Some(_) => existing(source, wanted.key, &scheme, &options, version, epoch)?,
        None => wrap(source, &scheme, &options, version, epoch)?,
    };
    // What others have signed stays before what is added; whom it was
    // encrypted for does not.
    let mut kept = if options.append { image.unprotected.clone() } else { Vec::new() };
    kept.retain(|tlv| !tlv::is_content_key(tlv.kind));
    let encryption = options.encryption.clone();
    let wrapped_len = encryption.as_ref().map_or(0, |own| tlv::HEAD_LEN + own.wrapped_len());
    // Before hashing: the largest file this can become must fit.
    let longest = signed.output_len() + (scheme.area_max(&kept) + wrapped_len) as u64;
    options.slot.fits(longest)?;
    let digest = scheme.hash.of_range(&signed.over(source)?, 0..signed.output_len())?;
    let tbs = scheme.tbs(&signed, source, &digest)?;
    let wrapped = match &encryption {
        Some(encryption) => Some(encryption.wrap(&Seed::of(&signed.over(source)?)?)?),
        None => None,
    };
    let payload = u64::from(image.header.header_size)..image.header.image_end();
    let (endian, slot) = (image.header.endian, options.slot);
    let inspection = describe(&image, longest);
    let attach = move |signature: &Signature| {
        let mut area = if kept.is_empty() { scheme.digest(&digest) } else { kept.clone() };
        area.extend(scheme.signature(signature)?);
        area.extend(wrapped.iter().map(|wrapped| wrapped.tlv.clone()));
        let area = tlv::encode(tlv::INFO_MAGIC, &area, endian)
            .ok_or_else(|| FormatError::malformed(NAME, "the TLVs are longer than 65535 bytes"))?;
        let mut plan = signed.clone().bytes(area);
        if let Some((erased, end)) = slot.padding(plan.output_len(), endian) {
            plan = plan.fill(slot.erased(), erased).bytes(end);
        }
        let stream = match (&wrapped, &encryption) {
            (Some(wrapped), Some(encryption)) if !encryption.clear => Keystream::new(&wrapped.content_key),
            _ => return Ok(plan),
        };
        // A length of key that no stream has would leave the payload readable.
        let stream = stream.ok_or_else(|| FormatError::unsupported(NAME, "a content key of this length"))?;
        Ok(plan.under(payload.clone(), stream))
    };
    Ok(Unsigned::new(tbs, inspection, Box::new(attach)))
}
