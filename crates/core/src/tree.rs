//! Block trees: dm-verity version 1, checked block by block.
//!
//! SHA-256 with an empty salt over blocks of 1024 or 4096 bytes, the last
//! one padded with zeros. Hash blocks hold the digests of the level below,
//! padded with zeros; levels are stored top down, as `veritysetup
//! --no-superblock` writes them. One hash block per level is kept in RAM,
//! and a block is checked before anybody sees a byte of it as [`Block`].

use crate::crypto::{Crypto, Hasher};
use crate::digest::{DIGEST_LEN, Digest};
use crate::limits::{LEVELS_MAX, Limit, PAYLOAD_MAX};
use crate::refusal::Refusal;

/// Block sizes that a tree may have, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockSize {
    /// For devices with little RAM.
    B1024,
    /// The page size that Linux can enforce on every read.
    B4096,
}

impl BlockSize {
    /// The size of a number of bytes.
    pub const fn from_bytes(bytes: u64) -> Option<BlockSize> {
        match bytes {
            1024 => Some(BlockSize::B1024),
            4096 => Some(BlockSize::B4096),
            _ => None,
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            BlockSize::B1024 => 1024,
            BlockSize::B4096 => 4096,
        }
    }

    const fn fan_out(self) -> u64 {
        (self.bytes() / DIGEST_LEN) as u64
    }
}

/// Size, block size and root hash of a payload's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    size: u64,
    block: BlockSize,
    root: Digest,
    levels: u8,
}

impl Tree {
    /// A tree over `size` bytes. Empty payloads and payloads beyond
    /// [`PAYLOAD_MAX`] have none.
    pub fn new(size: u64, block: BlockSize, root: Digest) -> Result<Tree, Refusal> {
        if size == 0 {
            return Err(Refusal::Malformed("an empty payload"));
        }
        if size > PAYLOAD_MAX {
            return Err(Refusal::Limit(Limit::PayloadMax));
        }
        let mut levels = 0;
        let mut blocks = size.div_ceil(block.bytes() as u64);
        while blocks > 1 {
            blocks = blocks.div_ceil(block.fan_out());
            levels += 1;
        }
        // PAYLOAD_MAX in 1024-byte blocks is 2^38 blocks: eight levels of
        // 32 hold 2^40.
        debug_assert!(levels as usize <= LEVELS_MAX);
        Ok(Tree { size, block, root, levels })
    }

    /// Payload size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Block size.
    pub const fn block(&self) -> BlockSize {
        self.block
    }

    /// Root hash.
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// Number of levels of hash blocks; none if the payload is one block.
    pub const fn levels(&self) -> usize {
        self.levels as usize
    }

    /// Number of data blocks.
    pub const fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block.bytes() as u64)
    }

    /// Hash blocks of a level; level 0 hashes the data.
    pub fn level_blocks(&self, level: usize) -> u64 {
        (0..=level).fold(self.blocks(), |blocks, _| blocks.div_ceil(self.block.fan_out()))
    }

    /// Bytes of all hash blocks together.
    pub fn hash_bytes(&self) -> u64 {
        self.level_offset_after(self.levels())
    }

    /// Bytes of the `count` lowest levels subtracted from the whole gives
    /// where a level starts; counted from the top as they are stored.
    fn level_offset_after(&self, count: usize) -> u64 {
        (0..count).map(|level| self.level_blocks(level)).sum::<u64>() * self.block.bytes() as u64
    }

    /// Byte offset of a level in the stored hash blocks.
    pub fn level_offset(&self, level: usize) -> u64 {
        self.hash_bytes() - self.level_offset_after(level + 1)
    }

    /// Bytes in a data block: the last one may be short.
    pub fn block_len(&self, index: u64) -> Option<usize> {
        let whole = self.block.bytes() as u64;
        match index.checked_mul(whole)? {
            offset if offset >= self.size => None,
            offset => Some((self.size - offset).min(whole) as usize),
        }
    }

    /// RAM that a [`Verifier`] needs, in bytes.
    pub const fn memory(&self) -> usize {
        self.levels as usize * self.block.bytes()
    }
}

/// A hash block that is needed next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashBlock {
    /// Its level; 0 hashes the data.
    pub level: usize,
    /// Its index within the level.
    pub index: u64,
    /// Its byte offset in the stored hash blocks.
    pub offset: u64,
}

/// A data block that has been checked: only [`Verifier::check`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Block<'b> {
    index: u64,
    offset: u64,
    bytes: &'b [u8],
}

