//! Numbers and texts one after the other, the highest byte first.

use std::ops::Range;

use crate::der::Bad;

/// What is left to read.
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn bytes(&mut self, len: u64) -> Result<&'a [u8], Bad> {
        let len = usize::try_from(len).map_err(|_| "something in it is longer than all of it")?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("something in it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N as u64)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Bad> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Bad> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// An offset and a length.
    pub(super) fn range(&mut self) -> Result<Range<u64>, Bad> {
        let (start, len) = (self.u64()?, self.u64()?);
        Ok(start..start.checked_add(len).ok_or("an offset and a length in it are beyond all numbers")?)
    }

    /// Bytes that mean nothing.
    pub(super) fn zeros(&mut self, len: u64) -> Result<(), Bad> {
        match is_zero(self.bytes(len)?) {
            true => Ok(()),
            false => Err("bytes that have to be zero are not"),
        }
    }

    /// Nothing but zeros up to a multiple of 8.
    pub(super) fn end(self) -> Result<(), Bad> {
        match self.0.len() < 8 && is_zero(self.0) {
            true => Ok(()),
            false => Err("a descriptor is longer than what it holds"),
        }
    }
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A text in a field of fixed size: printable, with zeros to its end. Behind the
/// first zero something else could stand that another reader shows.
pub(super) fn padded_text(field: &[u8]) -> Result<String, Bad> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (own, rest) = field.split_at(end);
    match is_zero(rest) && !rest.is_empty() {
        true => text(own),
        false => Err("a text in it does not end with zeros"),
    }
}

/// A text of printable ASCII, which everybody reads alike.
pub(super) fn text(bytes: &[u8]) -> Result<String, Bad> {
    match bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(String::from_utf8_lossy(bytes).into_owned()),
        false => Err("a text in it is no printable ASCII"),
    }
}
