//! LMS trees from seeds (RFC 8554 §4.5, §5.4.1 and appendix A), small enough
//! to be made in every test.

use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};
use firmseal_core::lms::Parameters;

/// A tree with all its one-time keys.
pub struct Tree {
    set: Parameters,
    seed: u8,
    /// Node 1 is the root; the children of `n` are `2n` and `2n + 1`.
    nodes: Vec<Vec<u8>>,
}

impl Tree {
    /// The tree of a seed: its identifier and its secret are made of it.
    pub fn new(set: Parameters, seed: u8) -> Tree {
        let leaves = 1 << set.height();
        let mut tree = Tree { set, seed, nodes: vec![Vec::new(); 2 * leaves] };
        for leaf in 0..leaves {
            let ends = (0..set.chains()).map(|chain| tree.chain(leaf as u32, chain, set.steps()));
            let key = tree.hash(leaf as u32, &[0x80, 0x80], &ends.collect::<Vec<_>>().concat());
            tree.nodes[leaves + leaf] = tree.hash((leaves + leaf) as u32, &[0x82, 0x82], &key);
        }
        for node in (1..leaves).rev() {
            let children = tree.nodes[2 * node..=2 * node + 1].concat();
            tree.nodes[node] = tree.hash(node as u32, &[0x83, 0x83], &children);
        }
        tree
    }

    /// The HSS public key with one level.
    pub fn public(&self) -> Vec<u8> {
        let (tree, chains) = self.set.codes();
        [&[0, 0, 0, 1], &tree.to_be_bytes()[..], &chains.to_be_bytes(), &[self.seed; 16], &self.nodes[1]]
            .concat()
    }

    /// Signs with a leaf. Tests may use one twice; nothing else may.
    pub fn sign(&self, leaf: u32, message: &[u8]) -> Vec<u8> {
        let (tree, chains) = self.set.codes();
        let randomizer = vec![0xc5; self.set.hash()];
        let hash = self.hash(leaf, &[0x81, 0x81], &[&randomizer, message].concat());
        let mut out = [&[0; 4], &leaf.to_be_bytes()[..], &chains.to_be_bytes(), &randomizer].concat();
        for chain in 0..self.set.chains() {
            out.extend(self.chain(leaf, chain, self.set.step(&hash, chain)));
        }
        out.extend(tree.to_be_bytes());
        let mut node = (1 << self.set.height()) + leaf as usize;
        while node > 1 {
            out.extend(&self.nodes[node ^ 1]);
            node /= 2;
        }
        out
    }

    /// A chain from its secret start, which appendix A derives from the
    /// seed, to some step.
    fn chain(&self, leaf: u32, chain: usize, steps: u32) -> Vec<u8> {
        let place = (chain as u16).to_be_bytes();
        let start = self.hash(leaf, &place, &[&[0xff], &vec![!self.seed; self.set.hash()][..]].concat());
        (0..steps).fold(start, |value, step| self.hash(leaf, &place, &[&[step as u8], &value[..]].concat()))
    }

    fn hash(&self, number: u32, kind: &[u8; 2], rest: &[u8]) -> Vec<u8> {
        let mut hasher = RustCrypto.sha256();
        let parts: [&[u8]; 4] = [&[self.seed; 16], &number.to_be_bytes(), kind, rest];
        parts.into_iter().for_each(|part| hasher.update(part));
        hasher.finish().as_bytes()[..self.set.hash()].to_vec()
    }
}
