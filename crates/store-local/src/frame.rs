//! Records of the intent log: how one stands in the file.
//!
//! ```text
//! header  16 bytes "firmseal-log 1\r\n"
//! record  length u32, its complement u32, hash of the record before
//!         (32 bytes, zeros for the first), the leaf, hash (32 bytes)
//! ```
//!
//! The hash is SHA-256 over the record's index and everything before it in
//! the record. Each record vouches for all earlier ones.
//!
//! The length is written twice because of the one thing that may be thrown
//! away: a record that a power cut left incomplete at the end. Were a
//! damaged length believed, a flipped bit could make a record seem to reach
//! beyond the end of the file, and with it everything behind it would pass
//! for such a tail.

use aws_lc_rs::digest::{Context, SHA256};

use crate::sums::{SUM, digest};

/// What the file begins with.
pub(crate) const HEADER: &[u8; 16] = b"firmseal-log 1\r\n";

/// Longest leaf, as entry bundles bound it (C2SP tlog-tiles). An intent has
/// a few hundred bytes.
pub(crate) const LEAF_MAX: usize = firmseal_tlog::ENTRY_MAX;

/// Bytes before the leaf.
pub(crate) const PREFIX: usize = 4 + 4 + SUM;

/// The hash that the first record follows.
pub(crate) const START: [u8; SUM] = [0; SUM];

/// Appends a record and returns its hash. The leaf has 1 to [`LEAF_MAX`]
/// bytes.
pub(crate) fn write(out: &mut Vec<u8>, index: u64, previous: &[u8; SUM], leaf: &[u8]) -> [u8; SUM] {
    let length = leaf.len() as u32;
    let begin = out.len();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&(!length).to_be_bytes());
    out.extend_from_slice(previous);
    out.extend_from_slice(leaf);
    let hash = hash(index, &out[begin..]);
    out.extend_from_slice(&hash);
    hash
}

/// Length of the leaf that a record announces, from its first 8 bytes.
pub(crate) fn length(prefix: &[u8]) -> Result<usize, &'static str> {
    let number = |at: usize| {
        let bytes = prefix.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let (Some(length), Some(complement)) = (number(0), number(4)) else {
        return Err("it is too short");
    };
    if length != !complement {
        return Err("its length does not match its complement");
    }
    match length as usize {
        length @ 1..=LEAF_MAX => Ok(length),
        _ => Err("its length is out of bounds"),
    }
}

/// Checks a whole record and returns its leaf and hash.
pub(crate) fn check<'a>(
    record: &'a [u8],
    index: u64,
    previous: &[u8; SUM],
) -> Result<(&'a [u8], [u8; SUM]), &'static str> {
    let length = length(record)?;
    if record.len() != PREFIX + length + SUM {
        return Err("it is too short");
    }
    let (body, stored) = record.split_at(PREFIX + length);
    if body[8..PREFIX] != *previous {
        return Err("it does not follow the record before it");
    }
    let hash = hash(index, body);
    if stored != hash {
        return Err("its hash does not match");
    }
    Ok((&body[PREFIX..], hash))
}

fn hash(index: u64, body: &[u8]) -> [u8; SUM] {
    let mut context = Context::new(&SHA256);
    context.update(&index.to_be_bytes());
    context.update(body);
    digest(context).0
}
