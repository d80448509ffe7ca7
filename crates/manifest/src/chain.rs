//! Chains: delegations as they travel in files, from the key that delegates
//! to the key that signs.
//!
//! A file holds one chain, `[1*3 link]`, byte for byte as an envelope
//! carries it. Nothing is verified here: core does, under a root document.

use firmseal_core::limits::{CWT_MAX, LINKS_MAX};
use firmseal_core::{KeyId, Link, Refusal};
use minicbor::Decoder;

use crate::cbor::Writer;
use crate::key::PublicKey;

/// Longest file: the links, each with its head, key id and signature.
pub const CHAIN_MAX: usize = LINKS_MAX * (CWT_MAX + 256);

/// Why bytes are no delegation, or a link does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not an array of byte strings.
    #[error("not a delegation; `firmseal delegate` writes one")]
    Malformed,
    /// None, or more than devices accept.
    #[error("a delegation has 1 to {LINKS_MAX} links")]
    Length,
    /// A link that core cannot read.
    #[error("link {place} of the delegation: {refusal}")]
    Link {
        /// Which one, from 1.
        place: usize,
        /// What core says.
        refusal: Refusal,
    },
    /// Made by another key than the link before it certifies.
    #[error("link {place} of the delegation is not by the key that the link before it certifies")]
    Gap {
        /// Which one, from 1.
        place: usize,
    },
    /// One release has one index, so links that differ cover nothing.
    #[error("link {place} of the delegation has index {index}, the one before it {before}")]
    Index {
        /// Which one, from 1.
        place: usize,
        /// Its index.
        index: u64,
        /// That of the link before it.
        before: u64,
    },
}

/// A delegation: links whose form was checked, each by the key that the one
/// before it certifies, all with one index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DelegationChain {
    links: Vec<Vec<u8>>,
    key: KeyId,
    index: u64,
}

impl DelegationChain {
    /// A chain of these links.
    pub fn new(links: Vec<Vec<u8>>) -> Result<DelegationChain, ChainError> {
        if links.is_empty() || links.len() > LINKS_MAX {
            return Err(ChainError::Length);
        }
        let mut last: Option<(KeyId, u64)> = None;
        for (place, bytes) in (1..).zip(&links) {
            let link = Link::decode(bytes).map_err(|refusal| ChainError::Link { place, refusal })?;
            if let Some((key, before)) = last {
                if link.issuer() != Some(key.0.as_bytes()) {
                    return Err(ChainError::Gap { place });
                }
                if link.index != before {
                    return Err(ChainError::Index { place, index: link.index, before });
                }
            }
            last = Some((link.key.id(&firmseal_core::crypto::RustCrypto), link.index));
        }
        let (key, index) = last.ok_or(ChainError::Length)?;
        Ok(DelegationChain { links, key, index })
    }

    /// Reads a file.
    pub fn decode(bytes: &[u8]) -> Result<DelegationChain, ChainError> {
        let mut decoder = Decoder::new(bytes);
        let count = match decoder.array() {
            Ok(Some(count)) => count,
            _ => return Err(ChainError::Malformed),
        };
        if count == 0 || count > LINKS_MAX as u64 {
            return Err(ChainError::Length);
        }
        let mut links = Vec::new();
        for _ in 0..count {
            links.push(decoder.bytes().map_err(|_| ChainError::Malformed)?.to_vec());
        }
        let chain = DelegationChain::new(links)?;
        // One spelling: what is read is what would be written.
        if chain.encode() == bytes { Ok(chain) } else { Err(ChainError::Malformed) }
    }

    /// The chain and one link more.
    pub fn extend(&self, link: Vec<u8>) -> Result<DelegationChain, ChainError> {
        let mut links = self.links.clone();
        links.push(link);
        DelegationChain::new(links)
    }

    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(self.links.len());
        for link in &self.links {
            out.bytes(link);
        }
        out.finish()
    }

    /// The signed links, the first one by a key of the role.
    pub fn links(&self) -> &[Vec<u8>] {
        &self.links
    }

    /// The key that the last link certifies: the one that signs.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Whether this key is the one that signs.
    pub fn certifies(&self, key: &PublicKey) -> bool {
        key.id() == self.key
    }

    /// The delegation index.
    pub fn index(&self) -> u64 {
        self.index
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_chain_is_told_from_one() {
        for (bytes, why) in [
            (&b""[..], ChainError::Malformed),
            (b"\x80", ChainError::Length),
            (b"\x84", ChainError::Length),
            (b"\x9f\xff", ChainError::Malformed),
            (b"\x81\x01", ChainError::Malformed),
            (b"-----BEGIN", ChainError::Malformed),
        ] {
            assert_eq!(DelegationChain::decode(bytes), Err(why), "{bytes:02x?}");
        }
        let unread = DelegationChain::decode(b"\x81\x41\x00");
        assert!(matches!(unread, Err(ChainError::Link { place: 1, .. })), "{unread:?}");
    }
}
