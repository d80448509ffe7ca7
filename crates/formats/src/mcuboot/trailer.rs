//! The slot trailer: the bootloader's own state at the end of a slot
//! (MCUboot, docs/design.md, "Image trailer").
//!
//! ```text
//! erased | status of the swap | keys or wrapped keys
//!   | swap_size | swap_info | copy_done | image_ok | magic
//! ```
//!
//! No signature covers it. An image may only come with the trailer of a slot
//! in which nothing has happened yet, as imgtool writes it: all of it erased
//! but the magic, and `image_ok` where the image is confirmed. Any other byte
//! is refused.

use super::NAME;
use super::endian::Endian;
use crate::error::FormatError;
use crate::inspection::Inspection;
use crate::parameters::{Parameters, bad};
use crate::source::{Source, for_each_piece};

/// `boot_img_magic` for write alignments up to 8.
const MAGIC: [u8; 16] =
    [0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80];
/// The same for larger ones, behind the alignment.
const MAGIC_ALIGNED: [u8; 14] =
    [0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a];

/// What lies behind the TLVs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trailer {
    /// Nothing.
    None,
    /// Erased bytes only.
    Erased,
    /// A trailer for flash that is written in so many bytes at once, with
    /// `image_ok` set or not.
    Fresh { max_align: u64, confirmed: bool },
}

impl Trailer {
    /// Reads what lies between the TLVs and the end of the file.
    pub(super) fn read(
        source: &dyn Source,
        start: u64,
        have: u64,
        endian: Endian,
    ) -> Result<Trailer, FormatError> {
        let fail = || FormatError::malformed(NAME, "bytes behind the TLVs that are not a fresh slot trailer");
        if start == have {
            return Ok(Trailer::None);
        }
        let mut first = [0];
        source.read_at(start, &mut first)?;
        let [erased] = first;
        if erased != 0 && erased != 0xff {
            return Err(fail());
        }
        let mut last = [erased; 16];
        let tail = (have - start).min(16) as usize;
        source.read_at(have - tail as u64, &mut last[16 - tail..])?;
        let align = match last {
            MAGIC => 8,
            [first, second, aligned @ ..] if aligned == MAGIC_ALIGNED => match endian.u16([first, second]) {
                align @ (16 | 32) => u64::from(align),
                _ => return Err(fail()),
            },
            _ => 0,
        };
        let magic_at = if align == 0 { have } else { have - 16 };
        let image_ok_at = (align != 0).then(|| have.checked_sub(behind_image_ok(align))).flatten();
        // Where the flags would lie in TLVs, a bootloader takes those for them.
        if align != 0 && have - start < behind_copy_done(align) {
            return Err(FormatError::malformed(NAME, "its slot trailer overlaps its TLVs"));
        }
        let mut confirmed = false;
        let mut at = start;
        for_each_piece(source, start..magic_at.max(start), |piece| {
            for byte in piece {
                if *byte == 1 && image_ok_at == Some(at) {
                    confirmed = true;
                } else if *byte != erased {
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
                at += 1;
            }
            Ok(())
        })
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => fail(),
            _ => FormatError::Read(error),
        })?;
        Ok(if align == 0 { Trailer::Erased } else { Trailer::Fresh { max_align: align, confirmed } })
    }

    /// Says what it says.
    pub(super) fn tell(self, out: &mut Inspection) {
        match self {
            Trailer::None => {}
            Trailer::Erased => out.note("trailer", "erased bytes, which no signature covers"),
            Trailer::Fresh { max_align, confirmed } => {
                let asks = if confirmed { "says the image is confirmed" } else { "asks for a trial boot" };
                out.note("trailer", format!("{asks}; no signature covers it"));
                out.note("trailer magic", format!("for writes of up to {max_align} bytes"));
                out.note("image_ok", if confirmed { "set" } else { "unset" });
                out.note("swap_info, copy_done", "unset: nothing was swapped yet");
            }
        }
    }
}

/// From `image_ok` to the end of the slot: one alignment before the magic,
/// which is itself rounded up to the alignment.
fn behind_image_ok(max_align: u64) -> u64 {
    16u64.next_multiple_of(max_align) + max_align
}

