//! Headers of tar archives (POSIX.1-2008, *pax*, "ustar Interchange Format"):
//! those of plain files whose name fits, which every reader reads the same.

use super::malformed;
use crate::error::FormatError;

pub(super) const BLOCK: usize = 512;
/// Most zeros behind the last file: tar fills up to a record.
pub(super) const END_MAX: u64 = 10_240;
/// Where the checksum stands.
const SUM: std::ops::Range<usize> = 148..156;
/// Mode, owner, group, size, time, and the two numbers of devices.
const NUMBERS: [(usize, usize); 7] = [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)];
/// Type of a file, nothing linked; magic and version.
const FILE: u8 = b'0';
const MAGIC: &[u8; 8] = b"ustar\x0000";

/// What a header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) size: u64,
}

impl Header {
    /// Reads a header; `None` for the zeros at the end.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Option<Header>, FormatError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if block[257..265] != *MAGIC || block[156] != FILE {
            return Err(malformed(
                "its tar has something else than plain files: a directory, a link, a file of 8 GiB or more, a \
                 name longer than 100 bytes, or headers that are not ustar's",
            ));
        }
        let numbers = NUMBERS.map(|(at, len)| octal(&block[at..at + len]));
        if numbers.contains(&None) || sum_in(block) != Some(sum_of(block)) {
            return Err(malformed("a header of its tar has a wrong number or checksum"));
        }
        // Links, the name's prefix, and what lies behind that.
        if block[157..257].iter().chain(&block[345..]).any(|byte| *byte != 0) {
            return Err(malformed("a header of its tar has a link, a prefix, or something behind its end"));
        }
        let name = name(&block[..100]).ok_or_else(|| malformed("a name in its tar is empty, or no text"))?;
        Ok(Some(Header { name, size: numbers[3].unwrap_or(0) }))
    }

    /// The header of a file that mender-artifact writes: of nobody, and of no
    /// time.
    pub(super) fn write(&self) -> [u8; BLOCK] {
        let mut out = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name.as_bytes());
        NUMBERS.iter().for_each(|(at, len)| put(*at, &vec![b'0'; len - 1]));
        put(100, b"0000644");
        put(124, format!("{:011o}", self.size).as_bytes());
        put(156, &[FILE]);
        put(257, MAGIC);
        let sum = format!("{:06o}\0 ", sum_of(&out));
        out[SUM].copy_from_slice(sum.as_bytes());
        out
    }

    /// Bytes behind the content, up to the next header.
    pub(super) fn padding(&self) -> u64 {
        self.size.next_multiple_of(BLOCK as u64) - self.size
    }
}

/// Octal digits up to one NUL, which are what all readers take.
fn octal(field: &[u8]) -> Option<u64> {
    let (0, digits) = field.split_last()? else { return None };
    digits
        .iter()
        .try_fold(0, |sum, digit| matches!(digit, b'0'..=b'7').then(|| sum << 3 | u64::from(digit & 7)))
}

/// Six digits, NUL and blank.
fn sum_in(block: &[u8; BLOCK]) -> Option<u64> {
    let digits = block[SUM].strip_suffix(b" ")?;
    octal(digits)
}

/// The sum of all bytes, with blanks in the place of the sum itself.
fn sum_of(block: &[u8; BLOCK]) -> u64 {
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[SUM].iter().map(|byte| u64::from(*byte)).sum();
    sum - own + 8 * u64::from(b' ')
}

/// A text, filled up with zeros.
fn name(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (name, zeros) = field.split_at(end);
    let name =
        std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(char::is_control))?;
    zeros.iter().all(|byte| *byte == 0).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_other_bit_refused() {
        let header = Header { name: "manifest.sig".to_owned(), size: 88 };
        let good = header.write();
        assert_eq!(Header::read(&good).unwrap(), Some(header));
        assert_eq!(Header::read(&[0; BLOCK]).unwrap(), None);
        for at in 0..BLOCK {
            let mut block = good;
            block[at] ^= 1;
            assert!(Header::read(&block).is_err(), "{at}");
            // With the right sum, what is left are names and numbers.
            let sum = format!("{:06o}\0 ", sum_of(&block));
            block[SUM].copy_from_slice(sum.as_bytes());
            let told = at < 100 || NUMBERS.iter().any(|(from, len)| (*from..from + len - 1).contains(&at));
            let named = (265..329).contains(&at);
            if Header::read(&block).is_ok() {
                assert!(told || named || SUM.contains(&at), "{at}");
            }
        }
    }
}
