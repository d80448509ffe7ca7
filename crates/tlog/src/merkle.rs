//! The Merkle tree: hashes, and proofs against them (RFC 6962 §2.1).

use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};

use crate::error::Error;

/// Most hashes in a proof: the tree has at most 2^63 leaves, and a
/// consistency proof begins with one more.
pub const PROOF_MAX: usize = 64;

/// Hash of a tree without leaves.
pub fn empty_root() -> Digest {
    RustCrypto.digest(b"")
}

/// Hash of an entry: the prefix keeps it apart from a node's.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hasher = RustCrypto.sha256();
    hasher.update(&[0]);
    hasher.update(entry);
    hasher.finish()
}

/// Hash of a node with two children.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut both = [1; 65];
    both[1..33].copy_from_slice(left.as_bytes());
    both[33..].copy_from_slice(right.as_bytes());
    RustCrypto.digest(&both)
}

/// Checks that `leaf` stands at `index` in a tree of `size` leaves with
/// this root (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), Error> {
    if index >= size {
        return Err(Error::OutOfRange { size, asked: index });
    }
    let bad = Error::BadProof("inclusion");
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(bad);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(bad) }
}

/// Checks that the tree of `size` leaves begins with the tree of `old`
/// leaves (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    old: u64,
    size: u64,
    proof: &[Digest],
    old_root: &Digest,
    root: &Digest,
) -> Result<(), Error> {
    if old > size {
        return Err(Error::OutOfRange { size, asked: old });
    }
    let bad = Error::BadProof("consistency");
    // Every tree begins with the empty one and with itself: nothing is
    // left to prove, and nothing may be added.
    if old == 0 || old == size {
        let (claimed, actual) = if old == size { (old_root, *root) } else { (old_root, empty_root()) };
        return if proof.is_empty() && *claimed == actual { Ok(()) } else { Err(bad) };
    }
    // A whole subtree on the left needs no hash of its own in the proof.
    let (first, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((first, rest))) => (first, rest),
        (false, None) => return Err(bad),
    };
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(bad);
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && from_old == *old_root && from_new == *root { Ok(()) } else { Err(bad) }
}
