//! Builder of block trees: from a payload's bytes to its hash blocks.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::digest::DIGEST_LEN;
use firmseal_core::{BlockSize, Digest, Hasher, Refusal, Tree};

/// A payload's digest, tree and hash blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayloadTree {
    /// Flat SHA-256 of the payload.
    pub digest: Digest,
    /// Geometry and root hash.
    pub tree: Tree,
    /// The hash blocks, top level first, as carriers keep them.
    pub hash_blocks: Vec<u8>,
}

/// Builds a tree from a payload that is fed piece by piece. It keeps one
/// digest per block: 1/128 of the payload for blocks of 4096 bytes.
pub struct TreeBuilder {
    block: BlockSize,
    payload: <RustCrypto as Crypto>::Hasher,
    current: <RustCrypto as Crypto>::Hasher,
    filled: usize,
    size: u64,
    leaves: Vec<u8>,
}

impl TreeBuilder {
    /// Starts a tree with the given block size.
    pub fn new(block: BlockSize) -> TreeBuilder {
        TreeBuilder {
            block,
            payload: RustCrypto.sha256(),
            current: RustCrypto.sha256(),
            filled: 0,
            size: 0,
            leaves: Vec::new(),
        }
    }

    /// Adds the next bytes of the payload.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.payload.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = bytes.len().min(self.block.bytes() - self.filled);
            let (now, later) = bytes.split_at(take);
            self.current.update(now);
            self.filled += take;
            bytes = later;
            if self.filled == self.block.bytes() {
                self.close_block();
            }
        }
    }

    fn close_block(&mut self) {
        let hasher = std::mem::replace(&mut self.current, RustCrypto.sha256());
        self.leaves.extend(hasher.finish().as_bytes());
        self.filled = 0;
    }

    /// Finishes. Empty payloads and payloads beyond the limit are refused.
    pub fn finish(mut self) -> Result<PayloadTree, Refusal> {
        let block = self.block.bytes();
        if self.filled > 0 {
            // The last block is padded with zeros.
            self.current.update(&vec![0; block - self.filled]);
            self.close_block();
        }
        let mut levels: Vec<Vec<u8>> = Vec::new();
        let mut digests = self.leaves;
        while digests.len() > DIGEST_LEN {
            digests.resize(digests.len().next_multiple_of(block), 0);
            let above =
                digests.chunks_exact(block).flat_map(|hash_block| RustCrypto.digest(hash_block).0).collect();
            levels.push(std::mem::replace(&mut digests, above));
        }
        let root = Digest::from_slice(&digests).ok_or(Refusal::Malformed("an empty payload"))?;
        let tree = Tree::new(self.size, self.block, root)?;
        levels.reverse();
        Ok(PayloadTree { digest: self.payload.finish(), tree, hash_blocks: levels.concat() })
    }
}
