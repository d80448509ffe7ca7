//! gzip (RFC 1952): one member that is all there is, inflated a bounded piece
//! at a time.
//!
//! Readers differ on members that follow, on what stands behind the last one,
//! and on what the optional fields hide: there is none of that here.

use std::ops::Range;

use crc32fast::Hasher;

use crate::error::FormatError;
use crate::inflate::Inflater;
use crate::source::{Source, bytes_at};

/// Magic, deflate, and flags: none.
const MAGIC: [u8; 4] = [0x1f, 0x8b, 8, 0];
const HEADER: u64 = 10;
/// Checksum and length.
const TRAILER: u64 = 8;
/// How much is read at a time, and at least in the end.
const PIECE: u64 = 64 * 1024;
const LAST: u64 = 16;
/// How much may come of any file, and of each of its bytes beyond that: zeros
/// are packed a thousand to one, file systems with some in them are not.
const SMALL: u64 = 64 * 1024 * 1024;
const GROWTH: u64 = 256;

/// Bytes that are unpacked as they are read.
pub(crate) struct Gunzip<'a> {
    format: &'static str,
    source: &'a dyn Source,
    /// What of the deflated bytes was not read yet.
    left: Range<u64>,
    packed: u64,
    piece: Vec<u8>,
    used: usize,
    inflater: Inflater,
    crc: Hasher,
    /// How much came out.
    len: u64,
    ended: bool,
}

impl<'a> Gunzip<'a> {
    /// Of a range of a source; `format` is what messages name.
    pub(crate) fn new(
        format: &'static str,
        source: &'a dyn Source,
        range: Range<u64>,
    ) -> Result<Gunzip<'a>, FormatError> {
        let head: [u8; 4] = bytes_at(source, range.start, range.end, (format, "its gzip"))?;
        let left = range.start + HEADER..range.end.saturating_sub(TRAILER);
        if head != MAGIC || left.is_empty() {
            return Err(FormatError::malformed(format, "a part is no gzip, or one with optional fields"));
        }
        Ok(Gunzip {
            format,
            source,
            packed: range.end - range.start,
            left,
            piece: Vec::new(),
            used: 0,
            inflater: Inflater::new(),
            crc: Hasher::new(),
            len: 0,
            ended: false,
        })
    }

    /// Fills a buffer as far as there is something; nothing at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FormatError> {
        let mut filled = 0;
        while filled < buffer.len() && !self.ended {
            let bytes = self.step(buffer.len() - filled)?;
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        if filled < buffer.len() {
            self.check()?;
        }
        Ok(filled)
    }

    /// Hands out so many bytes as they come, or as many as there are; how many
    /// those were.
    pub(crate) fn hand_out(&mut self, len: u64, mut each: impl FnMut(&[u8])) -> Result<u64, FormatError> {
        let mut done = 0;
        while done < len && !self.ended {
            let bytes = self.step(usize::try_from(len - done).unwrap_or(usize::MAX))?;
            done += bytes.len() as u64;
            each(bytes);
        }
        Ok(done)
    }

    /// The next bytes, at most so many.
    fn step(&mut self, max: usize) -> Result<&[u8], FormatError> {
        if self.used == self.piece.len() && !self.left.is_empty() {
            let left = self.left.end - self.left.start;
            let len = if left > PIECE && left < PIECE + LAST { PIECE - LAST } else { PIECE.min(left) };
            self.piece.resize(len as usize, 0);
            self.source.read_at(self.left.start, &mut self.piece)?;
            self.left.start += len;
            self.used = 0;
        }
        let (input, has_more) = (&self.piece[self.used..], !self.left.is_empty());
        let malformed = |what| Err(FormatError::malformed(self.format, what));
        let Some(done) = self.inflater.step(input, has_more, max) else {
            return malformed("a part's gzip is damaged, or ends too early");
        };
        (self.used, self.ended) = (self.used + done.taken, done.ended);
        self.crc.update(done.bytes);
        self.len += done.bytes.len() as u64;
        match self.len > SMALL.saturating_add(self.packed.saturating_mul(GROWTH)) {
            true => malformed("a part grows more than 256 times when it is unpacked"),
            false => Ok(done.bytes),
        }
    }

    /// Whether it ends where it has to, and is what was packed.
    fn check(&self) -> Result<(), FormatError> {
        if !self.left.is_empty() || self.used != self.piece.len() {
            return Err(self.malformed("something stands behind a part's gzip"));
        }
        let mut trailer = [0; TRAILER as usize];
        self.source.read_at(self.left.end, &mut trailer)?;
        let found = [self.crc.clone().finalize().to_le_bytes(), (self.len as u32).to_le_bytes()].concat();
        match found == trailer {
            true => Ok(()),
            false => Err(self.malformed("a part's gzip has another checksum or length; it was damaged")),
        }
    }

    fn malformed(&self, what: &str) -> FormatError {
        FormatError::malformed(self.format, what)
    }
}

