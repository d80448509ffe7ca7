//! LMS, hash-based signatures (RFC 8554, NIST SP 800-208): verification.
//!
//! In COSE the key type and the algorithm are HSS-LMS (RFC 8778), so a single
//! tree is an HSS key with one level: `u32(1)` before the LMS key, `u32(0)`,
//! the number of signed keys, before the LMS signature. More levels are
//! refused: they multiply length and work, and our signers need one.
//! The trees are those of SHA-256 and SHA-256/192 in SP 800-208 §4.1 and
//! §4.2; a hasher is all that they need.

use crate::crypto::{BadSignature, Crypto, Hasher};
use crate::digest::Digest;

/// Length of the identifier of a tree.
const ID: usize = 16;

// Domain separators (RFC 8554 §7.1).
const D_PBLC: [u8; 2] = [0x80, 0x80];
const D_MESG: [u8; 2] = [0x81, 0x81];
const D_LEAF: [u8; 2] = [0x82, 0x82];
const D_INTR: [u8; 2] = [0x83, 0x83];

/// What a tree and its one-time signatures are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parameters {
    hash: usize,
    height: u32,
    width: u32,
}

impl Parameters {
    /// The parameters behind two type codes (RFC 8554 §4.1 and §5.1,
    /// SP 800-208 §4); both must use the same hash (SP 800-208 §4).
    pub const fn from_codes(tree: u32, chains: u32) -> Option<Parameters> {
        let (hash, height) = match tree {
            5..=9 => (32, 5 * (tree - 4)),
            10..=14 => (24, 5 * (tree - 9)),
            _ => return None,
        };
        let width = match (chains, hash) {
            (1..=4, 32) => 1 << (chains - 1),
            (5..=8, 24) => 1 << (chains - 5),
            _ => return None,
        };
        Some(Parameters { hash, height, width })
    }

    /// Bytes of a hash: 32, or 24 for SHA-256/192.
    pub const fn hash(&self) -> usize {
        self.hash
    }

    /// Height of the tree: it signs 2^height times.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Bits that one chain signs: 1, 2, 4 or 8.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// The type codes of tree and one-time signature.
    pub const fn codes(&self) -> (u32, u32) {
        let (tree, chains) = if self.hash == 32 { (4, 1) } else { (9, 5) };
        (tree + self.height / 5, chains + self.width.trailing_zeros())
    }

    /// Chains of a one-time signature, p (RFC 8554 §4.1): those of the hash
    /// and those of its checksum.
    pub const fn chains(&self) -> usize {
        self.hash * 8 / self.width as usize + self.checksum_bits().div_ceil(self.width) as usize
    }

    /// Bits that the largest checksum takes (RFC 8554, appendix B: ls is
    /// what is left of 16 bits).
    const fn checksum_bits(&self) -> u32 {
        let largest = (self.hash as u32 * 8 / self.width) * self.steps();
        u32::BITS - largest.leading_zeros()
    }

    /// Steps of a whole chain, 2^w - 1.
    pub const fn steps(&self) -> u32 {
        (1 << self.width) - 1
    }

    /// Length of a signature in an HSS wrapper with one level.
    pub const fn signature_len(&self) -> usize {
        4 + 4 + 4 + self.hash * (1 + self.chains()) + 4 + self.hash * self.height as usize
    }

    /// How far chain `index` goes for a message hash (coef of Q || Cksm(Q),
    /// RFC 8554 §4.4 and §4.6).
    pub fn step(&self, hash: &[u8], index: usize) -> u32 {
        let per_byte = 8 / self.width as usize;
        let coefficient = |bytes: &[u8], index: usize| {
            let byte = bytes.get(index / per_byte).copied().unwrap_or(0);
            let shift = self.width as usize * (per_byte - 1 - index % per_byte);
            (u32::from(byte) >> shift) & self.steps()
        };
        let own = self.hash * per_byte;
        if index < own {
            return coefficient(hash, index);
        }
        let sum: u32 = (0..own).map(|index| self.steps() - coefficient(hash, index)).sum();
        // Shifted to the left edge of its 16 bits' used part: the chains
        // take whole multiples of w bits from the top.
        let used = self.checksum_bits().div_ceil(self.width) * self.width;
        coefficient(&((sum << (16 - used)) as u16).to_be_bytes(), index - own)
    }
}

/// A public key whose form was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    encoded: &'a [u8],
    parameters: Parameters,
    id: &'a [u8; ID],
    root: &'a [u8],
}

