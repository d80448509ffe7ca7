//! Proofs made from tiles.

use std::cell::RefCell;
use std::collections::BTreeMap;

use firmseal_core::Digest;

use crate::edge::perfect;
use crate::error::Error;
use crate::merkle::{empty_root, node_hash};
use crate::tile::{HEIGHT, Tile, WIDTH};

/// Where tiles are.
///
/// Contract: returns the tile's hashes, 32 bytes each. A partial tile may
/// be answered with a wider one, as it may be gone once the full one is
/// there. What comes back is not trusted: check what is made from it.
pub trait Tiles {
    /// Reads one tile.
    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error>;
}

/// Makes proofs for a tree of one size; reads each tile once.
pub struct Prover<'t, T> {
    tiles: &'t T,
    size: u64,
    seen: RefCell<BTreeMap<(u8, u64), Vec<Digest>>>,
}

impl<'t, T: Tiles> Prover<'t, T> {
    /// A prover for the tree of the first `size` leaves.
    pub fn new(tiles: &'t T, size: u64) -> Prover<'t, T> {
        Prover { tiles, size, seen: RefCell::default() }
    }

    /// The root.
    pub fn root(&self) -> Result<Digest, Error> {
        if self.size == 0 {
            return Ok(empty_root());
        }
        self.range(0, self.size)
    }

    /// The hash of one leaf.
    pub fn leaf(&self, index: u64) -> Result<Digest, Error> {
        self.reach(index.saturating_add(1), index)?;
        self.subtree(0, index)
    }

    /// Proves that a leaf stands at `index`: RFC 6962 §2.1.1, siblings
    /// from the leaf upward.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Digest>, Error> {
        self.reach(index.saturating_add(1), index)?;
        let mut path = Vec::new();
        let (mut low, mut high) = (0, self.size);
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                path.push(self.range(middle, high)?);
                high = middle;
            } else {
                path.push(self.range(low, middle)?);
                low = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// Proves that the tree begins with its first `old` leaves: RFC 6962
    /// §2.1.2. Empty for 0, as tlog-witness wants, and for the whole tree.
    pub fn consistency(&self, old: u64) -> Result<Vec<Digest>, Error> {
        self.reach(old, old)?;
        if old == 0 {
            return Ok(Vec::new());
        }
        let mut path = Vec::new();
        let (mut low, mut high) = (0, self.size);
        // The old tree ends inside low..high, or with it.
        while old != high {
            let middle = low + split(high - low);
            if old <= middle {
                path.push(self.range(middle, high)?);
                high = middle;
            } else {
                path.push(self.range(low, middle)?);
                low = middle;
            }
        }
        // Only where all turns went left is this the old root itself,
        // which the verifier has.
        if low != 0 {
            path.push(self.range(low, high)?);
        }
        path.reverse();
        Ok(path)
    }

    fn reach(&self, needed: u64, asked: u64) -> Result<(), Error> {
        match needed <= self.size {
            true => Ok(()),
            false => Err(Error::OutOfRange { size: self.size, asked }),
        }
    }

    /// Hash over low..high, where low is a multiple of the power of two
    /// that high - low is at most.
    fn range(&self, low: u64, high: u64) -> Result<Digest, Error> {
        let mut hash: Option<Digest> = None;
        let mut end = high;
        while end > low {
            // Whole subtrees, the smallest first: those of the bits of the
            // length, from the right.
            let height = (end - low).trailing_zeros();
            let start = end - (1 << height);
            let subtree = self.subtree(height, start >> height)?;
            hash = Some(hash.map_or(subtree, |right| node_hash(&subtree, &right)));
            end = start;
        }
        Ok(hash.unwrap_or_else(empty_root))
    }

    /// Hash of the whole subtree of 2^height leaves that is the index'th.
    fn subtree(&self, height: u32, index: u64) -> Result<Digest, Error> {
        let level = (height / HEIGHT) as u8;
        let width = 1u64 << (height % HEIGHT);
        // The index counts subtrees; the tile counts hashes of its level.
        let first = index << (height % HEIGHT);
        let (tile, from) = (first / WIDTH, (first % WIDTH) as usize);
        let mut seen = self.seen.borrow_mut();
        let hashes = match seen.entry((level, tile)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(self.read(level, tile)?),
        };
        let part = hashes.get(from..from + width as usize);
        part.map(perfect).ok_or(Error::OutOfRange { size: self.size, asked: first })
    }

    fn read(&self, level: u8, index: u64) -> Result<Vec<Digest>, Error> {
        let tile = Tile::of(self.size, level, index)
            .ok_or(Error::OutOfRange { size: self.size, asked: index.saturating_mul(WIDTH) })?;
        let bytes = self.tiles.read(tile)?;
        let (width, most) = (tile.width as usize * 32, WIDTH as usize * 32);
        if bytes.len() < width || bytes.len() > most || !bytes.len().is_multiple_of(32) {
            let why = format!("it has {} bytes where at least {width} are needed", bytes.len());
            return Err(Error::Unreadable { tile: tile.path(), why });
        }
        Ok(bytes[..width].chunks_exact(32).filter_map(Digest::from_slice).collect())
    }
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}
