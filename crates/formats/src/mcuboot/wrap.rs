//! Wrapping: a raw binary becomes an image, as `imgtool sign` makes one.

use super::NAME;
use super::encryption::Encryption;
use super::endian::Endian;
use super::header::{HEADER_LEN, Header, NON_BOOTABLE, RAM_LOAD, ROM_FIXED, Version};
use super::image::Image;
use super::options::Options;
use super::scheme::Scheme;
use super::tlv::{self, Tlv};
use super::trailer::Trailer;
use crate::error::FormatError;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::source::{Source, for_each_piece, head};

/// The image of a raw binary, and its signed part.
pub(super) fn wrap(
    source: &dyn Source,
    scheme: &Scheme,
    options: &Options,
    version: Version,
    epoch: u32,
) -> Result<(Image, Plan), FormatError> {
    let have = source.len()?;
    if options.append {
        return Err(bad("append", "the file has no signature yet that another one could follow".to_owned()));
    }
    let needed = |name| bad(name, "needed to wrap a raw binary".to_owned());
    let header_size = options.header_size.ok_or_else(|| needed("header-size"))?;
    options.slot.size().ok_or_else(|| needed("slot-size"))?;
    let endian = options.endian.unwrap_or(Endian::Little);
    options.readable(endian)?;
    let payload_at = if options.pad_header { 0 } else { u64::from(header_size) };
    if have <= payload_at {
        return Err(FormatError::Truncated { format: NAME, what: "the image", need: payload_at + 1, have });
    }
    // AES works on blocks: imgtool fills up the last one, counted from the
    // header's start, and the zeros are part of the image.
    let start = u64::from(header_size);
    let filled = match options.encryption {
        Some(_) => (start + have - payload_at).next_multiple_of(16) - start,
        None => have - payload_at,
    };
    let zeros = vec![0; (filled - (have - payload_at)) as usize];
    let image_size = u32::try_from(filled).map_err(|_| FormatError::DoesNotFit {
        format: NAME,
        field: "image size",
        value: filled.to_string(),
        why: "the header has 32 bits for it",
    })?;
    // What the header would overwrite must be room that was left for it:
    // imgtool refuses code there, too.
    let mut used = false;
    for_each_piece(source, 0..payload_at, |piece| {
        used |= piece.iter().any(|byte| *byte != 0);
        Ok(())
    })?;
    if used {
        return Err(bad(
            "pad-header",
            "the binary does not begin with zeros for the header; use true".to_owned(),
        ));
    }

    let mut protected = vec![Tlv::new(tlv::SECURITY_COUNTER, endian.u32_bytes(epoch))];
    protected.extend(options.protected(&version, scheme, endian));
    let area = tlv::encode(tlv::PROTECTED_MAGIC, &protected, endian)
        .ok_or_else(|| FormatError::malformed(NAME, "the protected TLVs are longer than 65535 bytes"))?;
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let header = Header {
        endian,
        load_address: options.load_address.or(options.rom_fixed).unwrap_or(0),
        header_size,
        protected_size: area.len() as u16,
        image_size,
        flags: flag(options.load_address.is_some(), RAM_LOAD)
            | flag(options.rom_fixed.is_some(), ROM_FIXED)
            | flag(options.non_bootable, NON_BOOTABLE)
            | options.encryption.as_ref().map_or(0, Encryption::flag),
        version,
        pad: 0,
    };
    let mut head = vec![if options.pad_header { options.erased } else { 0 }; usize::from(header_size)];
    head[..HEADER_LEN].copy_from_slice(&header.encode());
    let signed = Plan::new(have).bytes(head).source(payload_at..have).bytes(zeros).bytes(area);
    let end = header.signed_end();
    Ok((Image { header, protected, unprotected: Vec::new(), end, trailer: Trailer::None }, signed))
}

/// Refuses files that are no binary yet: wrapped, they would be signed and
/// never run.
pub(super) fn refuse_containers(source: &dyn Source) -> Result<(), FormatError> {
    let refuse = |what: &str, objcopy: &str| {
        Err(FormatError::unsupported(
            NAME,
            format!("{what}, not a raw binary; use `objcopy {objcopy}` first"),
        ))
    };
    match head::<9>(source)? {
        Some([0x7f, b'E', b'L', b'F', ..]) => refuse("an ELF file", "-O binary"),
        Some([b':', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit) => {
            refuse("an Intel HEX file", "-I ihex -O binary")
        }
        Some([b'S', b'0', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit) => {
            refuse("a Motorola S-record file", "-I srec -O binary")
        }
        _ => Ok(()),
    }
}
