//! The headers of a capsule (UEFI 2.10 §8.5.3.1 and §23.3.2), and where its
//! items lie.

use std::ops::Range;

use uuid::Uuid;

use super::NAME;
use crate::error::FormatError;
use crate::source::{Source, bytes_at};

/// EFI_FIRMWARE_MANAGEMENT_CAPSULE_ID_GUID, as it lies in a file.
const FMP: [u8; 16] = Uuid::from_u128(0x6dcbd5ed_e82d_4c44_bda1_7194199ad92a).to_bytes_le();
/// U-Boot's capsules without an image (docs/develop/uefi/uefi.rst, "firmware
/// accept" and "firmware revert" capsule).
const ACCEPT: [u8; 16] = Uuid::from_u128(0x0c996046_bcc0_4d04_85ec_e1fcedf1c6f8).to_bytes_le();
const REVERT: [u8; 16] = Uuid::from_u128(0xacd58b4b_c0e8_475f_99b5_6b3f7e07aaf0).to_bytes_le();

/// EFI_CAPSULE_HEADER, as short as it can be.
const CAPSULE_HEADER: u64 = 28;
/// Longest one that is read: edk2's tools append four zeros to theirs.
const CAPSULE_HEADER_MAX: u64 = 4096;
/// EFI_FIRMWARE_MANAGEMENT_CAPSULE_HEADER without its list.
const FMP_HEADER: u64 = 8;
/// Most items that are read.
const ITEMS_MAX: u64 = 64;

pub(super) const PERSIST_ACROSS_RESET: u32 = 0x0001_0000;
pub(super) const POPULATE_SYSTEM_TABLE: u32 = 0x0002_0000;
pub(super) const INITIATE_RESET: u32 = 0x0004_0000;
/// What CAPSULE_SUPPORT_ the image header announces.
pub(super) const AUTHENTICATION: u64 = 1;
pub(super) const DEPENDENCY: u64 = 2;

/// Whether a file says that it is a capsule of a kind that is known here.
pub(super) fn is_capsule(guid: &[u8; 16]) -> bool {
    [FMP, ACCEPT, REVERT].contains(guid)
}

/// A capsule: its own header, and what is in it.
pub(super) struct Capsule {
    pub(super) header: Header,
    /// How many drivers stand before the payloads.
    pub(super) drivers: usize,
    pub(super) items: Vec<Item>,
}

/// What the capsule's header says, but for sizes.
#[derive(Clone)]
pub(super) struct Header {
    /// Its length; zeros follow its fields.
    pub(super) len: u64,
    pub(super) flags: u32,
}

/// A payload with its header.
pub(super) struct Item {
    pub(super) header: ItemHeader,
    /// The update image, with its authentication if it has one.
    pub(super) image: Range<u64>,
    /// What its maker's driver gets besides.
    pub(super) vendor_code: Range<u64>,
}

/// EFI_FIRMWARE_MANAGEMENT_CAPSULE_IMAGE_HEADER, but for sizes.
#[derive(Clone)]
pub(super) struct ItemHeader {
    /// 1, 2 or 3.
    pub(super) version: u32,
    pub(super) type_id: Uuid,
    pub(super) index: u8,
    /// From version 2 on.
    pub(super) hardware_instance: u64,
    /// From version 3 on.
    pub(super) support: u64,
}

impl ItemHeader {
    const fn len(version: u32) -> Option<u64> {
        match version {
            1 => Some(32),
            2 => Some(40),
            3 => Some(48),
            _ => None,
        }
    }
}

impl Capsule {
    /// Reads the headers, which say everything about the file's bytes: nothing
    /// lies between or behind what they name.
    pub(super) fn read(source: &dyn Source) -> Result<Capsule, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let unsupported = |what: &str| FormatError::unsupported(NAME, what);
        let len = source.len()?;
        let guid: [u8; 16] = read(source, 0, len, "the capsule header")?;
        match guid {
            FMP => {}
            ACCEPT | REVERT => {
                return Err(unsupported(
                    "it tells U-Boot to accept or to revert firmware, and holds no image and no signature",
                ));
            }
            _ => return Err(malformed("it does not begin with the GUID of a firmware management capsule")),
        }
        let fields: [u8; 12] = read(source, 16, len, "the capsule header")?;
        let [header_len, flags, size] = [0, 4, 8].map(|at| u32_at(&fields, at));
        let header_len = u64::from(header_len);
        if !(CAPSULE_HEADER..=CAPSULE_HEADER_MAX).contains(&header_len) || header_len > len {
            return Err(malformed("its header is shorter than 28 bytes, or longer than the file or 4 KiB"));
        }
        // What stands behind the size no signature covers, and a reader that
        // goes by the file's length sees another capsule than one that does
        // not.
        if u64::from(size) != len {
            return Err(malformed("its size is not that of the file"));
        }
        // "CAPSULE_FLAGS_POPULATE_SYSTEM_TABLE flag must be 0" (UEFI 2.10
        // §23.3.3).
        if flags & POPULATE_SYSTEM_TABLE != 0 {
            return Err(malformed("it asks to be put into the system table, which is for other capsules"));
        }
        let mut rest = vec![0; (header_len - CAPSULE_HEADER) as usize];
        source.read_at(CAPSULE_HEADER, &mut rest)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(unsupported("its header has fields that only their maker knows"));
        }
        let header = Header { len: header_len, flags };
        let (drivers, starts) = items(source, header_len, len)?;
        let ends = starts.iter().skip(1).copied().chain([len]);
        let mut items = Vec::new();
        for (start, end) in starts.iter().copied().zip(ends).skip(drivers) {
            items.push(Item::read(source, start..end)?);
        }
        Ok(Capsule { header, drivers, items })
    }
}

