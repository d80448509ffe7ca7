//! What stands behind a module (`include/linux/module_signature.h`).

use super::NAME;
use crate::error::FormatError;
use crate::source::Source;

const MAGIC: &[u8; 28] = b"~Module signature appended~\n";
/// PKEY_ID_PKCS7. Everything else but the length "must be 0".
const KIND: [u8; 8] = [0, 0, 2, 0, 0, 0, 0, 0];
/// Bytes behind the PKCS #7.
const TAIL: u64 = 12 + MAGIC.len() as u64;
/// Longest PKCS #7 that is read.
const PKCS7_MAX: u64 = 64 * 1024;

/// Where a module ends, and the PKCS #7 behind it.
pub(super) struct Appended {
    pub(super) end: u64,
    pub(super) pkcs7: Option<Vec<u8>>,
}

impl Appended {
    pub(super) fn read(source: &dyn Source) -> Result<Appended, FormatError> {
        let malformed = |what: &str| Err(FormatError::malformed(NAME, what));
        let len = source.len()?;
        if !is_signed(source, len)? {
            return Ok(Appended { end: len, pkcs7: None });
        }
        let mut head = [0; 12];
        let Some(at) = len.checked_sub(TAIL) else {
            return malformed("it is nothing but the end of a signature");
        };
        source.read_at(at, &mut head)?;
        let [kind @ .., a, b, c, d] = head;
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        if kind != KIND {
            return malformed("its signature is no PKCS #7, or has fields that have to be zero");
        }
        let Some(end) = at.checked_sub(size).filter(|end| *end > 0 && size <= PKCS7_MAX) else {
            return malformed("its signature is longer than the file, or than 64 KiB");
        };
        // The kernel takes one off, and the other one is part of the module:
        // tools tell the one or the other.
        if is_signed(source, end)? {
            return malformed("a signature stands in front of its signature; take both off with `strip`");
        }
        let mut pkcs7 = vec![0; size as usize];
        source.read_at(end, &mut pkcs7)?;
        Ok(Appended { end, pkcs7: Some(pkcs7) })
    }
}

/// Whether what ends here ends in a signature.
fn is_signed(source: &dyn Source, end: u64) -> Result<bool, FormatError> {
    let mut magic = [0; MAGIC.len()];
    let Some(at) = end.checked_sub(MAGIC.len() as u64) else { return Ok(false) };
    source.read_at(at, &mut magic)?;
    Ok(magic == *MAGIC)
}

/// A PKCS #7 with what stands behind it.
pub(super) fn write(pkcs7: &[u8]) -> Vec<u8> {
    let size = (pkcs7.len() as u32).to_be_bytes();
    [pkcs7, &KIND, &size, MAGIC].concat()
}
