//! Archives in the artifact, packed or not, read one file after the other.

use std::ops::Range;

use super::tar::{BLOCK, END_MAX, Header};
use super::{NAME, malformed};
use crate::error::FormatError;
use crate::gzip::Gunzip;
use crate::source::Source;

/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// The bytes of an archive.
enum Bytes<'a> {
    Plain(&'a dyn Source, Range<u64>),
    Gzip(Box<Gunzip<'a>>),
}

impl Bytes<'_> {
    /// Fills a buffer as far as there is something.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FormatError> {
        match self {
            Bytes::Gzip(stream) => stream.read(buffer),
            Bytes::Plain(source, left) => {
                let len = (buffer.len() as u64).min(left.end - left.start) as usize;
                source.read_at(left.start, &mut buffer[..len])?;
                left.start += len as u64;
                Ok(len)
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), FormatError> {
        let len = self.read(buffer)?;
        whole(len as u64, buffer.len() as u64)
    }

    /// Hands so many bytes to `each`, by way of a buffer where they are not in
    /// one already.
    fn hand_out(
        &mut self,
        len: u64,
        buffer: &mut [u8],
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), FormatError> {
        if let Bytes::Gzip(stream) = self {
            return whole(stream.hand_out(len, each)?, len);
        }
        let mut left = len;
        while left > 0 {
            let piece = &mut buffer[..left.min(PIECE as u64) as usize];
            self.fill(piece)?;
            each(piece);
            left -= piece.len() as u64;
        }
        Ok(())
    }
}

fn whole(have: u64, want: u64) -> Result<(), FormatError> {
    match have == want {
        true => Ok(()),
        false => Err(malformed("a tar in it ends too early")),
    }
}

/// An archive that is read.
pub(super) struct Unpacked<'a> {
    bytes: Bytes<'a>,
    buffer: Vec<u8>,
}

impl<'a> Unpacked<'a> {
    /// That in a range of the artifact, whose name says how it is packed.
    pub(super) fn open(
        source: &'a dyn Source,
        range: Range<u64>,
        name: &str,
    ) -> Result<Unpacked<'a>, FormatError> {
        let bytes = match name.ends_with(".gz") {
            true => Bytes::Gzip(Box::new(Gunzip::new(NAME, source, range)?)),
            false => Bytes::Plain(source, range),
        };
        Ok(Unpacked { bytes, buffer: vec![0; PIECE] })
    }

    /// The header of the next file, whose content has to be read then; `None`
    /// at the end, behind which there is nothing.
    pub(super) fn next(&mut self) -> Result<Option<Header>, FormatError> {
        let mut block = [0; BLOCK];
        self.bytes.fill(&mut block)?;
        if let Some(header) = Header::read(&block)? {
            return Ok(Some(header));
        }
        let mut zeros = BLOCK as u64;
        loop {
            let len = self.bytes.read(&mut self.buffer)?;
            let (read, is_zero) = (&self.buffer[..len], |byte: &u8| *byte == 0);
            zeros += len as u64;
            if !read.iter().all(is_zero) || zeros > END_MAX {
                return Err(malformed("something stands behind the end of a tar in it"));
            }
            if len == 0 {
                break;
            }
        }
        // One block of zeros is an end for some, and a damage for others.
        match zeros >= 2 * BLOCK as u64 && zeros.is_multiple_of(BLOCK as u64) {
            true => Ok(None),
            false => Err(malformed("a tar in it does not end with two blocks of zeros")),
        }
    }

    /// Hands the content of the file to `each`, a piece at a time.
    pub(super) fn content(
        &mut self,
        header: &Header,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), FormatError> {
        self.bytes.hand_out(header.size, &mut self.buffer, &mut each)?;
        let padding = &mut self.buffer[..header.padding() as usize];
        self.bytes.fill(padding)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(malformed("something stands between the files of a tar in it")),
        }
    }

    /// A short content, in whole.
    pub(super) fn short(&mut self, header: &Header, max: u64) -> Result<Vec<u8>, FormatError> {
        if header.size > max {
            return Err(malformed(format!("`{}` is longer than {max} bytes", header.name)));
        }
        let mut out = Vec::with_capacity(header.size as usize);
        self.content(header, |piece| out.extend(piece))?;
        Ok(out)
    }
}