/// How many drivers there are, and where all items begin: "sorted in ascending
/// order with all drivers preceding all binary payload elements". They begin
/// where the list ends, and each where the one before may end.
fn items(source: &dyn Source, base: u64, len: u64) -> Result<(usize, Vec<u64>), FormatError> {
    let malformed = |what: &str| FormatError::malformed(NAME, what);
    let fields: [u8; FMP_HEADER as usize] = read(source, base, len, "the FMP capsule header")?;
    if u32_at(&fields, 0) != 1 {
        return Err(FormatError::unsupported(NAME, "its FMP capsule header is of another version than 1"));
    }
    let [drivers, payloads] = [4, 6].map(|at| u64::from(u16::from_le_bytes([fields[at], fields[at + 1]])));
    let count = drivers + payloads;
    if count == 0 || count > ITEMS_MAX {
        return Err(malformed("it holds no driver and no payload, or more than 64"));
    }
    let (mut starts, mut least) = (Vec::new(), base + FMP_HEADER + 8 * count);
    for index in 0..count {
        let offset: [u8; 8] = read(source, base + FMP_HEADER + 8 * index, len, "the list of its items")?;
        let start = base.checked_add(u64::from_le_bytes(offset)).filter(|start| *start < len);
        let start = start.ok_or_else(|| malformed("an item of its begins behind its end"))?;
        if start < least || (index == 0 && start > least) {
            return Err(malformed("its items overlap, or something stands before the first one"));
        }
        starts.push(start);
        least = start + 1;
    }
    Ok((drivers as usize, starts))
}

impl Item {
    fn read(source: &dyn Source, place: Range<u64>) -> Result<Item, FormatError> {
        const HEADER: &str = "the header of a payload";
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let fields: [u8; 32] = read(source, place.start, place.end, HEADER)?;
        let version = u32_at(&fields, 0);
        let Some(header_len) = ItemHeader::len(version) else {
            return Err(FormatError::unsupported(NAME, "the header of a payload is of no known version"));
        };
        let mut type_id = [0; 16];
        type_id.copy_from_slice(&fields[4..20]);
        if fields[21..24] != [0; 3] {
            return Err(malformed("the reserved bytes in the header of a payload are not zero"));
        }
        // "The number is between 1 and DescriptorCount" (§23.1.4).
        if fields[20] == 0 {
            return Err(malformed("it is for an image of index 0, and images count from 1"));
        }
        let word = |from: u32, at: u64| -> Result<u64, FormatError> {
            if version < from {
                return Ok(0);
            }
            Ok(u64::from_le_bytes(read(source, place.start + at, place.end, HEADER)?))
        };
        let header = ItemHeader {
            version,
            type_id: Uuid::from_bytes_le(type_id),
            index: fields[20],
            hardware_instance: word(2, 32)?,
            support: word(3, 40)?,
        };
        let start = place.start + header_len;
        let image = start..start + u64::from(u32_at(&fields, 24));
        let vendor_code = image.end..image.end + u64::from(u32_at(&fields, 28));
        if image.is_empty() {
            return Err(malformed("a payload of its is empty"));
        }
        match vendor_code.end == place.end {
            true => Ok(Item { header, image, vendor_code }),
            false => {
                Err(malformed("a payload of its does not end where the next one begins, or the file ends"))
            }
        }
    }
}

/// Everything before the image of a capsule with one payload.
pub(super) fn write(header: &Header, item: &ItemHeader, image: u64) -> Result<Vec<u8>, FormatError> {
    let too_large = || FormatError::unsupported(NAME, "with its signature it is longer than 4 GiB");
    let before = header.len + FMP_HEADER + 8 + ItemHeader::len(item.version).unwrap_or_default();
    let size = before.checked_add(image).and_then(|size| u32::try_from(size).ok()).ok_or_else(too_large)?;
    let mut out = Vec::with_capacity(before as usize);
    out.extend(FMP);
    out.extend((header.len as u32).to_le_bytes());
    out.extend(header.flags.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.resize(header.len as usize, 0);
    out.extend(1u32.to_le_bytes());
    out.extend([0, 0, 1, 0]);
    out.extend((FMP_HEADER + 8).to_le_bytes());
    out.extend(item.version.to_le_bytes());
    out.extend(item.type_id.to_bytes_le());
    out.extend([item.index, 0, 0, 0]);
    // It fits: the whole capsule does.
    out.extend((image as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend(item.hardware_instance.to_le_bytes());
    out.extend(item.support.to_le_bytes());
    out.truncate(before as usize);
    Ok(out)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].iter().take(4).rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
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
