//! Parameters of MCUboot images, under imgtool's names.

use uuid::Uuid;

use super::header::HEADER_LEN;
use crate::error::FormatError;
use crate::parameters::{Parameter, Parameters, bad};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter { name: "slot-size", about: "size of the slot in bytes; needed to wrap a raw binary" },
    Parameter {
        name: "header-size",
        about: "size of the header with its padding; needed to wrap a raw binary",
    },
    Parameter {
        name: "pad-header",
        about: "true puts the header before a raw binary; false (default) overwrites zeros at its start",
    },
    Parameter { name: "load-addr", about: "address in RAM that the image is copied to and run from" },
    Parameter { name: "rom-fixed", about: "address in flash that the image is built for" },
    Parameter { name: "non-bootable", about: "true marks an image that is not run; default false" },
    Parameter { name: "vid", about: "vendor id: a UUID that devices compare" },
    Parameter { name: "cid", about: "class id: a UUID that devices compare" },
    Parameter { name: "align", about: "write alignment of the flash: 1 (default), 2, 4, 8, 16 or 32" },
    Parameter {
        name: "max-align",
        about: "largest alignment of both slots: 8, 16 or 32; default from align",
    },
    Parameter { name: "max-sectors", about: "sectors of the slot, for the size of the trailer; default 128" },
    Parameter {
        name: "overwrite-only",
        about: "true if upgrades overwrite instead of swapping; default false",
    },
    Parameter {
        name: "erased-val",
        about: "value of erased flash, 0 or 0xff (default): fills the padded header",
    },
];

/// Parsed parameters.
pub(super) struct Options {
    pub(super) slot_size: Option<u64>,
    pub(super) header_size: Option<u16>,
    pub(super) pad_header: bool,
    pub(super) load_address: Option<u32>,
    pub(super) rom_fixed: Option<u32>,
    pub(super) non_bootable: bool,
    pub(super) vendor_id: Option<Uuid>,
    pub(super) class_id: Option<Uuid>,
    pub(super) erased: u8,
    trailer: u64,
}

impl Options {
    pub(super) fn parse(given: &Parameters) -> Result<Options, FormatError> {
        given.check(PARAMETERS)?;
        let u32_of =
            |name| Ok::<_, FormatError>(given.number(name, u32::MAX.into())?.map(|value| value as u32));
        let one_of = |name, allowed: &[u64]| match given.number(name, u64::MAX)? {
            Some(value) if !allowed.contains(&value) => Err(bad(name, format!("use one of {allowed:?}"))),
            value => Ok(value),
        };
        let uuid_of = |name| match given.get(name).map(Uuid::try_parse) {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id)),
            Some(Err(_)) => {
                Err(bad(name, "use a UUID, like 12345678-1234-5678-1234-567812345678".to_owned()))
            }
        };
        let header_size = given.number("header-size", u16::MAX.into())?.map(|size| size as u16);
        if header_size.is_some_and(|size| usize::from(size) < HEADER_LEN) {
            return Err(bad("header-size", "use at least 32".to_owned()));
        }
        let options = Options {
            slot_size: given.number("slot-size", u64::MAX)?,
            header_size,
            pad_header: given.flag("pad-header")?,
            load_address: u32_of("load-addr")?.filter(|address| *address != 0),
            rom_fixed: u32_of("rom-fixed")?.filter(|address| *address != 0),
            non_bootable: given.flag("non-bootable")?,
            vendor_id: uuid_of("vid")?,
            class_id: uuid_of("cid")?,
            erased: one_of("erased-val", &[0, 0xff])?.unwrap_or(0xff) as u8,
            trailer: trailer_size(
                one_of("align", &[1, 2, 4, 8, 16, 32])?.unwrap_or(1),
                one_of("max-align", &[8, 16, 32])?,
                given.number("max-sectors", 1 << 20)?.unwrap_or(128),
                given.flag("overwrite-only")?,
            ),
        };
        if options.load_address.is_some() && options.rom_fixed.is_some() {
            return Err(bad("rom-fixed", "an image runs from RAM or from flash; leave one out".to_owned()));
        }
        Ok(options)
    }

    /// Refuses a file that is longer than the slot by itself.
    pub(super) fn fits_bare(&self, size: u64) -> Result<(), FormatError> {
        match self.slot_size {
            Some(slot) if size > slot => Err(FormatError::SlotTooSmall { need: size, slot }),
            _ => Ok(()),
        }
    }

    /// Refuses an image of `size` bytes that leaves no room for the trailer
    /// (imgtool `check_trailer`).
    pub(super) fn fits(&self, size: u64) -> Result<(), FormatError> {
        let need = size.saturating_add(self.trailer);
        match self.slot_size {
            Some(slot) if need > slot => Err(FormatError::SlotTooSmall { need, slot }),
            _ => Ok(()),
        }
    }
}

/// What the bootloader keeps at the end of a slot (imgtool `_trailer_size`):
/// the status of each sector's swap, four flags, and a magic of 16 bytes.
fn trailer_size(align: u64, max_align: Option<u64>, sectors: u64, overwrite_only: bool) -> u64 {
    let max_align = max_align.unwrap_or(align.max(8));
    let magic = 16u64.next_multiple_of(max_align);
    if overwrite_only { max_align * 2 + magic } else { sectors * 3 * align + max_align * 4 + magic }
}