impl<'b> Block<'b> {
    /// Index of the block.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Byte offset in the payload.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that are to be written.
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }
}

/// Every block of a tree has been checked, from the first to the last: what
/// a component holds that they were written to as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    tree: Tree,
}

impl Streamed {
    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// Checks blocks in any order, holding one hash block per level.
pub struct Verifier<'m, C> {
    tree: Tree,
    crypto: C,
    memory: &'m mut [u8],
    held: [Option<u64>; LEVELS_MAX],
    /// Blocks that were checked in order, from the first on.
    streamed: u64,
}

impl<'m, C: Crypto> Verifier<'m, C> {
    /// A verifier with [`Tree::memory`] bytes of RAM.
    pub fn new(tree: Tree, crypto: C, memory: &'m mut [u8]) -> Result<Verifier<'m, C>, Refusal> {
        if memory.len() < tree.memory() {
            return Err(Refusal::BlockGeometry);
        }
        Ok(Verifier { tree, crypto, memory, held: [None; LEVELS_MAX], streamed: 0 })
    }

    /// The tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The next hash block, from the top, that is needed before data block
    /// `block` can be checked. `None` when nothing is missing.
    pub fn wants(&self, block: u64) -> Option<HashBlock> {
        // Beyond the last block nothing helps, and `check` says so.
        if block >= self.tree.blocks() {
            return None;
        }
        (0..self.tree.levels()).rev().find_map(|level| {
            let index = self.path(block, level);
            (self.held[level] != Some(index)).then(|| HashBlock {
                level,
                index,
                offset: self.tree.level_offset(level) + index * self.tree.block.bytes() as u64,
            })
        })
    }

    /// Takes a hash block that [`Self::wants`] named. It is checked against
    /// its parent before it replaces anything.
    pub fn supply(&mut self, want: HashBlock, bytes: &[u8]) -> Result<(), Refusal> {
        let size = self.tree.block.bytes();
        if want.level >= self.tree.levels()
            || bytes.len() != size
            || want.index >= self.tree.level_blocks(want.level)
        {
            return Err(Refusal::BlockGeometry);
        }
        let expected = self.expected(want.level + 1, want.index).ok_or(Refusal::BlockGeometry)?;
        if self.crypto.digest(bytes) != expected {
            return Err(Refusal::HashBlockMismatch { level: want.level as u8, index: want.index });
        }
        self.memory[want.level * size..][..size].copy_from_slice(bytes);
        self.held[want.level] = Some(want.index);
        Ok(())
    }

    /// Checks a data block. The hash blocks on its path must be there.
    pub fn check<'b>(&mut self, index: u64, bytes: &'b [u8]) -> Result<Block<'b>, Refusal> {
        if self.tree.block_len(index) != Some(bytes.len()) {
            return Err(Refusal::BlockGeometry);
        }
        let expected = self.expected(0, index).ok_or(Refusal::BlockGeometry)?;
        let mut hasher = self.crypto.sha256();
        hasher.update(bytes);
        let mut padding = self.tree.block.bytes() - bytes.len();
        while padding > 0 {
            const ZEROS: [u8; 64] = [0; 64];
            let some = padding.min(ZEROS.len());
            hasher.update(&ZEROS[..some]);
            padding -= some;
        }
        if hasher.finish() != expected {
            return Err(Refusal::BlockMismatch(index));
        }
        if index == self.streamed {
            self.streamed += 1;
        }
        Ok(Block { index, offset: index * self.tree.block.bytes() as u64, bytes })
    }

    /// Whether every block has been checked, in order.
    pub fn streamed(&self) -> Option<Streamed> {
        (self.streamed == self.tree.blocks()).then_some(Streamed { tree: self.tree })
    }

    /// Index, within `level`, of the hash block on the path to data block
    /// `block`.
    fn path(&self, block: u64, level: usize) -> u64 {
        (0..=level).fold(block, |index, _| index / self.tree.block.fan_out())
    }

    /// The digest that hash level `level` holds for entry `index` below
    /// it; above the top level there is the root alone.
    fn expected(&self, level: usize, index: u64) -> Option<Digest> {
        if level >= self.tree.levels() {
            return (index == 0).then_some(self.tree.root);
        }
        let fan_out = self.tree.block.fan_out();
        if self.held[level] != Some(index / fan_out) {
            return None;
        }
        let size = self.tree.block.bytes();
        let at = (index % fan_out) as usize * DIGEST_LEN;
        Digest::from_slice(&self.memory[level * size..][..size][at..at + DIGEST_LEN])
    }
}
