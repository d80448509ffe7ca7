//! The right edge of a tree: all that a log needs in memory to grow.

use firmseal_core::Digest;

use crate::merkle::{empty_root, node_hash};
use crate::tile::{Tile, WIDTH};

/// The unfinished tile of every level, and the tiles finished since the
/// last [`Edge::take`].
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// Size at the last `take`.
    taken: u64,
    levels: Vec<Vec<Digest>>,
    finished: Vec<(Tile, Vec<u8>)>,
}

impl Edge {
    /// The edge of an empty tree.
    pub fn new() -> Edge {
        Edge::default()
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf's hash.
    pub fn push(&mut self, leaf: Digest) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(WIDTH as usize));
            }
            self.levels[level].push(hash);
            if (self.levels[level].len() as u64) < WIDTH {
                return;
            }
            // A full tile is one hash of the level above.
            let index = (self.size >> (8 * (level as u32 + 1))) - 1;
            let hashes = std::mem::take(&mut self.levels[level]);
            self.finished.push((Tile { level: level as u8, index, width: WIDTH }, bytes(&hashes)));
            hash = perfect(&hashes);
        }
    }

    /// The root (RFC 6962 §2.1): subtrees are joined from the right, as
    /// the smaller ones stand there.
    pub fn root(&self) -> Digest {
        let mut root: Option<Digest> = None;
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let subtree = perfect(&hashes[end - width..end]);
                root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
                end -= width;
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// The tiles that [`crate::written`] names for the growth since the
    /// last call, with their bytes.
    pub fn take(&mut self) -> Vec<(Tile, Vec<u8>)> {
        let mut tiles = std::mem::take(&mut self.finished);
        for (hashes, level) in self.levels.iter().zip(0u8..) {
            let nodes = |size: u64| size >> (8 * u32::from(level));
            if nodes(self.size) > nodes(self.taken) && !hashes.is_empty() {
                let (index, width) = (nodes(self.size) / WIDTH, hashes.len() as u64);
                tiles.push((Tile { level, index, width }, bytes(hashes)));
            }
        }
        self.taken = self.size;
        tiles
    }
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Root over a power of two of hashes.
pub(crate) fn perfect(hashes: &[Digest]) -> Digest {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}