/// From `copy_done` to the end of the slot. Slots that are overwritten have no
/// more than that (imgtool `_trailer_size`).
fn behind_copy_done(max_align: u64) -> u64 {
    behind_image_ok(max_align) + max_align
}

/// The end of a slot as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// Length of the whole, if it is known.
    size: Option<u64>,
    max_align: u64,
    /// Length of the trailer.
    trailer: u64,
    /// Value of erased flash.
    erased: u8,
    /// Whether the image is padded to the slot, and if so, confirmed.
    pad: Option<bool>,
}

impl Slot {
    /// Reads the parameters. Of encrypted images the bootloader keeps
    /// something of so many bytes for each slot: the content key, or what
    /// holds it.
    pub(super) fn parse(given: &Parameters, key: Option<u64>, erased: u8) -> Result<Slot, FormatError> {
        let one_of = |name, allowed: &[u64]| match given.number(name, u64::MAX)? {
            Some(value) if !allowed.contains(&value) => Err(bad(name, format!("use one of {allowed:?}"))),
            value => Ok(value),
        };
        let align = one_of("align", &[1, 2, 4, 8, 16, 32])?.unwrap_or(1);
        let max_align = one_of("max-align", &[8, 16, 32])?.unwrap_or(align.max(8));
        let sectors = given.number("max-sectors", 1 << 20)?.unwrap_or(128);
        let overwrite_only = given.flag("overwrite-only")?;
        // imgtool `_trailer_size`: the status of each sector's swap, keys,
        // four flags, and the magic.
        let keys = key.map_or(0, |key| 2 * key.next_multiple_of(max_align));
        let trailer = if overwrite_only {
            behind_copy_done(max_align)
        } else {
            sectors * 3 * align + keys + max_align * 2 + behind_copy_done(max_align)
        };
        let size = given.number("slot-size", u64::MAX)?;
        let confirmed = given.flag("confirm")?;
        let pad = (given.flag("pad")? || confirmed).then_some(confirmed);
        match (pad, size) {
            // imgtool says nothing and leaves it out.
            (Some(true), _) if overwrite_only => {
                return Err(bad("confirm", "there is no image_ok in slots that are overwritten".to_owned()));
            }
            (Some(_), None) => return Err(bad("slot-size", "needed to pad an image to it".to_owned())),
            // Flash has addresses of 32 bits (bootutil `struct flash_area`).
            (Some(_), Some(size)) if size > u64::from(u32::MAX) => {
                return Err(bad("slot-size", "an image is padded to at most 4294967295 bytes".to_owned()));
            }
            _ => {}
        }
        Ok(Slot { size, max_align, trailer, erased, pad })
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Value of erased flash.
    pub(super) fn erased(&self) -> u8 {
        self.erased
    }

    /// Whether the image is padded to its slot.
    pub(super) fn padded(&self) -> bool {
        self.pad.is_some()
    }

    /// Refuses a file that is longer than the slot by itself.
    pub(super) fn fits_bare(&self, len: u64) -> Result<(), FormatError> {
        match self.size {
            Some(slot) if len > slot => Err(FormatError::SlotTooSmall { need: len, slot }),
            _ => Ok(()),
        }
    }

    /// Refuses an image of `len` bytes that leaves no room for the trailer
    /// (imgtool `check_trailer`).
    pub(super) fn fits(&self, len: u64) -> Result<(), FormatError> {
        self.fits_bare(len.saturating_add(self.trailer))
    }

    /// What follows an image of `len` bytes, which fits: erased bytes, and
    /// what stands at the end (imgtool `pad_to`).
    pub(super) fn padding(&self, len: u64, endian: Endian) -> Option<(u64, Vec<u8>)> {
        let (confirmed, size) = (self.pad?, self.size?);
        let mut end = vec![self.erased; behind_image_ok(self.max_align) as usize];
        if confirmed {
            end[0] = 1;
        }
        let magic = end.len() - MAGIC.len();
        end[magic..].copy_from_slice(&MAGIC);
        if self.max_align != 8 {
            end[magic..magic + 2].copy_from_slice(&endian.u16_bytes(self.max_align as u16));
            end[magic + 2..].copy_from_slice(&MAGIC_ALIGNED);
        }
        Some((size.checked_sub(len)?.checked_sub(end.len() as u64)?, end))
    }
}
