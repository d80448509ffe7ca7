//! The checksum in a PE header: the sum of the file's words, with carries, and
//! its length, as ImageHlp's CheckSumMappedFile does it. It protects nothing;
//! some loaders look at it.

use std::io;
use std::ops::Range;

use crate::source::{Source, for_each_piece};

/// A sum of words. The order of adding does not count.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum(u32);

impl Sum {
    /// Adds ranges of a source that begin on a word each.
    pub(super) fn ranges(mut self, source: &dyn Source, ranges: &[Range<u64>]) -> io::Result<Sum> {
        for range in ranges {
            // Pieces have an even length, but for the last one.
            for_each_piece(source, range.clone(), |piece| {
                self = self.bytes(piece);
                Ok(())
            })?;
        }
        Ok(self)
    }

    /// Adds bytes; a last one by itself is followed by zero.
    pub(super) fn bytes(self, bytes: &[u8]) -> Sum {
        // 2^16 is 1 where carries are added again: two words are one of twice the
        // length, and the carries of a piece wait for its end.
        let (pairs, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let mut sum = u64::from(self.0) + u64::from(u32::from_le_bytes(last));
        for pair in pairs {
            sum += u64::from(u32::from_le_bytes(*pair));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        Sum(sum as u32)
    }

    /// The checksum of a file of this length.
    pub(super) fn finish(self, len: u32) -> u32 {
        self.0.wrapping_add(len)
    }
}
