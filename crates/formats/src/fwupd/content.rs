//! Files in a cabinet, as sources: unpacked as they are read, from the
//! beginning on.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::cabinet::{Block, Cabinet, File, Folder, sum};
use crate::inflate::Inflater;
use crate::source::Source;

/// A file's content.
pub(super) struct Content<'a> {
    source: &'a dyn Source,
    folder: &'a Folder,
    range: Range<u64>,
    cursor: Mutex<Cursor>,
}

/// A block that is unpacked, and what it takes to unpack the next.
struct Cursor {
    /// The number of the next block.
    next: usize,
    block: Vec<u8>,
    /// Where the block begins in the folder's content.
    start: u64,
    inflater: Inflater,
}

impl Cursor {
    fn new() -> Cursor {
        Cursor { next: 0, block: Vec::new(), start: 0, inflater: Inflater::new() }
    }

    fn end(&self) -> u64 {
        self.start + self.block.len() as u64
    }

    fn step(&mut self, source: &dyn Source, folder: &Folder) -> io::Result<()> {
        let block = folder.blocks.get(self.next).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut data = vec![0; (block.data.end - block.data.start) as usize];
        source.read_at(block.data.start, &mut data)?;
        // None is written as zero.
        if block.sum != 0 && block.sum != sum(&data, block.size) {
            return Err(wrong("a block has another checksum; it was damaged"));
        }
        self.start = self.end();
        self.next += 1;
        self.block = if folder.is_packed { self.unpack(&data, block)? } else { data };
        Ok(())
    }

    /// `CK` and one deflated stream, which points back into the blocks before.
    fn unpack(&mut self, data: &[u8], block: &Block) -> io::Result<Vec<u8>> {
        const DAMAGED: &str = "a block is no MSZIP, or unpacks to another length";
        let mut rest = data.strip_prefix(b"CK").ok_or_else(|| wrong(DAMAGED))?;
        let size = usize::from(block.size);
        let mut out = Vec::with_capacity(size);
        self.inflater.again();
        loop {
            // One byte more than there may be tells a block that is longer.
            let done = self.inflater.step(rest, false, size + 1 - out.len()).ok_or_else(|| wrong(DAMAGED))?;
            out.extend(done.bytes);
            rest = &rest[done.taken..];
            match done.ended {
                true if out.len() == size && rest.is_empty() => return Ok(out),
                false if out.len() <= size => {}
                _ => return Err(wrong(DAMAGED)),
            }
        }
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<'a> Content<'a> {
    /// That of a file, which lies in its folder.
    pub(super) fn of(source: &'a dyn Source, cabinet: &'a Cabinet, file: &File) -> Option<Content<'a>> {
        let folder = cabinet.folders.get(file.folder)?;
        Some(Content { source, folder, range: file.range.clone(), cursor: Mutex::new(Cursor::new()) })
    }
}

impl Source for Content<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.range.end - self.range.start)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = self.range.start.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        let end = at.checked_add(buffer.len() as u64).filter(|end| *end <= self.range.end);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if at < cursor.start {
            *cursor = Cursor::new();
        }
        let mut filled = at;
        while filled < end {
            if filled >= cursor.end() {
                cursor.step(self.source, self.folder)?;
                continue;
            }
            let until = end.min(cursor.end());
            let (from, to) = ((filled - cursor.start) as usize, (until - cursor.start) as usize);
            buffer[(filled - at) as usize..(until - at) as usize].copy_from_slice(&cursor.block[from..to]);
            filled = until;
        }
        Ok(())
    }
}
