//! LMS keys (RFC 8554, NIST SP 800-208): one tree of one-time keys from a
//! seed, and signing with the leaf that a log has reserved.
//!
//! A key here remembers nothing: which leaf signs comes with every call,
//! from [`crate::Logged`]. What lies in a file is the seed, the parameters,
//! the log that counts the leaves, and the tree's crown, the nodes halfway
//! down, which are public and save computing all of the tree to sign once.
//! A copy of the file is therefore as good as the file, and restoring an old
//! one repeats nothing.

use aws_lc_rs::rand;
use firmseal_core::lms::Parameters;
use firmseal_manifest::{KeyError, PublicKey};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// What the encoding begins with.
const HEAD: &[u8] = b"firmseal-lms-key 1\n";
/// Depth of the crown: 256 nodes, 8 KiB.
const CROWN: u32 = 8;
/// The tallest tree that is made: 32,768 leaves take a minute of one
/// processor at width 8, the next size half an hour.
pub const HEIGHT_MAX: u32 = 15;
/// Longest name of a log.
const LOG_MAX: usize = 1024;

// Domain separators (RFC 8554 §7.1, and its appendix A for the last).
const D_PBLC: [u8; 2] = [0x80, 0x80];
const D_MESG: [u8; 2] = [0x81, 0x81];
const D_LEAF: [u8; 2] = [0x82, 0x82];
const D_INTR: [u8; 2] = [0x83, 0x83];
const D_SEED: u8 = 0xff;

/// A hash, of which the set's length counts.
type Hash = [u8; 32];

/// An LMS private key.
pub(crate) struct LmsKey {
    set: Parameters,
    id: [u8; 16],
    seed: Zeroizing<Vec<u8>>,
    log: String,
    /// The nodes of depth [`CROWN`], or the leaves of a tree less tall.
    crown: Vec<Hash>,
}

impl LmsKey {
    /// Makes a key whose leaves the log of this name counts. Takes all
    /// processors for up to a minute where the tree is tall.
    pub(crate) fn generate(set: Parameters, log: &str) -> Option<LmsKey> {
        let (mut id, mut seed) = ([0; 16], Zeroizing::new(vec![0; set.hash()]));
        // Apart from the seed, as RFC 8554 §7.1 asks: a new identifier
        // keeps this tree's hashes apart from those of all others.
        rand::fill(&mut id).and_then(|()| rand::fill(&mut seed)).ok()?;
        LmsKey::from_seed(set, id, seed, log)
    }

    /// The key of a seed (RFC 8554 appendix A; SP 800-208 §6.1).
    fn from_seed(set: Parameters, id: [u8; 16], seed: Zeroizing<Vec<u8>>, log: &str) -> Option<LmsKey> {
        if set.height() > HEIGHT_MAX || seed.len() != set.hash() || log.len() > LOG_MAX {
            return None;
        }
        let key = LmsKey { set, id, seed, log: log.to_owned(), crown: Vec::new() };
        let first = 1 << key.crown_depth();
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let nodes: Vec<u32> = (first..2 * first).collect();
        let crown = std::thread::scope(|scope| {
            let parts = nodes
                .chunks(nodes.len().div_ceil(threads))
                .map(|part| scope.spawn(|| part.iter().map(|node| key.below(*node)).collect::<Vec<_>>()));
            // All are begun before the first is waited for.
            let parts: Vec<_> = parts.collect();
            parts.into_iter().map(|part| part.join().ok()).collect::<Option<Vec<_>>>()
        });
        let crown = crown?.concat();
        Some(LmsKey { crown, ..key })
    }

