//! A squashfs's superblock (Linux, *fs/squashfs/squashfs_fs.h*): enough to
//! tell that one is there and how long it is.

use super::NAME;
use crate::error::FormatError;

/// Length of the superblock.
pub(super) const SUPERBLOCK: usize = 96;
const MAGIC: &[u8] = b"hsqs";

/// Whether a file begins as a squashfs.
pub(super) fn begins(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Checks that what begins so is a squashfs within `len` bytes.
pub(super) fn check(superblock: &[u8; SUPERBLOCK], len: u64) -> Result<(), FormatError> {
    let malformed = |why| Err(FormatError::malformed(NAME, why));
    if !begins(superblock) {
        return malformed("the payload is no squashfs");
    }
    // s_major and s_minor: the only version that Linux mounts.
    if superblock[28..32] != [4, 0, 0, 0] {
        return malformed("the squashfs is of another version than 4.0");
    }
    let mut used = [0; 8];
    used.copy_from_slice(&superblock[40..48]);
    let used = u64::from_le_bytes(used);
    if used < SUPERBLOCK as u64 || used > len {
        return malformed("the squashfs says that it is longer than the payload");
    }
    Ok(())
}
