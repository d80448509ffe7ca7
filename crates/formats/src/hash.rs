//! SHA-2 over ranges of a source.

use std::io;
use std::ops::Range;

use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::source::{Source, for_each_piece};

/// A SHA-2 function (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of its values in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// The function whose values have this length.
    pub(crate) const fn of_len(len: usize) -> Option<Hash> {
        match len {
            32 => Some(Hash::Sha256),
            48 => Some(Hash::Sha384),
            64 => Some(Hash::Sha512),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Sha384 => "sha384",
            Hash::Sha512 => "sha512",
        }
    }

    /// The value of one slice.
    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(bytes).to_vec(),
            Hash::Sha384 => Sha384::digest(bytes).to_vec(),
            Hash::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// The value of a range of a source; of the whole, from what is remembered.
    pub(crate) fn of_range(self, source: &dyn Source, range: Range<u64>) -> io::Result<Vec<u8>> {
        let whole = range == (0..source.len()?);
        let remembered = source.remembered().filter(|_| whole);
        if let Some(value) = remembered.and_then(|remembered| remembered.get(self.name())) {
            return Ok(value);
        }
        let value = self.of_ranges(source, &[range], 0)?;
        if let Some(remembered) = remembered {
            remembered.put(self.name(), &value);
        }
        Ok(value)
    }

    /// The value of ranges of a source, one after the other, and of a few
    /// zeros behind them.
    pub(crate) fn of_ranges(
        self,
        source: &dyn Source,
        ranges: &[Range<u64>],
        zeros: usize,
    ) -> io::Result<Vec<u8>> {
        fn run<D: Digest>(source: &dyn Source, ranges: &[Range<u64>], zeros: usize) -> io::Result<Vec<u8>> {
            let mut hasher = D::new();
            for range in ranges {
                for_each_piece(source, range.clone(), |piece| {
                    hasher.update(piece);
                    Ok(())
                })?;
            }
            hasher.update(vec![0; zeros]);
            Ok(hasher.finalize().to_vec())
        }
        match self {
            Hash::Sha256 => run::<Sha256>(source, ranges, zeros),
            Hash::Sha384 => run::<Sha384>(source, ranges, zeros),
            Hash::Sha512 => run::<Sha512>(source, ranges, zeros),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A value as an array of its function's length.
pub(crate) fn array<const N: usize>(value: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(value);
    out
}
