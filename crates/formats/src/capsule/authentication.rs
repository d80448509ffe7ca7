//! EFI_FIRMWARE_IMAGE_AUTHENTICATION (UEFI 2.10 §23.1): a count, and a
//! WIN_CERTIFICATE_UEFI_GUID (§32.2.4) with the signature.

use std::ops::Range;

use super::NAME;
use super::frame::read;
use crate::error::FormatError;
use crate::source::Source;

/// The count.
pub(super) const COUNT_LEN: u64 = 8;
/// Count, and the certificate's header.
const HEADER_LEN: u64 = COUNT_LEN + 24;
/// Longest signature that is read.
pub(super) const SIGNATURE_MAX: u64 = 256 * 1024;
/// What a certificate of ours has behind its length: revision 2.0,
/// WIN_CERT_TYPE_EFI_GUID and EFI_CERT_TYPE_PKCS7_GUID.
const KIND: [u8; 20] = [
    0x00, 0x02, 0xf1, 0x0e, 0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37,
    0x56, 0x65, 0xa7,
];

/// An authentication, and what it is before.
pub(super) struct Authentication {
    pub(super) count: u64,
    /// Where the count stands.
    pub(super) count_at: Range<u64>,
    /// The signature.
    pub(super) signature: Range<u64>,
    /// What is signed, before the count.
    pub(super) payload: Range<u64>,
}

/// Whether an image begins with an authentication, by what cannot be anything
/// else. Headers before version 3 do not say whether there is one, and the flag
/// of version 3 is outside of every signature.
pub(super) fn begins(source: &dyn Source, image: &Range<u64>) -> Result<bool, FormatError> {
    let place = image.start + COUNT_LEN + 4..image.start + HEADER_LEN;
    if place.end > image.end {
        return Ok(false);
    }
    Ok(read::<20>(source, place.start, place.end, "the certificate")? == KIND)
}

impl Authentication {
    /// Reads the one that an image begins with.
    pub(super) fn read(source: &dyn Source, image: Range<u64>) -> Result<Authentication, FormatError> {
        const WHAT: &str = "the authentication";
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let count_at = image.start..image.start + COUNT_LEN;
        let count = u64::from_le_bytes(read(source, count_at.start, image.end, WHAT)?);
        let len = u32::from_le_bytes(read(source, count_at.end, image.end, WHAT)?);
        if !begins(source, &image)? {
            return Err(FormatError::unsupported(NAME, "it is authenticated by something else than PKCS #7"));
        }
        let signature = image.start + HEADER_LEN..count_at.end + u64::from(len);
        if signature.is_empty() || signature.end >= image.end {
            return Err(malformed("its signature does not end before its payload, or there is none"));
        }
        if signature.end - signature.start > SIGNATURE_MAX {
            return Err(malformed("its signature is longer than 256 KiB"));
        }
        let payload = signature.end..image.end;
        Ok(Authentication { count, count_at, signature, payload })
    }
}

/// An authentication with this signature.
pub(super) fn write(count: u64, signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN as usize + signature.len());
    out.extend(count.to_le_bytes());
    out.extend(((HEADER_LEN - COUNT_LEN) as u32 + signature.len() as u32).to_le_bytes());
    out.extend(KIND);
    out.extend(signature);
    out
}