    /// Reads what [`LmsKey::encode`] wrote.
    pub(crate) fn decode(encoded: &[u8]) -> Option<LmsKey> {
        let rest = encoded.strip_prefix(HEAD)?;
        let (tree, rest) = rest.split_first_chunk()?;
        let (chains, rest) = rest.split_first_chunk()?;
        let set = Parameters::from_codes(u32::from_be_bytes(*tree), u32::from_be_bytes(*chains))?;
        let (id, rest) = rest.split_first_chunk()?;
        let (seed, rest) = rest.split_at_checked(set.hash())?;
        let (length, rest) = rest.split_first_chunk()?;
        let (log, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let log = std::str::from_utf8(log).ok().filter(|log| log.len() <= LOG_MAX)?.to_owned();
        let key = LmsKey { set, id: *id, seed: Zeroizing::new(seed.to_vec()), log, crown: Vec::new() };
        let crown = rest.chunks(set.hash()).map(|node| {
            let mut hash = [0; 32];
            hash[..node.len()].copy_from_slice(node);
            hash
        });
        let whole = set.height() <= HEIGHT_MAX && rest.len() == set.hash() << key.crown_depth();
        whole.then(|| LmsKey { crown: crown.collect(), ..key })
    }

    /// The key as it lies, encrypted, in a file.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (tree, chains) = self.set.codes();
        // As long as it gets: it must not move and leave copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(LOG_MAX + 128 + self.crown.len() * 32));
        out.extend(HEAD);
        out.extend(tree.to_be_bytes());
        out.extend(chains.to_be_bytes());
        out.extend(self.id);
        out.extend(self.seed.iter());
        out.extend((self.log.len() as u16).to_be_bytes());
        out.extend(self.log.as_bytes());
        self.crown.iter().for_each(|node| out.extend(&node[..self.set.hash()]));
        out
    }

    /// The public half, as HSS key with one level.
    pub(crate) fn public_key(&self) -> Result<PublicKey, KeyError> {
        let (tree, chains) = self.set.codes();
        let mut out = [1, tree, chains].map(u32::to_be_bytes).concat();
        out.extend(self.id);
        out.extend(&self.node(1)[..self.set.hash()]);
        PublicKey::from_lms(&out)
    }

    /// The log that counts its leaves.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// How many times it signs.
    pub(crate) fn leaves(&self) -> u32 {
        1 << self.set.height()
    }

    /// Signs with a leaf (RFC 8554 §4.5 and §5.4.1). The caller was given
    /// the leaf by a log, for this message, and never asks for it again.
    pub(crate) fn sign(&self, leaf: u32, message: &[u8]) -> Option<Vec<u8>> {
        if leaf >= self.leaves() {
            return None;
        }
        let n = self.set.hash();
        let (tree, chains) = self.set.codes();
        // From the system and not from the seed (SP 800-208 §6.1).
        let mut randomizer = vec![0; n];
        rand::fill(&mut randomizer).ok()?;
        let hash = self.hash(leaf, D_MESG, &[&randomizer, message]);
        let mut out = [0, leaf, chains].map(u32::to_be_bytes).concat();
        out.reserve_exact(self.set.signature_len() - out.len());
        out.extend(&randomizer);
        for chain in 0..self.set.chains() {
            let value = self.chain(leaf, chain, self.set.step(&hash[..n], chain));
            out.extend(&value[..n]);
        }
        out.extend(tree.to_be_bytes());
        let mut node = self.leaves() + leaf;
        while node > 1 {
            out.extend(&self.node(node ^ 1)[..n]);
            node /= 2;
        }
        Some(out)
    }

    fn crown_depth(&self) -> u32 {
        self.set.height().min(CROWN)
    }

    /// A node, 1 the root; those above the crown are made of it.
    fn node(&self, node: u32) -> Hash {
        let first = 1 << self.crown_depth();
        match node.checked_sub(first) {
            None => self.parent(node, |child| self.node(child)),
            Some(place) => match self.crown.get(place as usize) {
                Some(known) => *known,
                None => self.below(node),
            },
        }
    }

    /// A node from the leaves below it.
    fn below(&self, node: u32) -> Hash {
        match node.checked_sub(self.leaves()) {
            Some(leaf) => self.hash(node, D_LEAF, &[&self.one_time(leaf)[..self.set.hash()]]),
            None => self.parent(node, |child| self.below(child)),
        }
    }

    fn parent(&self, node: u32, child: impl Fn(u32) -> Hash) -> Hash {
        let (left, right) = (child(2 * node), child(2 * node + 1));
        self.hash(node, D_INTR, &[&left[..self.set.hash()], &right[..self.set.hash()]])
    }

    /// The public half of a one-time key (algorithm 1): the ends of its
    /// chains.
    fn one_time(&self, leaf: u32) -> Hash {
        let mut hasher = self.hasher(leaf, D_PBLC);
        for chain in 0..self.set.chains() {
            hasher.update(&self.chain(leaf, chain, self.set.steps())[..self.set.hash()]);
        }
        hasher.finalize().into()
    }

