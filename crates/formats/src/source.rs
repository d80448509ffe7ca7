//! Sources: files that are read at an offset, never loaded whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::FormatError;

/// A file, or anything else with a length and bytes at offsets.
///
/// Contract: `read_at` fills the whole buffer or fails, and reading twice
/// gives the same bytes. Where that cannot be promised (a file somebody
/// else may write), whoever uses a signed result inspects the result.
pub trait Source: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// What was hashed of the whole, where somebody keeps it.
    fn remembered(&self) -> Option<&Remembered> {
        None
    }
}

/// Digests of one whole source, by the names of their functions.
#[derive(Default)]
pub struct Remembered(Mutex<BTreeMap<&'static str, Vec<u8>>>);

impl Remembered {
    pub(crate) fn get(&self, function: &'static str) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(function).cloned()
    }

    pub(crate) fn put(&self, function: &'static str, value: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(function, value.to_vec());
    }
}

/// A source whose whole is hashed once however often it is asked for. For as
/// long as one signature takes, and not for what is written: that is read
/// anew.
pub(crate) struct Remembering<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) remembered: Arc<Remembered>,
}

impl Source for Remembering<'_> {
    fn len(&self) -> io::Result<u64> {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.source.read_at(offset, buffer)
    }

    fn remembered(&self) -> Option<&Remembered> {
        Some(&self.remembered)
    }
}

impl Source for [u8] {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}

#[cfg(unix)]
impl Source for std::fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn remembered(&self) -> Option<&Remembered> {
        (**self).remembered()
    }
}

/// The bytes at an offset, which have to lie before an end: of what, messages
/// say.
pub(crate) fn bytes_at<const N: usize>(
    source: &dyn Source,
    at: u64,
    end: u64,
    (format, what): (&'static str, &'static str),
) -> Result<[u8; N], FormatError> {
    let need = at.saturating_add(N as u64);
    if need > end {
        return Err(FormatError::Truncated { format, what, need, have: end });
    }
    let mut out = [0; N];
    source.read_at(at, &mut out)?;
    Ok(out)
}

/// The first `N` bytes; shorter files are padded with nothing: `None`.
pub(crate) fn head<const N: usize>(source: &dyn Source) -> io::Result<Option<[u8; N]>> {
    if source.len()? < N as u64 {
        return Ok(None);
    }
    let mut out = [0; N];
    source.read_at(0, &mut out)?;
    Ok(Some(out))
}

/// Hands `range` of the source to `each`, a bounded piece at a time.
pub(crate) fn for_each_piece(
    source: &dyn Source,
    range: std::ops::Range<u64>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const PIECE: u64 = 128 * 1024;
    let mut buffer = vec![0; PIECE.min(range.end.saturating_sub(range.start)) as usize];
    let mut offset = range.start;
    while offset < range.end {
        let piece = &mut buffer[..PIECE.min(range.end - offset) as usize];
        source.read_at(offset, piece)?;
        each(piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}