/// What a gzip file holds, if it is no longer than that.
pub fn gunzip(packed: &dyn Source, most: usize) -> Result<Vec<u8>, FormatError> {
    let mut stream = Gunzip::new("gzip", packed, 0..packed.len()?)?;
    let mut out = Vec::new();
    let mut piece = vec![0; PIECE as usize];
    loop {
        let len = stream.read(&mut piece)?;
        if out.len() + len > most {
            return Err(FormatError::malformed("gzip", format!("it holds more than {most} bytes")));
        }
        out.extend_from_slice(&piece[..len]);
        if len < piece.len() {
            return Ok(out);
        }
    }
}

/// Bytes as one member in which nothing is packed: the same ones each time,
/// whatever packs better by then.
pub(crate) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[0, 0, 0, 0, 0, 255]].concat();
    let blocks = bytes.len().div_ceil(usize::from(u16::MAX)).max(1);
    for (index, block) in (0..blocks).map(|index| (index, index * usize::from(u16::MAX))) {
        let block = &bytes[block..bytes.len().min(block + usize::from(u16::MAX))];
        let len = block.len() as u16;
        out.push(u8::from(index + 1 == blocks));
        out.extend([len.to_le_bytes(), (!len).to_le_bytes()].concat());
        out.extend(block);
    }
    out.extend([crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let source = bytes.to_vec();
        let mut stream = Gunzip::new("test", &source, 0..bytes.len() as u64)?;
        let (mut out, mut buffer) = (Vec::new(), [0; 3]);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(out),
                len => out.extend(&buffer[..len]),
            }
        }
    }

    #[test]
    fn a_file_is_unpacked_up_to_a_length() {
        let packed = stored(&[7; 200_000]);
        assert_eq!(gunzip(&packed, 200_000).unwrap(), [7; 200_000]);
        assert!(gunzip(&packed, 199_999).is_err(), "longer than was allowed");
        assert!(gunzip(&packed[..packed.len() - 1].to_vec(), 200_000).is_err(), "cut off");
        assert_eq!(gunzip(&stored(&[7; PIECE as usize]), 1 << 20).unwrap().len() as u64, PIECE);
    }

    #[test]
    fn one_member_is_read_and_nothing_else() {
        let good = stored(b"firmware");
        // What Python's zlib.crc32 says.
        assert_eq!(good[23..27], 0xd5ec_d7c4u32.to_le_bytes());
        assert_eq!(unpacked(&good).unwrap(), b"firmware");
        for at in (0..4).chain(10..good.len()) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(unpacked(&bytes).is_err(), "{at}");
        }
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "{cut}");
        }
        assert!(unpacked(&[&good[..], &[0]].concat()).is_err(), "a byte behind it");
        assert!(unpacked(&[&good[..], &good].concat()).is_err(), "another member");
        for len in [0, 1, 65_535, 65_536, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            assert_eq!(unpacked(&stored(&bytes)).unwrap(), bytes);
        }
    }
}
