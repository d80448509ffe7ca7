//! Merkle trees of the log (RFC 9162 §2.1): is this leaf in that tree?

use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;

/// The hash of a leaf: SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8], crypto: &impl Crypto) -> Digest {
    let mut hasher = crypto.sha256();
    hasher.update(&[0]);
    hasher.update(leaf);
    hasher.finish()
}

/// Whether the path leads from the leaf at `index` to the root of the tree
/// of `size` leaves (RFC 9162 §2.1.3.2).
pub(crate) fn includes(
    leaf: Digest,
    index: u64,
    size: u64,
    path: impl Iterator<Item = Digest>,
    root: &Digest,
    crypto: &impl Crypto,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut at, mut last) = (leaf, index, size - 1);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = parent(&sibling, &node, crypto);
            // Levels where the node is the last and has no sibling.
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            node = parent(&node, &sibling, crypto);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && node == *root
}

/// SHA-256(0x01 || left || right).
fn parent(left: &Digest, right: &Digest, crypto: &impl Crypto) -> Digest {
    let mut hasher = crypto.sha256();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}