impl<'a> Key<'a> {
    /// Reads an HSS public key (RFC 8554 §6.1) with one level.
    pub fn decode(encoded: &'a [u8]) -> Option<Key<'a>> {
        let (levels, rest) = number(encoded)?;
        let (tree, rest) = number(rest)?;
        let (chains, rest) = number(rest)?;
        let (id, root) = rest.split_first_chunk()?;
        let parameters = Parameters::from_codes(tree, chains)?;
        (levels == 1 && root.len() == parameters.hash).then_some(Key { encoded, parameters, id, root })
    }

    /// The key as it is encoded.
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// What its tree is made of.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Checks a signature (RFC 8554 §6.3 with one level, §5.4.2).
    pub fn verify(&self, message: &[u8], signature: &[u8], crypto: &impl Crypto) -> Result<(), BadSignature> {
        let valid = self.root_of(message, signature, crypto).is_some_and(|root| {
            // Nothing here is secret.
            root.as_bytes()[..self.parameters.hash] == *self.root
        });
        if valid { Ok(()) } else { Err(BadSignature) }
    }

    /// The root that the signature leads to (algorithms 4b and 6a); `None`
    /// for anything malformed.
    // Apart: its stack is for those who use it.
    #[inline(never)]
    fn root_of(&self, message: &[u8], signature: &[u8], crypto: &impl Crypto) -> Option<Digest> {
        let Parameters { hash: n, height, .. } = self.parameters;
        let (tree, chains) = self.parameters.codes();
        // One length for each set: nothing below can run out of bytes.
        if signature.len() != self.parameters.signature_len() {
            return None;
        }
        let (signed_keys, rest) = number(signature)?;
        let (leaf, rest) = number(rest)?;
        let (chain_code, rest) = number(rest)?;
        let (randomizer, rest) = rest.split_at_checked(n)?;
        let (ends, rest) = rest.split_at_checked(n * self.parameters.chains())?;
        let (tree_code, path) = number(rest)?;
        if signed_keys != 0 || chain_code != chains || tree_code != tree || leaf >= 1 << height {
            return None;
        }

        let hash = self.hash(crypto, leaf, D_MESG, [randomizer, message]);
        // K is hashed as the chains end, so no more than one is ever held.
        let mut key = self.start(crypto, leaf, D_PBLC);
        for (index, end) in ends.chunks_exact(n).enumerate() {
            let mut value = Digest([0; 32]);
            value.0[..n].copy_from_slice(end);
            for step in self.parameters.step(&hash.0[..n], index)..self.parameters.steps() {
                value = self.link(crypto, leaf, index, step, &value);
            }
            key.update(&value.0[..n]);
        }
        let key = key.finish();

        let mut node = (1 << height) + leaf;
        let mut value = self.hash(crypto, node, D_LEAF, [&key.0[..n], &[]]);
        for sibling in path.chunks_exact(n) {
            let own = &value.0[..n];
            let pair = if node & 1 == 1 { [sibling, own] } else { [own, sibling] };
            node /= 2;
            value = self.hash(crypto, node, D_INTR, pair);
        }
        Some(value)
    }

    /// One step of a chain: H(I || q || i || j || value).
    fn link<C: Crypto>(&self, crypto: &C, leaf: u32, index: usize, step: u32, value: &Digest) -> Digest {
        let mut hasher = self.start(crypto, leaf, (index as u16).to_be_bytes());
        hasher.update(&[step as u8]);
        hasher.update(&value.0[..self.parameters.hash]);
        hasher.finish()
    }

    fn hash<C: Crypto>(&self, crypto: &C, number: u32, kind: [u8; 2], parts: [&[u8]; 2]) -> Digest {
        let mut hasher = self.start(crypto, number, kind);
        parts.into_iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    /// What every hash begins with: the tree, a leaf or node, and a kind or
    /// the place of a chain.
    fn start<C: Crypto>(&self, crypto: &C, number: u32, kind: [u8; 2]) -> C::Hasher {
        let mut head = [0; ID + 4 + 2];
        head[..ID].copy_from_slice(self.id);
        head[ID..ID + 4].copy_from_slice(&number.to_be_bytes());
        head[ID + 4..].copy_from_slice(&kind);
        let mut hasher = crypto.sha256();
        hasher.update(&head);
        hasher
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 8554 §4.1 and SP 800-208 §4.2: chains of each set.
    #[test]
    fn the_sets_are_those_of_the_specifications() {
        for (code, chains) in [(1, 265), (2, 133), (3, 67), (4, 34), (5, 200), (6, 101), (7, 51), (8, 26)] {
            let tree = if code <= 4 { 5 } else { 10 };
            let set = Parameters::from_codes(tree, code);
            assert_eq!(set.map(|set| set.chains()), Some(chains), "code {code}");
            assert_eq!(set.map(|set| set.codes()), Some((tree, code)));
        }
        // Trees of one hash with chains of the other, and unknown codes.
        for (tree, chains) in [(5, 5), (10, 4), (4, 1), (15, 9), (0, 0), (u32::MAX, 4)] {
            assert_eq!(Parameters::from_codes(tree, chains), None);
        }
    }
}
