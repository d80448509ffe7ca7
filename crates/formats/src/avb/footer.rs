//! The footer of a partition (libavb, avb_footer.h), which nothing covers.

use super::NAME;
use super::words::Words;
use crate::error::FormatError;
use crate::source::Source;

/// Length of a footer.
pub(super) const LEN: u64 = 64;
const MAGIC: &[u8; 4] = b"AVBf";
const VERSION: [u32; 2] = [1, 0];

/// Where vbmeta is, and how long the data was before it was put there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footer {
    pub(super) original_size: u64,
    pub(super) vbmeta_at: u64,
    pub(super) vbmeta_len: u64,
}

/// Whether a file ends with one.
pub(super) fn ends(source: &dyn Source) -> Result<bool, FormatError> {
    let Some(at) = source.len()?.checked_sub(LEN) else { return Ok(false) };
    let mut magic = [0; 4];
    source.read_at(at, &mut magic)?;
    Ok(&magic == MAGIC)
}

impl Footer {
    /// That of a file which ends with one.
    pub(super) fn read(source: &dyn Source) -> Result<Footer, FormatError> {
        let mut bytes = [0; LEN as usize];
        source.read_at(source.len()?.saturating_sub(LEN), &mut bytes)?;
        let mut words = Words(&bytes);
        let own = (|| {
            words.bytes(4)?;
            if [words.u32()?, words.u32()?] != VERSION {
                return Err("its footer has another version than 1.0");
            }
            let own =
                Footer { original_size: words.u64()?, vbmeta_at: words.u64()?, vbmeta_len: words.u64()? };
            words.zeros(28)?;
            Ok(own)
        })();
        own.map_err(|why| FormatError::malformed(NAME, why))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.map(u32::to_be_bytes).concat());
        for number in [self.original_size, self.vbmeta_at, self.vbmeta_len] {
            out.extend(number.to_be_bytes());
        }
        out.resize(LEN as usize, 0);
        out
    }
}
