//! The parts of a PE image that signing is about (Microsoft, *PE Format*):
//! where they lie is checked against the file and against each other.

use std::io;
use std::ops::Range;

use super::NAME;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::source::Source;

/// Offsets are 32 bits, and tools count with a sign.
const FILE_MAX: u64 = 0x7fff_ffff;
/// Longest headers that are read.
const HEADERS_MAX: u64 = 64 * 1024;
/// Most sections, as Windows has it.
const SECTIONS_MAX: u16 = 96;
/// Longest certificate table that is read.
const TABLE_MAX: u64 = 256 * 1024;

/// An image.
pub(crate) struct Image {
    pub(crate) machine: u16,
    pub(crate) subsystem: u16,
    pub(crate) sections: Vec<Section>,
    /// Offset of the checksum, 4 bytes.
    pub(crate) checksum: u64,
    /// Offset of the directory's entry for the certificate table, 8 bytes.
    pub(crate) entry: u64,
    /// End of everything but the certificate table.
    pub(crate) end: u64,
    /// End of the file: that of the table, if there is one.
    pub(crate) len: u64,
}

/// A section.
pub(crate) struct Section {
    pub(crate) name: [u8; 8],
    pub(crate) virtual_size: u32,
    /// Where it is loaded to, counted from the image's start.
    pub(crate) address: u32,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// Whether a file says that it is a PE image.
pub(crate) fn is_pe(source: &dyn Source) -> io::Result<bool> {
    Ok(offset(source)?.is_some())
}

/// Offset of the PE signature.
fn offset(source: &dyn Source) -> io::Result<Option<u64>> {
    let len = source.len()?;
    let mut dos = [0; 64];
    if len < 64 {
        return Ok(None);
    }
    source.read_at(0, &mut dos)?;
    let at = u64::from(u32::from_le_bytes([dos[60], dos[61], dos[62], dos[63]]));
    if !dos.starts_with(b"MZ") || at.saturating_add(4) > len {
        return Ok(None);
    }
    let mut signature = [0; 4];
    source.read_at(at, &mut signature)?;
    Ok((signature == *b"PE\0\0").then_some(at))
}

impl Image {
    /// Reads the headers.
    pub(crate) fn read(source: &dyn Source) -> Result<Image, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let len = source.len()?;
        if len > FILE_MAX {
            return Err(FormatError::unsupported(
                NAME,
                "it is longer than 2 GiB, which its offsets cannot tell",
            ));
        }
        let at = offset(source)?.ok_or_else(|| malformed("it has no PE header"))?;
        // The DOS header ends at 64; a PE header inside of it is two headers
        // in the same bytes.
        if at < 64 {
            return Err(malformed("its PE header lies in the DOS header"));
        }
        // "8-byte aligned", which kernels are not; the checksum counts words.
        if !at.is_multiple_of(2) {
            return Err(malformed("its PE header lies on an odd offset"));
        }
        let headers = Headers::read(source, at, len)?;
        let (machine, count) = (headers.u16(4)?, headers.u16(6)?);
        let optional_size = u64::from(headers.u16(20)?);
        const OPTIONAL: u64 = 24;
        let directories = match headers.u16(OPTIONAL)? {
            0x10b => OPTIONAL + 96,
            0x20b => OPTIONAL + 112,
            _ => return Err(malformed("its optional header is neither PE32 nor PE32+")),
        };
        let number = headers.u32(directories - 4)?;
        if !(5..=16).contains(&number) {
            return Err(malformed(
                "it has no place for a certificate table, or more directories than there are",
            ));
        }
        if directories - OPTIONAL + 8 * u64::from(number) > optional_size {
            return Err(malformed("its directories do not fit its optional header"));
        }
        let size_of_headers = u64::from(headers.u32(OPTIONAL + 60)?);
        let table = OPTIONAL + optional_size;
        if count == 0 || count > SECTIONS_MAX {
            return Err(malformed("it has no section, or more than 96"));
        }
        let headers_end = at + table + 40 * u64::from(count);
        if headers_end > size_of_headers || size_of_headers > len {
            return Err(malformed("its headers do not end where they say"));
        }
        let (start, size) = (headers.u32(directories + 32)?, headers.u32(directories + 36)?);
        let end = table_start(u64::from(start), u64::from(size), len)?;
        let mut sections = Vec::new();
        for index in 0..u64::from(count) {
            let own = table + 40 * index;
            sections.push(Section {
                name: headers.bytes(own)?,
                virtual_size: headers.u32(own + 8)?,
                address: headers.u32(own + 12)?,
                size: u64::from(headers.u32(own + 16)?),
                start: u64::from(headers.u32(own + 20)?),
            });
        }
        tiled(&sections, size_of_headers, end)?;
        apart(&sections, size_of_headers, u64::from(headers.u32(OPTIONAL + 56)?))?;
        Ok(Image {
            machine,
            subsystem: headers.u16(OPTIONAL + 68)?,
            sections,
            checksum: at + OPTIONAL + 64,
            entry: at + directories + 32,
            end,
            len,
        })
    }

