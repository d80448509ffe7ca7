//! The attribute certificate table (Microsoft, *PE Format*): signatures behind
//! the image, each on a multiple of 8 bytes.

use super::NAME;
use crate::error::FormatError;

/// WIN_CERT_REVISION_2_0 and WIN_CERT_TYPE_PKCS_SIGNED_DATA.
const KIND: [u8; 4] = [0x00, 0x02, 0x02, 0x00];
/// Most signatures of an image.
const SIGNATURES_MAX: usize = 16;

/// The signatures in a table, each with what pads it.
pub(crate) fn read(table: &[u8]) -> Result<Vec<&[u8]>, FormatError> {
    let malformed = |what: &str| FormatError::malformed(NAME, what);
    let (mut found, mut rest) = (Vec::new(), table);
    while !rest.is_empty() {
        let Some((head, _)) = rest.split_first_chunk::<8>() else {
            return Err(malformed("its certificate table ends in the middle of an entry"));
        };
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if head[4..] != KIND {
            return Err(FormatError::unsupported(NAME, "a signature of its is no PKCS #7"));
        }
        let place = len.next_multiple_of(8);
        if len <= 8 || place > rest.len() || found.len() == SIGNATURES_MAX {
            return Err(malformed(
                "an entry of its certificate table does not fit, or there are more than 16",
            ));
        }
        let (own, after) = rest.split_at(place);
        if own[len..].iter().any(|byte| *byte != 0) {
            return Err(malformed("its certificate table has something between its entries"));
        }
        found.push(pkcs7(&own[8..len])?);
        rest = after;
    }
    Ok(found)
}

/// A signature without its padding, which tools count in: what stands behind
/// a signature is covered by none, and installers have carried code there
/// (CVE-2013-3900).
fn pkcs7(entry: &[u8]) -> Result<&[u8], FormatError> {
    let malformed = |what: &'static str| FormatError::malformed(NAME, what);
    let mut reader = crate::der::Reader::new(entry);
    let whole = reader.next().map_err(malformed)?.whole;
    let behind = reader.rest();
    match behind.len() < 8 && behind.iter().all(|byte| *byte == 0) {
        true => Ok(whole),
        false => Err(malformed("something stands behind one of its signatures")),
    }
}

/// A signature as an entry.
pub(crate) fn entry(pkcs7: &[u8]) -> Vec<u8> {
    let len = (8 + pkcs7.len()).next_multiple_of(8);
    let mut out = Vec::with_capacity(len);
    // The padding is counted in, as signtool, sbsign and osslsigncode do.
    out.extend((len as u32).to_le_bytes());
    out.extend(KIND);
    out.extend(pkcs7);
    out.resize(len, 0);
    out
}
