//! A structure block, word by word, in a window that moves on.

use std::ops::Range;

use crate::error::FormatError;
use crate::source::Source;

const WINDOW: u64 = 4096;

/// Where reading is.
pub(super) struct Cursor<'a> {
    source: &'a dyn Source,
    format: &'static str,
    at: u64,
    end: u64,
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
}

impl<'a> Cursor<'a> {
    /// At the start of a range, which lies in the source.
    pub(super) fn new(source: &'a dyn Source, format: &'static str, range: Range<u64>) -> Cursor<'a> {
        let Range { start, end } = range;
        Cursor { source, format, at: start, end, window: Vec::new(), start }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    fn room(&self, len: u64) -> Result<u64, FormatError> {
        self.at.checked_add(len).filter(|end| *end <= self.end).ok_or_else(|| {
            FormatError::malformed(self.format, "its structure ends in the middle of something")
        })
    }

    /// A big-endian word.
    pub(super) fn word(&mut self) -> Result<u32, FormatError> {
        let end = self.room(4)?;
        if self.at < self.start || end > self.start + self.window.len() as u64 {
            self.window = vec![0; WINDOW.min(self.end - self.at) as usize];
            self.source.read_at(self.at, &mut self.window)?;
            self.start = self.at;
        }
        let from = (self.at - self.start) as usize;
        self.at = end;
        let mut word = [0; 4];
        word.copy_from_slice(&self.window[from..from + 4]);
        Ok(u32::from_be_bytes(word))
    }

    /// Some bytes; the caller bounds how many.
    pub(super) fn take(&mut self, len: usize) -> Result<Vec<u8>, FormatError> {
        let end = self.room(len as u64)?;
        let mut bytes = vec![0; len];
        let from = (self.at - self.start) as usize;
        match self.window.get(from..from + len) {
            Some(window) => bytes.copy_from_slice(window),
            None => self.source.read_at(self.at, &mut bytes)?,
        }
        self.at = end;
        Ok(bytes)
    }

    /// Passes over some bytes.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), FormatError> {
        self.at = self.room(len)?;
        Ok(())
    }
}
