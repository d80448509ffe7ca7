//! The header of a devicetree (Devicetree Specification 0.4 §5.2, §5.3).

use std::ops::Range;

use crate::error::FormatError;
use crate::source::{Source, head};

pub(super) const MAGIC: u32 = 0xd00d_feed;
/// Length of the header of version 17.
pub(super) const LEN: u64 = 40;
/// "The version is 17 if using the structure as defined in this document."
const VERSION: u32 = 17;
const COMPATIBLE: u32 = 16;
/// What libfdt writes there where it makes a tree from nothing, as for `mkimage
/// -f auto`: the oldest version that it reads. Version 17 is laid out the same.
const COMPATIBLE_WITH_ALL: u32 = 2;
/// Largest tree that U-Boot verifies (CONFIG_FIT_SIGNATURE_MAX_SIZE).
pub(super) const TOTAL_MAX: u64 = 256 * 1024 * 1024;
const STRINGS_MAX: u64 = 32 * 1024;
const RESERVED_MAX: u64 = 1024;

/// Where the blocks of a tree lie.
#[derive(Clone)]
pub(super) struct Header {
    /// Length of the tree.
    pub(super) total: u64,
    pub(super) structure: Range<u64>,
    pub(super) strings: Range<u64>,
    /// The reserved memory, its last, empty entry included.
    pub(super) reserved: Range<u64>,
    /// Processor that boots, which a tree for a kernel may name.
    pub(super) boot_cpu: u32,
}

/// Whether a file begins as a devicetree.
pub(super) fn is_tree(source: &dyn Source) -> std::io::Result<bool> {
    Ok(head::<4>(source)? == Some(MAGIC.to_be_bytes()))
}

impl Header {
    pub(super) fn read(source: &dyn Source, format: &'static str) -> Result<Header, FormatError> {
        let malformed = |what: &str| FormatError::malformed(format, what);
        let have = source.len()?;
        let truncated = |what, need| FormatError::Truncated { format, what, need, have };
        let bytes = head::<{ LEN as usize }>(source)?.ok_or_else(|| truncated("the header", LEN))?;
        let mut words = [0; 10];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            let mut four = [0; 4];
            four.copy_from_slice(bytes);
            *word = u32::from_be_bytes(four);
        }
        let [
            magic,
            total,
            structure,
            strings,
            reserved,
            version,
            compatible,
            boot_cpu,
            strings_len,
            structure_len,
        ] = words;
        if magic != MAGIC {
            return Err(malformed("it does not begin as a devicetree"));
        }
        if version != VERSION || !matches!(compatible, COMPATIBLE | COMPATIBLE_WITH_ALL) {
            return Err(malformed("it is not of version 17, which every dtc since 2005 writes"));
        }
        let total = u64::from(total);
        if total > TOTAL_MAX {
            return Err(malformed(
                "its tree is longer than 256 MiB, which U-Boot does not verify: mkimage -E keeps images outside of it",
            ));
        }
        if total > have {
            return Err(truncated("the tree", total));
        }
        let block = |start: u32, len: u64, align: u64, what: &str| {
            let start = u64::from(start);
            match start.is_multiple_of(align) && start >= LEN && start + len <= total {
                true => Ok(start..start + len),
                false => Err(FormatError::malformed(format, format!("its {what} do not lie in it"))),
            }
        };
        let structure_len = u64::from(structure_len);
        let structure = block(structure, structure_len, 4, "structures")?;
        let strings = block(strings, u64::from(strings_len), 1, "strings")?;
        if !structure_len.is_multiple_of(4) || u64::from(strings_len) > STRINGS_MAX {
            return Err(malformed("its structures are no whole words, or its strings longer than 32 KiB"));
        }
        let reserved = block(reserved, 16, 8, "memory reservations")?.start;
        let reserved = reserved..reserved_end(source, format, reserved, total)?;
        let mut blocks = [structure.clone(), strings.clone(), reserved.clone()];
        blocks.sort_by_key(|block| block.start);
        if blocks.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(malformed("two of its blocks overlap"));
        }
        Ok(Header { total, structure, strings, reserved, boot_cpu })
    }

    /// Whether no memory is reserved.
    pub(super) fn reserves_nothing(&self) -> bool {
        self.reserved.end - self.reserved.start == 16
    }
}

/// "The list of reserved blocks shall be terminated with an entry where both
/// address and size are equal to 0" (§5.3.1).
fn reserved_end(
    source: &dyn Source,
    format: &'static str,
    start: u64,
    total: u64,
) -> Result<u64, FormatError> {
    let mut at = start;
    while at + 16 <= total && at - start < RESERVED_MAX {
        let mut entry = [0; 16];
        source.read_at(at, &mut entry)?;
        at += 16;
        if entry == [0; 16] {
            return Ok(at);
        }
    }
    Err(FormatError::malformed(format, "its memory reservations have no end, or there are more than 64"))
}

/// A header over blocks in the order in which dtc writes them: reserved
/// memory, structures, strings.
pub(super) fn write(total: u32, reserved: u32, structure: u32, strings: u32, boot_cpu: u32) -> Vec<u8> {
    let at = LEN as u32 + reserved;
    [MAGIC, total, at, at + structure, LEN as u32, VERSION, COMPATIBLE, boot_cpu, strings, structure]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect()
}
