//! A bundle's end: CMS, and its length in eight bytes, big endian.

use std::io;
use std::ops::Range;

use super::NAME;
use crate::error::FormatError;
use crate::source::Source;

/// "Signature size exceeds 64KiB" is RAUC's word to longer ones.
pub(super) const CMS_MAX: u64 = 64 * 1024;
/// Length of the length.
pub(super) const LENGTH: u64 = 8;
/// 1.2.840.113549.1.7, without the last number: PKCS #7's kinds of content.
const PKCS7: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
const SIGNED: u8 = 2;
const ENVELOPED: u8 = 3;

/// Where the CMS lies, if the file ends as a bundle does: in signed or
/// enveloped data of just the length that is said.
pub(super) fn tail(source: &dyn Source) -> io::Result<Option<Range<u64>>> {
    let Some(end) = source.len()?.checked_sub(LENGTH) else { return Ok(None) };
    let mut length = [0; LENGTH as usize];
    source.read_at(end, &mut length)?;
    let length = u64::from_be_bytes(length);
    let mut head = [0; 16];
    if !(head.len() as u64..=CMS_MAX).contains(&length) || length > end {
        return Ok(None);
    }
    source.read_at(end - length, &mut head)?;
    // Longer than 127 bytes is whatever holds a signature.
    let (size, content): (u64, &[u8]) = match head {
        [0x30, 0x81, len, ref rest @ ..] => (3 + u64::from(len), rest),
        [0x30, 0x82, high, low, ref rest @ ..] => (4 + u64::from(u16::from_be_bytes([high, low])), rest),
        _ => return Ok(None),
    };
    let is_ours = content.strip_prefix(PKCS7).is_some_and(|rest| matches!(rest, [SIGNED | ENVELOPED, ..]));
    Ok((is_ours && size == length).then_some(end - length..end))
}

/// The CMS of a bundle, and where the payload before it ends.
pub(super) struct Bundle {
    pub(super) payload_end: u64,
    pub(super) cms: Vec<u8>,
}

impl Bundle {
    pub(super) fn read(source: &dyn Source) -> Result<Bundle, FormatError> {
        let Some(place) = tail(source)? else {
            return Err(FormatError::malformed(
                NAME,
                "it does not end in CMS of up to 64 KiB and its length, as bundles do",
            ));
        };
        let mut cms = vec![0; (place.end - place.start) as usize];
        source.read_at(place.start, &mut cms)?;
        Ok(Bundle { payload_end: place.start, cms })
    }
}
