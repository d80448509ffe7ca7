//! The payload of a bundle: what lies before its CMS, and the tree over it.

use super::NAME;
use super::envelope::cbc;
use super::manifest::Terms;
use super::squashfs::{self, SUPERBLOCK};
use crate::error::FormatError;
use crate::source::Source;
use crate::verity::{BLOCK, Tree};

/// Longest payload with a tree: the levels of one that are held take 16 MiB.
const TREE_MAX: u64 = 256 << 30;

/// Number of blocks of a payload that can have a tree.
pub(super) fn blocks(len: u64) -> Result<u64, FormatError> {
    let malformed = |why| Err(FormatError::malformed(NAME, why));
    if !len.is_multiple_of(BLOCK) {
        return malformed("its payload does not fill blocks of 4096 bytes: make it without `-nopad`");
    }
    // RAUC: "squashfs size must be larger than 4096 bytes".
    if len <= BLOCK {
        return malformed("its payload has one block or none, over which RAUC knows no tree");
    }
    if len > TREE_MAX {
        return malformed("its payload is longer than 256 GiB");
    }
    Ok(len / BLOCK)
}

/// Checks what is said of the payload of a bundle with a tree, byte for byte,
/// and gives its length.
pub(super) fn check(source: &dyn Source, terms: &Terms, end: u64) -> Result<u64, FormatError> {
    let malformed = |why| FormatError::malformed(NAME, why);
    let len = end
        .checked_sub(terms.size)
        .ok_or_else(|| malformed("the manifest says that its tree is longer than the bundle"))?;
    let blocks = blocks(len)?;
    if Tree::len_over(blocks) != terms.size {
        return Err(malformed("the length of its tree is not that of a tree over its payload"));
    }
    let mut superblock = [0; SUPERBLOCK];
    source.read_at(0, &mut superblock)?;
    if let Some(key) = &terms.crypt_key {
        // dm-crypt's aes-cbc-plain64: the initial value is the sector's number,
        // and the first one is zero.
        cbc(key, [0; 16], &mut superblock);
        if !squashfs::begins(&superblock) {
            return Err(malformed("the key in the manifest opens no squashfs"));
        }
    }
    squashfs::check(&superblock, len)?;
    match Tree::stands(source, blocks, terms.salt, &terms.root, len)? {
        true => Ok(len),
        false => Err(FormatError::DigestMismatch { format: NAME }),
    }
}
