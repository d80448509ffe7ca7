//! dm-verity's hash trees (Linux, *Documentation/admin-guide/device-mapper/
//! verity.rst*): version 1, SHA-256, blocks of 4096 bytes, no superblock.
//!
//! ```text
//! top block, whose digest is the root | ... | leaves: a digest per block
//! ```
//!
//! A digest is SHA-256 over salt and block; a level's last block is filled up
//! with zeros. Leaves are 1/128 of what they are over, 32 MiB for 4 GiB, and
//! are not kept: whoever writes a tree computes them again from the blocks.

use std::fmt;
use std::io;

use sha2::{Digest, Sha256};

use crate::source::{Source, for_each_piece};

/// Length of a block, of data and of digests.
pub(crate) const BLOCK: u64 = 4096;
const DIGEST: usize = 32;
/// Digests in a block.
const DIGESTS: u64 = BLOCK / DIGEST as u64;

/// The lowest level of a tree over a source's first blocks: as many digests,
/// and zeros to the end of a block.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaves {
    blocks: u64,
    salt: [u8; 32],
}

impl Leaves {
    /// Length of the level in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.blocks.div_ceil(DIGESTS) * BLOCK
    }

    /// Computes what stands at `offset` of the level.
    pub(crate) fn read_at(&self, source: &dyn Source, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut data = vec![0; BLOCK as usize];
        let (mut index, mut skip) = (offset / DIGEST as u64, (offset % DIGEST as u64) as usize);
        let mut rest = buffer;
        while !rest.is_empty() {
            let digest = if index < self.blocks {
                source.read_at(index * BLOCK, &mut data)?;
                digest(&self.salt, &data)
            } else {
                [0; DIGEST]
            };
            let (now, later) = rest.split_at_mut(rest.len().min(DIGEST - skip));
            now.copy_from_slice(&digest[skip..skip + now.len()]);
            (rest, index, skip) = (later, index + 1, 0);
        }
        Ok(())
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaves({} blocks)", self.blocks)
    }
}

/// A tree over a source's first blocks.
pub(crate) struct Tree {
    /// What a signature covers.
    pub(crate) root: [u8; 32],
    /// All levels but the lowest, from the top: 256 KiB for 4 GiB.
    pub(crate) upper: Vec<u8>,
    /// The lowest.
    pub(crate) leaves: Leaves,
}

