//! An image of a FIT: where its data is, and the hashes that it has to have.

use std::ops::Range;

use super::NAME;
use super::tree::{DATA, Tree, cell, text};
use crate::error::FormatError;
use crate::hash::Hash;
use crate::source::Source;

/// Most hashes of an image.
const HASHES_MAX: usize = 8;
/// Properties that say where data is: no signature covers them, and the hash
/// of the data makes up for that.
pub(super) const PLACES: [&str; 4] = [DATA, "data-size", "data-position", "data-offset"];

/// An image.
pub(super) struct Image {
    pub(super) node: usize,
    pub(super) kept: Kept,
    /// Its data in the file.
    pub(super) data: Range<u64>,
    pub(super) hashes: Vec<ImageHash>,
}

/// Where data is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// In the tree.
    Inside,
    /// Behind it, counted from its end.
    Behind,
    /// At a place in the file.
    At,
}

/// A hash of an image.
pub(super) struct ImageHash {
    pub(super) node: usize,
    /// Its name, as the file has it.
    pub(super) algorithm: String,
    /// The function, if it is SHA-2.
    pub(super) hash: Option<Hash>,
    pub(super) value: Vec<u8>,
    /// Whether U-Boot is told not to look at it.
    pub(super) is_ignored: bool,
}

impl Image {
    pub(super) fn read(tree: &Tree, node: usize, len: u64) -> Result<Image, FormatError> {
        let name = &tree.nodes[node].name;
        let malformed = |what: &str| FormatError::malformed(NAME, format!("image `{name}`: {what}"));
        // U-Boot counts with a sign.
        let number = |property: &str| match tree.value(node, property) {
            None => Ok(None),
            Some(value) => match cell(value).filter(|number| *number <= i32::MAX as u32) {
                Some(number) => Ok(Some(u64::from(number))),
                None => Err(malformed("its place in the file is no number below 2 GiB")),
            },
        };
        let [size, position, offset] = [number(PLACES[1])?, number(PLACES[2])?, number(PLACES[3])?];
        let (kept, data) = match (tree.property_of(node, DATA), position, offset, size) {
            (Some(own), None, None, None) => (Kept::Inside, own.place()),
            (None, Some(start), None, Some(size)) => (Kept::At, start..start + size),
            (None, None, Some(offset), Some(size)) => {
                let start = tree.header.total.next_multiple_of(4) + offset;
                (Kept::Behind, start..start + size)
            }
            _ => return Err(malformed("it has no data, or its data is in more than one place")),
        };
        if data.end > i32::MAX as u64 {
            return Err(malformed("it ends behind 2 GiB, where U-Boot counts no further"));
        }
        if data.end > len {
            let (need, have) = (data.end, len);
            return Err(FormatError::Truncated { format: NAME, what: "an image", need, have });
        }
        let mut hashes = Vec::new();
        for child in &tree.nodes[node].children {
            if !tree.nodes[*child].name.starts_with("hash") {
                continue;
            }
            if hashes.len() == HASHES_MAX {
                return Err(malformed("it has more than 8 hashes"));
            }
            let algorithm = tree.value(*child, "algo").and_then(text);
            let algorithm = algorithm.ok_or_else(|| malformed("a hash of its has no algorithm"))?.to_owned();
            let value = tree.value(*child, "value");
            let value = value.ok_or_else(|| {
                malformed("a hash of its has no value: mkimage computes them, dtc by itself does not")
            })?;
            let hash = [Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter();
            let hash = hash.into_iter().find(|hash| hash.name() == algorithm);
            let is_ignored = tree.property_of(*child, "uboot-ignore").is_some();
            hashes.push(ImageHash { node: *child, algorithm, hash, value: value.to_vec(), is_ignored });
        }
        Ok(Image { node, kept, data, hashes })
    }

    /// Compares the data with those hashes that are SHA-2.
    pub(super) fn check(&self, tree: &Tree, source: &dyn Source) -> Result<(), FormatError> {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let mut own = self.hashes.iter().filter(|own| own.hash == Some(hash)).peekable();
            if own.peek().is_none() {
                continue;
            }
            let value = hash.of_range(source, self.data.clone())?;
            if own.any(|own| own.value != value) {
                let what = format!(
                    "image `{}` does not match its {}; it was damaged or altered",
                    tree.nodes[self.node].name,
                    hash.name()
                );
                return Err(FormatError::malformed(NAME, what));
            }
        }
        Ok(())
    }

    /// Length of its data.
    pub(super) fn size(&self) -> u64 {
        self.data.end - self.data.start
    }
}