    /// The Authenticode digest (*Windows Authenticode Portable Executable
    /// Signature Format*, "Calculating the PE Image Hash"): everything but
    /// the checksum, the table's entry and the table. The sections lie one
    /// behind the other, so hashing them in order is hashing the file.
    pub(crate) fn digest(&self, source: &dyn Source, hash: Hash) -> Result<Vec<u8>, FormatError> {
        // The zeros are appended before it is computed.
        Ok(hash.of_ranges(source, &self.hashed(), self.padding())?)
    }

    /// What is hashed.
    pub(crate) fn hashed(&self) -> [Range<u64>; 3] {
        [0..self.checksum, self.checksum + 4..self.entry, self.entry + 8..self.end]
    }

    /// Zeros up to the certificate table.
    pub(crate) fn padding(&self) -> usize {
        (self.end.next_multiple_of(8) - self.end) as usize
    }

    /// The certificate table.
    pub(crate) fn table(&self, source: &dyn Source) -> Result<Vec<u8>, FormatError> {
        let len = self.len - self.end;
        if len > TABLE_MAX {
            return Err(FormatError::malformed(NAME, "its certificate table is longer than 256 KiB"));
        }
        let mut table = vec![0; len as usize];
        source.read_at(self.end, &mut table)?;
        Ok(table)
    }
}

/// Where the certificate table begins, or the file ends.
fn table_start(start: u64, size: u64, len: u64) -> Result<u64, FormatError> {
    let malformed = |what: &str| Err(FormatError::malformed(NAME, what));
    match (start, size) {
        (0, 0) => Ok(len),
        (0, _) | (_, 0) => malformed("its certificate table has a place or a size, and not both"),
        _ if !start.is_multiple_of(8) || !size.is_multiple_of(8) => {
            malformed("its certificate table does not lie on a multiple of 8")
        }
        // Nothing behind it: what stands there no digest covers.
        _ if start + size != len => malformed("its certificate table does not end where the file ends"),
        _ => Ok(start),
    }
}

/// The sections follow each other without a gap. With one, the standard's
/// digest leaves it out and hashes the end twice, tools hash it, and firmware
/// does as the standard says: more than one reading.
fn tiled(sections: &[Section], headers: u64, end: u64) -> Result<(), FormatError> {
    let mut places: Vec<_> =
        sections.iter().filter(|own| own.size > 0).map(|own| (own.start, own.size)).collect();
    places.sort_unstable();
    let mut at = headers;
    for (start, size) in places {
        let what = match start.cmp(&at) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some("two of its sections overlap, or one lies in the headers"),
            std::cmp::Ordering::Greater => {
                Some("there is a gap between its sections, which not every reader hashes")
            }
        };
        if let Some(what) = what {
            return Err(FormatError::malformed(NAME, what));
        }
        at = start + size;
    }
    match at > end {
        true => {
            Err(FormatError::malformed(NAME, "a section ends behind the file, or in its certificate table"))
        }
        false => Ok(()),
    }
}

impl Section {
    /// Bytes that it takes where it is loaded.
    fn memory(&self) -> Range<u64> {
        // "if (Section->Misc.VirtualSize == 0) ... SizeOfRawData" (edk2,
        // PeCoffLoaderLoadImage).
        let size = if self.virtual_size == 0 { self.size } else { u64::from(self.virtual_size) };
        u64::from(self.address)..u64::from(self.address) + size
    }
}

/// No section is loaded over another, over the headers, or beyond the memory that
/// the image asks for: what is hashed is the file, and what runs is what was
/// loaded last.
fn apart(sections: &[Section], headers: u64, image: u64) -> Result<(), FormatError> {
    let mut places: Vec<_> = sections.iter().map(Section::memory).filter(|place| !place.is_empty()).collect();
    places.push(0..headers);
    places.sort_unstable_by_key(|place| place.start);
    let what = if places.windows(2).any(|pair| pair[0].end > pair[1].start) {
        "two of its sections are loaded over each other, or one over the headers"
    } else if places.last().is_some_and(|last| last.end > image) {
        "a section is loaded beyond the size of the image"
    } else {
        return Ok(());
    };
    Err(FormatError::malformed(NAME, what))
}

/// Everything from the PE signature to the end of the section table.
struct Headers {
    bytes: Vec<u8>,
    len: u64,
}

impl Headers {
    fn read(source: &dyn Source, at: u64, len: u64) -> io::Result<Headers> {
        let mut bytes = vec![0; (len - at).min(HEADERS_MAX) as usize];
        source.read_at(at, &mut bytes)?;
        Ok(Headers { bytes, len })
    }

    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], FormatError> {
        let start = at as usize;
        let found = self.bytes.get(start..start + N).and_then(|bytes| bytes.try_into().ok());
        let (need, have) = (at + N as u64, self.len);
        found.ok_or(FormatError::Truncated { format: NAME, what: "the headers", need, have })
    }

    fn u16(&self, at: u64) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }

    fn u32(&self, at: u64) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }
}
