//! The signature sector: three places for blocks, and erased flash.

use super::NAME;
use super::block::{self, Block};
use crate::error::FormatError;
use crate::source::Source;

/// Length of a sector of flash.
pub(super) const SECTOR: u64 = 4096;
/// Places for blocks.
pub(super) const BLOCKS_MAX: usize = 3;

/// The bytes of the blocks in a sector, and what they say.
pub(super) fn read(source: &dyn Source, at: u64) -> Result<Vec<(Vec<u8>, Block)>, FormatError> {
    let malformed = |what: &str| FormatError::malformed(NAME, what);
    let mut bytes = [0; SECTOR as usize];
    source.read_at(at, &mut bytes)?;
    let (places, rest) = bytes.split_at(BLOCKS_MAX * block::LEN);
    let mut found = Vec::new();
    for (index, place) in places.as_chunks::<{ block::LEN }>().0.iter().enumerate() {
        if place.iter().all(|byte| *byte == 0xff) {
            continue;
        }
        // Some readers stop at an empty place, others look behind it.
        if found.len() != index {
            return Err(malformed("a signature block stands behind an empty place"));
        }
        found.push((place.to_vec(), Block::read(place)?));
    }
    match rest.iter().all(|byte| *byte == 0xff) {
        true => Ok(found),
        false => Err(malformed("something stands behind its signature blocks")),
    }
}

/// A sector with these blocks.
pub(super) fn write(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = blocks.concat();
    out.resize(SECTOR as usize, 0xff);
    out
}
