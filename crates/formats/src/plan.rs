//! Plans: an output as pieces of a source and bytes between them.
//!
//! Signing moves little: a plan for a file of 4 GiB is a few hundred bytes,
//! and writing it takes one buffer. A plan over its source is a [`Source`]
//! again, so what would be written can be inspected before it is.

use std::io::{self, Write};
use std::ops::Range;

use crate::error::FormatError;
use crate::keystream::Keystream;
use crate::source::{Source, for_each_piece};
use crate::verity::Leaves;

/// One piece of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This byte, so often.
    Fill(u8, u64),
    /// These bytes of the source.
    Source(Range<u64>),
    /// The digests of the source's blocks, computed as they are read.
    Leaves(Leaves),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::Fill(_, count) => *count,
            Segment::Source(range) => range.end.saturating_sub(range.start),
            Segment::Leaves(leaves) => leaves.len(),
        }
    }
}

/// An output: segments one after the other, and what of it is encrypted or
/// decrypted on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    source_len: u64,
    segments: Vec<Segment>,
    cipher: Option<(Range<u64>, Keystream)>,
}

impl Plan {
    /// An empty plan over a source of this length.
    pub fn new(source_len: u64) -> Plan {
        Plan { source_len, segments: Vec::new(), cipher: None }
    }

    /// Adds bytes.
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Plan {
        self.segments.push(Segment::Bytes(bytes.into()));
        self
    }

    /// Adds one byte so often.
    pub(crate) fn fill(mut self, byte: u8, count: u64) -> Plan {
        self.segments.push(Segment::Fill(byte, count));
        self
    }

    /// Adds a range of the source. What lies beyond its end is left out.
    pub fn source(mut self, range: Range<u64>) -> Plan {
        let end = range.end.min(self.source_len);
        self.segments.push(Segment::Source(range.start.min(end)..end));
        self
    }

    /// Adds the lowest level of a tree over the source.
    pub(crate) fn leaves(mut self, leaves: Leaves) -> Plan {
        self.segments.push(Segment::Leaves(leaves));
        self
    }

    /// Has a range of the output go through a keystream that begins with it.
    pub(crate) fn under(mut self, range: Range<u64>, stream: Keystream) -> Plan {
        self.cipher = Some((range, stream));
        self
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Length of the output in bytes.
    pub fn output_len(&self) -> u64 {
        self.segments.iter().map(Segment::len).fold(0, u64::saturating_add)
    }

    /// The output as a source, without writing it.
    pub fn over<'a>(&'a self, source: &'a dyn Source) -> Result<Spliced<'a>, FormatError> {
        let now = source.len()?;
        if now != self.source_len {
            return Err(FormatError::SourceChanged { planned: self.source_len, now });
        }
        Ok(Spliced { plan: self, source })
    }

    /// Writes the output. Nothing is flushed or synced; that is the
    /// caller's, who also knows what to do with half a file.
    pub fn write_to(&self, source: &dyn Source, out: &mut dyn Write) -> Result<(), FormatError> {
        let spliced = self.over(source)?;
        Ok(for_each_piece(&spliced, 0..self.output_len(), |piece| out.write_all(piece))?)
    }
}

/// A plan's output, read from its source.
pub struct Spliced<'a> {
    plan: &'a Plan,
    source: &'a dyn Source,
}

impl Source for Spliced<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.plan.output_len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut skip, mut rest) = (offset, &mut *buffer);
        for segment in &self.plan.segments {
            if rest.is_empty() {
                break;
            }
            let len = segment.len();
            if skip >= len {
                skip -= len;
                continue;
            }
            let take = (len - skip).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(take);
            match segment {
                Segment::Bytes(bytes) => now.copy_from_slice(&bytes[skip as usize..skip as usize + take]),
                Segment::Fill(byte, _) => now.fill(*byte),
                Segment::Source(range) => self.source.read_at(range.start + skip, now)?,
                Segment::Leaves(leaves) => leaves.read_at(self.source, skip, now)?,
            }
            (skip, rest) = (0, later);
        }
        if !rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((range, stream)) = &self.plan.cipher {
            let end = offset + buffer.len() as u64;
            let (from, to) = (range.start.max(offset), range.end.min(end));
            if from < to {
                let piece = &mut buffer[(from - offset) as usize..(to - offset) as usize];
                stream.apply(from - range.start, piece).ok_or(io::ErrorKind::InvalidData)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reads_the_same(spliced: &Spliced<'_>, whole: &[u8]) {
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let mut piece = vec![0; end - start];
                spliced.read_at(start as u64, &mut piece).unwrap();
                assert_eq!(piece, whole[start..end]);
            }
        }
    }

    #[test]
    fn a_plan_reads_the_same_at_every_offset_and_length() {
        let source = b"0123456789".to_vec();
        let plan =
            Plan::new(10).bytes(*b"ab").source(3..7).bytes(*b"").source(9..99).fill(b'-', 3).bytes(*b"c");
        let mut whole = Vec::new();
        plan.write_to(&source, &mut whole).unwrap();
        assert_eq!(whole, b"ab34569---c");
        let spliced = plan.over(&source).unwrap();
        reads_the_same(&spliced, &whole);
        assert!(spliced.read_at(11, &mut [0]).is_err());
        assert!(spliced.read_at(u64::MAX, &mut [0]).is_err());
    }

    #[test]
    fn what_is_encrypted_is_so_at_every_offset() {
        let source = b"0123456789abcdefghijklmnopqrstuvwxyz".to_vec();
        let stream = Keystream::new(&[7; 16]).unwrap();
        let plan = Plan::new(36).bytes(*b"head").source(0..36).under(6..36, stream.clone());
        let mut whole = b"head0123456789abcdefghijklmnopqrstuvwxyz".to_vec();
        stream.apply(0, &mut whole[6..36]).unwrap();
        reads_the_same(&plan.over(&source).unwrap(), &whole);
    }

    #[test]
    fn a_source_of_another_length_is_refused() {
        let plan = Plan::new(10).source(0..10);
        let grown = vec![0; 11];
        assert!(matches!(plan.over(&grown), Err(FormatError::SourceChanged { planned: 10, now: 11 })));
    }
}
