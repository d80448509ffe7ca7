//! An image: headers, segments, checksum and hash (esp_app_format.h), all of
//! which are checked against the file.

use std::ops::Range;

use super::NAME;
use super::sector::SECTOR;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::plan::Plan;
use crate::source::{Source, bytes_at, for_each_piece};

const MAGIC: u8 = 0xe9;
/// Both headers.
const HEADER: u64 = 24;
const SEGMENT_HEADER: u64 = 8;
/// ESP_IMAGE_MAX_SEGMENTS.
const SEGMENTS_MAX: u8 = 16;
/// Longest segment that esptool writes and a bootloader maps.
const SEGMENT_MAX: u64 = 16 * 1024 * 1024;
/// What the checksum begins with.
const CHECKSUM: u8 = 0xef;
const HASH_LEN: u64 = 32;

/// An image.
pub(super) struct Image {
    pub(super) flash_mode: u8,
    pub(super) flash_size_and_speed: u8,
    pub(super) entry: u32,
    pub(super) chip: u16,
    pub(super) min_revision: u16,
    pub(super) max_revision: u16,
    pub(super) segments: Vec<Segment>,
    pub(super) has_hash: bool,
    /// End of the image without padding.
    pub(super) end: u64,
    /// The signature sector, if there is one.
    pub(super) sector: Option<u64>,
}

/// A segment.
pub(super) struct Segment {
    pub(super) address: u32,
    pub(super) data: Range<u64>,
}

impl Segment {
    /// Where it is loaded to.
    fn place(&self) -> Range<u64> {
        let start = u64::from(self.address);
        start..start + (self.data.end - self.data.start)
    }
}

/// Whether a file is an image by what a boot ROM looks at: what that takes for
/// one must not be signed as anything else, be its other fields what they may.
/// Chips are numbered below 64; ESP8266 images have a segment in that place.
pub(super) fn is_one(header: &[u8; HEADER as usize]) -> bool {
    header[0] == MAGIC && (1..=SEGMENTS_MAX).contains(&header[1]) && header[12] < 64 && header[13] == 0
}

impl Image {
    /// Reads an image whose checksum and hash are right.
    pub(super) fn read(source: &dyn Source) -> Result<Image, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let len = source.len()?;
        let header: [u8; HEADER as usize] = read(source, 0, len, "the header")?;
        if !is_one(&header) {
            return Err(malformed("it does not begin as an image for a chip of the ESP32 family"));
        }
        let has_hash = match header[23] {
            0 => false,
            1 => true,
            // esptool wants 0 or 1, the bootloader takes anything for 1.
            _ => return Err(malformed("its header does not say whether its hash is appended")),
        };
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let mut image = Image {
            flash_mode: header[2],
            flash_size_and_speed: header[3],
            entry: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
            chip: u16_at(12),
            min_revision: u16_at(15),
            max_revision: u16_at(17),
            segments: Vec::new(),
            has_hash,
            end: 0,
            sector: None,
        };
        let mut at = HEADER;
        for _ in 0..header[1] {
            let fields: [u8; SEGMENT_HEADER as usize] = read(source, at, len, "a segment's header")?;
            let [address, size] = [0, 4]
                .map(|at| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]));
            let start = at + SEGMENT_HEADER;
            let data = start..start + u64::from(size);
            if !size.is_multiple_of(4) || u64::from(size) >= SEGMENT_MAX {
                return Err(malformed("a segment of its is no multiple of 4 bytes, or 16 MiB and more"));
            }
            if data.end > len {
                let (need, have) = (data.end, len);
                return Err(FormatError::Truncated { format: NAME, what: "a segment", need, have });
            }
            at = data.end;
            image.segments.push(Segment { address, data });
        }
        image.apart()?;
        // "the last byte of the last 16-byte block".
        let checked = (at + 1).next_multiple_of(16);
        image.end = checked + if has_hash { HASH_LEN } else { 0 };
        if image.end > len {
            let (need, have) = (image.end, len);
            return Err(FormatError::Truncated { format: NAME, what: "checksum and hash", need, have });
        }
        image.check(source, checked)?;
        image.sector = image.padding(source, len)?;
        Ok(image)
    }

    /// No two segments are loaded over each other: what is hashed is the file, and
    /// what runs is what was loaded last. Segments at zero are loaded nowhere.
    fn apart(&self) -> Result<(), FormatError> {
        let loaded = self.segments.iter().filter(|own| own.address != 0);
        let mut places: Vec<Range<u64>> = loaded.map(Segment::place).filter(|own| !own.is_empty()).collect();
        places.sort_unstable_by_key(|place| place.start);
        let what = if places.windows(2).any(|pair| pair[0].end > pair[1].start) {
            "two of its segments are loaded over each other"
        } else if places.last().is_some_and(|last| last.end > 1 << 32) {
            "a segment is loaded beyond 32 bits of addresses"
        } else {
            return Ok(());
        };
        Err(FormatError::malformed(NAME, what))
    }

    /// Holds checksum and hash against the content: a device that does not
    /// verify signatures goes by them, and a stale one is damage.
    fn check(&self, source: &dyn Source, checked: u64) -> Result<(), FormatError> {
        let mut sum = CHECKSUM;
        for segment in &self.segments {
            for_each_piece(source, segment.data.clone(), |piece| {
                sum = piece.iter().fold(sum, |sum, byte| sum ^ byte);
                Ok(())
            })?;
        }
        let [found] = read(source, checked - 1, self.end, "the checksum")?;
        if found != sum {
            return Err(FormatError::malformed(
                NAME,
                format!(
                    "its checksum is {found:#04x}, its segments have {sum:#04x}: it was damaged or altered"
                ),
            ));
        }
        if self.has_hash {
            let found: [u8; HASH_LEN as usize] = read(source, checked, self.end, "the hash")?;
            if Hash::Sha256.of_range(source, 0..checked)? != found {
                return Err(FormatError::DigestMismatch { format: NAME });
            }
        }
        Ok(())
    }

    /// Where the signature sector is: a file ends with its image, with the
    /// padding behind it, or with the sector behind that. A device computes the
    /// place from the image, and finds nothing that stands elsewhere.
    fn padding(&self, source: &dyn Source, len: u64) -> Result<Option<u64>, FormatError> {
        let signed = self.signed_len();
        if len == self.end {
            return Ok(None);
        }
        if len != signed && len != signed + SECTOR {
            return Err(FormatError::malformed(
                NAME,
                format!(
                    "it ends neither where its image does, nor at {signed}, nor {SECTOR} bytes later, with its signatures"
                ),
            ));
        }
        let mut erased = true;
        for_each_piece(source, self.end..signed, |piece| {
            erased &= piece.iter().all(|byte| *byte == 0xff);
            Ok(())
        })?;
        match erased {
            true => Ok((len > signed).then_some(signed)),
            false => Err(FormatError::malformed(
                NAME,
                "what stands between the image and 4 KiB is not erased flash",
            )),
        }
    }

    /// Length of what is signed.
    pub(super) fn signed_len(&self) -> u64 {
        self.end.next_multiple_of(SECTOR)
    }

    /// What is signed, of a source of this length.
    pub(super) fn signed(&self, len: u64) -> Plan {
        let padding = self.signed_len() - self.end;
        Plan::new(len).source(0..self.end).bytes(vec![0xff; padding as usize])
    }
}

/// Bytes that have to lie before `end`.
pub(super) fn read<const N: usize>(
    source: &dyn Source,
    at: u64,
    end: u64,
    what: &'static str,
) -> Result<[u8; N], FormatError> {
    bytes_at(source, at, end, (NAME, what))
}