    /// A chain after so many steps. Its start follows from the seed
    /// (appendix A).
    fn chain(&self, leaf: u32, chain: usize, steps: u32) -> Hash {
        let n = self.set.hash();
        // I || q || i || j || value: one block of SHA-256.
        let mut block = Zeroizing::new([0; 16 + 4 + 2 + 1 + 32]);
        block[..16].copy_from_slice(&self.id);
        block[16..20].copy_from_slice(&leaf.to_be_bytes());
        block[20..22].copy_from_slice(&(chain as u16).to_be_bytes());
        block[22] = D_SEED;
        block[23..23 + n].copy_from_slice(&self.seed);
        let mut value: Hash = Sha256::digest(&block[..23 + n]).into();
        for step in 0..steps {
            block[22] = step as u8;
            block[23..23 + n].copy_from_slice(&value[..n]);
            value.zeroize();
            value = Sha256::digest(&block[..23 + n]).into();
        }
        value
    }

    fn hash(&self, number: u32, kind: [u8; 2], parts: &[&[u8]]) -> Hash {
        let mut hasher = self.hasher(number, kind);
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize().into()
    }

    /// What every hash begins with: the tree, a leaf or node, and a kind.
    fn hasher(&self, number: u32, kind: [u8; 2]) -> Sha256 {
        Sha256::new_with_prefix(self.id).chain_update(number.to_be_bytes()).chain_update(kind)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::verify;
    use firmseal_manifest::{Signature, Tbs};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn key(tree: u32, chains: u32, id: &str, seed: &str) -> LmsKey {
        let set = Parameters::from_codes(tree, chains).unwrap();
        let id = bytes(id).try_into().unwrap();
        LmsKey::from_seed(set, id, Zeroizing::new(bytes(seed)), "log").unwrap()
    }

    /// RFC 8554, appendix F, test case 2: both trees are made from seeds
    /// as appendix A says, and these are their public keys.
    #[test]
    fn trees_are_those_of_the_rfc() {
        for (tree, chains, id, seed, root) in [
            (
                6,
                3,
                "d08fabd4a2091ff0a8cb4ed834e74534",
                "558b8966c48ae9cb898b423c83443aae014a72f1b1ab5cc85cf1d892903b5439",
                "32a58885cd9ba0431235466bff9651c6c92124404d45fa53cf161c28f1ad5a8e",
            ),
            (
                5,
                4,
                "215f83b7ccb9acbcd08db97b0d04dc2b",
                "a1c4696e2608035a886100d05cd99945eb3370731884a8235e2fb3d4d71f2547",
                "a1cd035833e0e90059603f26e07ad2aad152338e7a5e5984bcd5f7bb4eba40b7",
            ),
        ] {
            assert_eq!(key(tree, chains, id, seed).node(1).to_vec(), bytes(root));
        }
    }

    #[test]
    fn every_leaf_signs_and_the_key_reads_itself_back() {
        let id = "000102030405060708090a0b0c0d0e0f";
        for (tree, chains, seed) in [(5, 1, 32), (5, 3, 32), (10, 8, 24), (11, 6, 24)] {
            let made = key(tree, chains, id, &"5e".repeat(seed));
            let encoded = made.encode();
            let read = LmsKey::decode(&encoded).unwrap();
            let public = made.public_key().unwrap();
            assert_eq!(read.public_key(), made.public_key());
            assert_eq!((read.log(), read.leaves()), ("log", made.leaves()));
            for leaf in (0..made.leaves()).step_by(made.leaves() as usize / 32).chain([made.leaves() - 1]) {
                let signature = Signature(read.sign(leaf, b"firmware").unwrap());
                assert_eq!(verify(&public, &Tbs::Message(b"firmware".to_vec()), &signature), Ok(()));
                assert_eq!(signature.0[4..8], leaf.to_be_bytes());
            }
            assert_eq!(made.sign(made.leaves(), b"firmware"), None, "there is no such leaf");
            for length in 0..encoded.len() {
                assert!(LmsKey::decode(&encoded[..length]).is_none());
            }
            assert!(LmsKey::decode(&[&encoded[..], &[0]].concat()).is_none());
        }
    }

    #[test]
    fn a_tree_that_would_take_an_hour_is_not_made() {
        let set = Parameters::from_codes(8, 4).unwrap();
        assert!(LmsKey::generate(set, "log").is_none());
        let set = Parameters::from_codes(5, 4).unwrap();
        assert!(LmsKey::generate(set, &"l".repeat(LOG_MAX + 1)).is_none());
    }
}
