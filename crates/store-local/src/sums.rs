//! Sums: the digest of a whole blob and of each of its chunks, in one pass.

use aws_lc_rs::digest::{Context, SHA256};
use firmseal_manifest::Digest;

/// Bytes of a blob that are checked together. 64 KiB costs 32 bytes of
/// record, half a thousandth, and about 40 microseconds to check.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Length of a digest in a list of them.
pub(crate) const SUM: usize = 32;

/// What is recorded about a blob.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// SHA-256 of each chunk, one after the other.
    pub(crate) chunks: Vec<u8>,
}

impl Sums {
    /// The recorded sum of a chunk.
    pub(crate) fn chunk(&self, index: usize) -> Option<&[u8]> {
        self.chunks.get(index * SUM..(index + 1) * SUM)
    }
}

/// Sums being made.
pub(crate) struct Summing {
    whole: Context,
    chunk: Context,
    in_chunk: usize,
    size: u64,
    chunks: Vec<u8>,
}

impl Summing {
    pub(crate) fn new() -> Summing {
        Summing {
            whole: Context::new(&SHA256),
            chunk: Context::new(&SHA256),
            in_chunk: 0,
            size: 0,
            chunks: Vec::new(),
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.in_chunk));
            self.chunk.update(now);
            self.in_chunk += now.len();
            if self.in_chunk == CHUNK {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    fn end_chunk(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Context::new(&SHA256));
        self.chunks.extend_from_slice(chunk.finish().as_ref());
        self.in_chunk = 0;
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn finish(mut self) -> Sums {
        if self.in_chunk > 0 {
            self.end_chunk();
        }
        Sums { digest: digest(self.whole), size: self.size, chunks: self.chunks }
    }
}

/// The value of a finished SHA-256.
pub(crate) fn digest(context: Context) -> Digest {
    let mut bytes = [0; SUM];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest(bytes)
}

/// SHA-256 of one slice.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; SUM] {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    digest(context).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let mut whole = Summing::new();
            whole.update(&bytes);
            let whole = whole.finish();
            let mut pieces = Summing::new();
            bytes.chunks(1000).for_each(|piece| pieces.update(piece));
            assert!(pieces.finish() == whole);
            assert_eq!(whole.digest.0, sha256(&bytes));
            assert_eq!(whole.chunks.len(), size.div_ceil(CHUNK) * SUM);
            for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
                assert_eq!(whole.chunk(index), Some(sha256(chunk).as_slice()));
            }
        }
    }
}
