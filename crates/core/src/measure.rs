//! Measurements: the digest of what a component really holds.

use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;

/// Digest and size of a component's content, computed here from its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    digest: Digest,
    size: u64,
}

impl Measured {
    /// The SHA-256 of the content.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes measured.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// A running measurement.
pub struct Measurement<H> {
    hasher: H,
    size: u64,
}

impl<H: Hasher> Measurement<H> {
    /// Starts a measurement.
    pub fn start(crypto: &impl Crypto<Hasher = H>) -> Measurement<H> {
        Measurement { hasher: crypto.sha256(), size: 0 }
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Finishes.
    pub fn finish(self) -> Measured {
        Measured { digest: self.hasher.finish(), size: self.size }
    }
}
