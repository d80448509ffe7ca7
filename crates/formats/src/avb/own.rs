//! The data of a partition, held against the one descriptor that is over it.
//!
//! Descriptors name partitions, and an image does not say which one it is of.
//! The one whose size is that of the data is its own; where none or two could be,
//! nothing is guessed.

use std::ops::Range;

use super::NAME;
use super::descriptor::{Descriptor, Hashed, Hashtree};
use super::footer::Footer;
use crate::error::FormatError;
use crate::plan::Plan;
use crate::source::{Source, for_each_piece};
use crate::verity::{BLOCK, Tree};

/// "ZeRoHaSH", which `avbtool zero_hashtree` leaves of a tree that the device
/// makes anew.
const ZEROED: &[u8; 8] = b"ZeRoHaSH";

/// What vouches for the data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// The descriptor at this index, which has it right.
    Checked(usize),
    /// The descriptor at this index, which nobody here can check, for this reason.
    Unchecked(usize, &'static str),
    /// Nothing.
    Uncovered,
}

impl Data {
    /// The descriptor that is over it.
    pub(super) fn index(self) -> Option<usize> {
        match self {
            Data::Checked(index) | Data::Unchecked(index, _) => Some(index),
            Data::Uncovered => None,
        }
    }
}

/// Holds the data before vbmeta against the descriptors in it. What is neither
/// data, tree nor error correction is zeros.
pub(super) fn check(
    source: &dyn Source,
    descriptors: &[Descriptor],
    footer: &Footer,
) -> Result<Data, FormatError> {
    let fits = |own: &Descriptor| match own {
        Descriptor::Hash(own) => Some(own.image_size == footer.original_size),
        Descriptor::Hashtree(own) => {
            let rounded = footer.original_size.checked_next_multiple_of(own.data_block.into());
            Some(rounded == Some(own.image_size))
        }
        _ => None,
    };
    let sizes: Vec<(usize, bool)> =
        descriptors.iter().enumerate().filter_map(|(index, own)| Some((index, fits(own)?))).collect();
    let own: Vec<usize> = sizes.iter().filter(|(_, fits)| *fits).map(|(index, _)| *index).collect();
    let size = footer.original_size;
    let malformed = |what: String| Err(FormatError::malformed(NAME, what));
    match (own.as_slice(), sizes.is_empty()) {
        ([], true) => {
            zeros(source, size..footer.vbmeta_at)?;
            Ok(Data::Uncovered)
        }
        ([], false) => {
            malformed(format!("none of its descriptors is over the {size} bytes that its footer tells of"))
        }
        ([index], _) => {
            let unchecked = match &descriptors[*index] {
                Descriptor::Hash(own) => hash(source, own, footer.vbmeta_at)?,
                Descriptor::Hashtree(own) => hashtree(source, own, footer.vbmeta_at)?,
                _ => None,
            };
            Ok(unchecked.map_or(Data::Checked(*index), |why| Data::Unchecked(*index, why)))
        }
        _ => malformed(format!("more than one of its descriptors may be over its {size} bytes")),
    }
}

/// Why a hash cannot be checked, if it cannot.
fn hash(source: &dyn Source, own: &Hashed, end: u64) -> Result<Option<&'static str>, FormatError> {
    zeros(source, own.image_size..end)?;
    if own.digest.is_empty() {
        return Ok(Some("its digest is each device's own"));
    }
    let salted = digest(source, own)?;
    if salted == own.digest { Ok(None) } else { Err(FormatError::DigestMismatch { format: NAME }) }
}

/// The digest of a source's first bytes behind a salt.
pub(super) fn digest(source: &dyn Source, own: &Hashed) -> Result<Vec<u8>, FormatError> {
    let salted = Plan::new(source.len()?).bytes(own.salt.clone()).source(0..own.image_size);
    Ok(own.hash.of_range(&salted.over(source)?, 0..salted.output_len())?)
}

/// Why a tree cannot be checked, if it cannot.
fn hashtree(source: &dyn Source, own: &Hashtree, end: u64) -> Result<Option<&'static str>, FormatError> {
    only_zeros_beside(source, &[0..own.image_size, own.tree.clone(), own.fec.clone()], end)?;
    let Ok(root) = <[u8; 32]>::try_from(own.root.as_slice()) else {
        return Ok(Some("its hash tree is not of sha256, or its root is each device's own"));
    };
    if own.hash != "sha256" {
        return Ok(Some("its hash tree is not of sha256"));
    }
    let Ok(salt) = <[u8; 32]>::try_from(own.salt.as_slice()) else {
        return Ok(Some("the salt of its hash tree has another length than 32 bytes"));
    };
    let blocks = [own.data_block, own.hash_block].map(u64::from);
    let (count, len) = (own.image_size / BLOCK, own.tree.end - own.tree.start);
    if (blocks, own.version) != ([BLOCK; 2], 1) || count < 2 {
        return Ok(Some("its hash tree is over one block, or has blocks of another size than 4096 bytes"));
    }
    let mut head = [0; 8];
    if len >= 8 {
        source.read_at(own.tree.start, &mut head)?;
    }
    // Without a tree the root alone is left, from which a device starts.
    let same = if len == 0 || &head == ZEROED {
        Tree::of(source, count, salt, |_, _| Ok(()))?.root == root
    } else if len == Tree::len_over(count) {
        Tree::stands(source, count, salt, &root, own.tree.start)?
    } else {
        return Err(FormatError::malformed(NAME, "its hash tree has another length than one over its data"));
    };
    if same { Ok(None) } else { Err(FormatError::DigestMismatch { format: NAME }) }
}

/// Parts that follow each other up to an end have nothing but zeros beside
/// them. Those that are empty may be anywhere.
fn only_zeros_beside(source: &dyn Source, parts: &[Range<u64>], end: u64) -> Result<(), FormatError> {
    let mut at = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        if part.start < at || part.end > end {
            return Err(FormatError::malformed(NAME, "data, hash tree and vbmeta overlap"));
        }
        zeros(source, at..part.start)?;
        at = part.end;
    }
    zeros(source, at..end)
}

/// Nothing but zeros is in a range.
pub(super) fn zeros(source: &dyn Source, range: Range<u64>) -> Result<(), FormatError> {
    let mut zero = true;
    for_each_piece(source, range, |piece| {
        zero &= super::words::is_zero(piece);
        Ok(())
    })?;
    match zero {
        true => Ok(()),
        false => Err(FormatError::malformed(NAME, "something stands beside its parts that nothing covers")),
    }
}
