//! Entry bundles: the entries below one tile of level 0 (C2SP tlog-tiles).

use crate::error::Error;
use crate::tile::WIDTH;

/// Longest entry: its length stands in 16 bits.
pub const ENTRY_MAX: usize = u16::MAX as usize;

/// Writes entries, each behind its length.
pub fn encode_bundle<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, Error> {
    let bad = Error::malformed("entry bundle");
    if entries.len() as u64 > WIDTH {
        return Err(bad("it has more than 256 entries"));
    }
    let mut out = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| bad("an entry is longer than 65,535 bytes"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// Reads a bundle; at most 256 entries and nothing behind them.
pub fn decode_bundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let bad = Error::malformed("entry bundle");
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        if entries.len() as u64 == WIDTH {
            return Err(bad("it has more than 256 entries"));
        }
        let (length, rest) = bytes.split_first_chunk().ok_or(bad("it ends in a length"))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(bad("it ends in an entry"))?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}