impl Tree {
    /// Reads two blocks or more, once. Each block of leaves, with its number,
    /// goes to `each` as soon as it is known.
    pub(crate) fn of(
        source: &dyn Source,
        blocks: u64,
        salt: [u8; 32],
        each: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Tree> {
        Tree::seen(source, blocks, salt, |_, _| (), each)
    }

    /// The same, and `see` is shown each block that is read, with its number.
    fn seen(
        source: &dyn Source,
        blocks: u64,
        salt: [u8; 32],
        mut see: impl FnMut(u64, &[u8]),
        mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Tree> {
        let (mut level, mut leaves, mut number) = (Vec::new(), Vec::with_capacity(BLOCK as usize), 0);
        let mut close = |leaves: &mut Vec<u8>| {
            leaves.resize(BLOCK as usize, 0);
            each(number, leaves)?;
            level.extend(digest(&salt, leaves));
            number += 1;
            leaves.clear();
            Ok::<_, io::Error>(())
        };
        let mut at = 0;
        // Pieces are whole blocks: they are 128 KiB long, but for the last.
        for_each_piece(source, 0..blocks * BLOCK, |piece| {
            for block in piece.chunks(BLOCK as usize) {
                see(at, block);
                at += 1;
                leaves.extend(digest(&salt, block));
                if leaves.len() == BLOCK as usize {
                    close(&mut leaves)?;
                }
            }
            Ok(())
        })?;
        if !leaves.is_empty() {
            close(&mut leaves)?;
        }
        let mut levels = Vec::new();
        while level.len() > DIGEST {
            level.resize(level.len().next_multiple_of(BLOCK as usize), 0);
            let above = level.chunks(BLOCK as usize).flat_map(|block| digest(&salt, block)).collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        let mut root = [0; DIGEST];
        root.copy_from_slice(level.get(..DIGEST).ok_or(io::ErrorKind::InvalidInput)?);
        let upper = levels.into_iter().rev().flatten().collect();
        Ok(Tree { root, upper, leaves: Leaves { blocks, salt } })
    }

    /// Length of a tree over so many blocks.
    pub(crate) fn len_over(blocks: u64) -> u64 {
        let (mut level, mut all) = (blocks, 0);
        while level > 1 {
            level = level.div_ceil(DIGESTS);
            all += level;
        }
        all * BLOCK
    }

    /// Whether the source holds this tree from `at` on, and what `root` is
    /// the root of.
    pub(crate) fn stands(
        source: &dyn Source,
        blocks: u64,
        salt: [u8; 32],
        root: &[u8; 32],
        at: u64,
    ) -> io::Result<bool> {
        Ok(Tree::standing(source, blocks, salt, at, |_, _| ())?.is_some_and(|own| own == *root))
    }

    /// The root of the tree over the source's first blocks, if the source holds
    /// that tree from `at` on. `see` is shown each of those blocks.
    pub(crate) fn standing(
        source: &dyn Source,
        blocks: u64,
        salt: [u8; 32],
        at: u64,
        see: impl FnMut(u64, &[u8]),
    ) -> io::Result<Option<[u8; 32]>> {
        let leaves_at = at + Tree::len_over(blocks) - Leaves { blocks, salt }.len();
        let (mut same, mut there) = (true, vec![0; BLOCK as usize]);
        let tree = Tree::seen(source, blocks, salt, see, |number, leaves| {
            source.read_at(leaves_at + number * BLOCK, &mut there)?;
            same &= there == leaves;
            Ok(())
        })?;
        for (number, block) in tree.upper.chunks(BLOCK as usize).enumerate() {
            source.read_at(at + number as u64 * BLOCK, &mut there)?;
            same &= there == block;
        }
        Ok(same.then_some(tree.root))
    }
}

fn digest(salt: &[u8], block: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(salt).chain_update(block).finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Plan;

    /// Blocks that all differ, and the tree over them as it stands in a file.
    fn with_tree(blocks: u64) -> (Vec<u8>, Vec<u8>, [u8; 32]) {
        let data: Vec<u8> =
            (0..blocks).flat_map(|block| [block as u8 ^ 0x5a, (block >> 8) as u8].repeat(2048)).collect();
        let mut leaves = Vec::new();
        let tree = Tree::of(&data, blocks, [7; 32], |number, block| {
            assert_eq!(number * BLOCK, leaves.len() as u64);
            leaves.extend(block);
            Ok(())
        });
        let tree = tree.unwrap();
        let mut whole = Vec::new();
        let plan =
            Plan::new(data.len() as u64).source(0..u64::MAX).bytes(tree.upper.clone()).leaves(tree.leaves);
        plan.write_to(&data, &mut whole).unwrap();
        assert_eq!(whole, [&data[..], &tree.upper, &leaves].concat());
        (data, whole, tree.root)
    }

    #[test]
    fn leaves_are_the_same_at_every_offset() {
        let (data, whole, _) = with_tree(129);
        let (leaves, level) = (Leaves { blocks: 129, salt: [7; 32] }, &whole[data.len() + 4096..]);
        assert_eq!(leaves.len(), 8192);
        for start in (0..100).chain(4000..4200).chain(8100..8192) {
            for len in [0, 1, 31, 32, 33, 65] {
                let mut piece = vec![0xaa; len.min(level.len() - start)];
                leaves.read_at(&data, start as u64, &mut piece).unwrap();
                assert_eq!(piece, level[start..start + piece.len()]);
            }
        }
    }

    #[test]
    fn every_block_of_data_and_tree_counts() {
        for (blocks, tree_len) in [(2, 1), (128, 1), (129, 3), (128 * 128 + 1, 129 + 2 + 1)] {
            let (data, mut whole, root) = with_tree(blocks);
            let at = data.len() as u64;
            assert_eq!(Tree::len_over(blocks), tree_len * BLOCK);
            assert_eq!(whole.len() as u64, (blocks + tree_len) * BLOCK);
            let stands = |whole: &Vec<u8>| Tree::stands(whole, blocks, [7; 32], &root, at).unwrap();
            assert!(stands(&whole), "{blocks}");
            assert!(!Tree::stands(&whole, blocks, [8; 32], &root, at).unwrap());
            assert!(!Tree::stands(&whole, blocks, [7; 32], &[0; 32], at).unwrap());
            // The zeros behind the last digest are part of it.
            let end = whole.len() - 1;
            for place in [0, data.len() - 1, data.len(), data.len() + 4095, end] {
                whole[place] ^= 1;
                assert!(!stands(&whole), "{blocks} {place}");
                whole[place] ^= 1;
            }
        }
    }
}
