//! The header of a vbmeta image (libavb, avb_vbmeta_image.h).

use std::ops::Range;

use super::words::{Words, padded_text};
use crate::der::Bad;
use crate::hash::Hash;

/// Length of a header.
pub(super) const LEN: usize = 256;
pub(super) const MAGIC: &[u8; 4] = b"AVB0";
/// "AVB_VERSION_MAJOR", and the highest "AVB_VERSION_MINOR" that is known here:
/// images that need a later one may hold what nobody here would understand.
const MAJOR: u32 = 1;
const MINOR_MAX: u32 = 3;
/// AVB_MAX_NUMBER_OF_ROLLBACK_INDEX_LOCATIONS.
pub(super) const LOCATIONS: u32 = 32;
/// AVB_RELEASE_STRING_SIZE.
const RELEASE: usize = 48;

/// AVB_VBMETA_IMAGE_FLAGS_HASHTREE_DISABLED.
pub(super) const HASHTREE_DISABLED: u32 = 1;
/// AVB_VBMETA_IMAGE_FLAGS_VERIFICATION_DISABLED.
pub(super) const VERIFICATION_DISABLED: u32 = 2;

/// How a vbmeta image is signed (avb_crypto.h, AvbAlgorithmType): PKCS #1 v1.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Algorithm {
    pub(super) hash: Hash,
    /// Of the key.
    pub(super) bits: u16,
}

/// By their numbers, from 1.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm { hash: Hash::Sha256, bits: 2048 },
    Algorithm { hash: Hash::Sha256, bits: 4096 },
    Algorithm { hash: Hash::Sha256, bits: 8192 },
    Algorithm { hash: Hash::Sha512, bits: 2048 },
    Algorithm { hash: Hash::Sha512, bits: 4096 },
    Algorithm { hash: Hash::Sha512, bits: 8192 },
];

impl Algorithm {
    fn numbered(number: u32) -> Option<Algorithm> {
        ALGORITHMS.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    fn number(self) -> u32 {
        ALGORITHMS.iter().position(|own| *own == self).map_or(0, |index| index as u32 + 1)
    }

    pub(super) fn name(self) -> String {
        format!("{}_RSA{}", self.hash.name().to_uppercase(), self.bits)
    }

    pub(super) fn signature_len(self) -> u64 {
        u64::from(self.bits) / 8
    }
}

/// What a header says, whoever signs.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The minor version of libavb that is needed.
    pub(super) minor: u32,
    pub(super) rollback_index: u64,
    pub(super) flags: u32,
    /// Where a device stores the index of its topmost vbmeta.
    pub(super) rollback_location: u32,
    /// What has made it, and whatever somebody wrote behind that.
    pub(super) release: String,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Length of the authentication block.
    pub(super) authentication: u64,
    /// Length of the auxiliary block.
    pub(super) auxiliary: u64,
    pub(super) algorithm: Option<Algorithm>,
    /// In the authentication block, as the next.
    pub(super) hash: Range<u64>,
    pub(super) signature: Range<u64>,
    /// In the auxiliary block, as the others.
    pub(super) key: Range<u64>,
    pub(super) metadata: Range<u64>,
    pub(super) descriptors: Range<u64>,
}

impl Layout {
    /// As avbtool lays it out, of parts with these lengths: blocks are "rounded
    /// up to 64 bytes".
    pub(super) fn of(algorithm: Algorithm, descriptors: u64, key: u64, metadata: u64) -> Layout {
        let hash = algorithm.hash.len() as u64;
        let signature = hash..hash + algorithm.signature_len();
        let key = descriptors..descriptors + key;
        let metadata = key.end..key.end + metadata;
        Layout {
            authentication: signature.end.next_multiple_of(64),
            auxiliary: metadata.end.next_multiple_of(64),
            algorithm: Some(algorithm),
            hash: 0..hash,
            signature,
            key,
            metadata,
            descriptors: 0..descriptors,
        }
    }

    /// Length of header and blocks.
    pub(super) fn total(&self) -> u64 {
        (LEN as u64).saturating_add(self.authentication).saturating_add(self.auxiliary)
    }
}

/// Reads a header.
pub(super) fn read(bytes: &[u8; LEN]) -> Result<(Facts, Layout), Bad> {
    let mut words = Words(bytes);
    if words.bytes(4)? != MAGIC {
        return Err("where vbmeta has to be there is none");
    }
    let (major, minor) = (words.u32()?, words.u32()?);
    if major != MAJOR || minor > MINOR_MAX {
        return Err("its vbmeta needs a later libavb than 1.3, whose rules are not known here");
    }
    let (authentication, auxiliary) = (words.u64()?, words.u64()?);
    if !authentication.is_multiple_of(64) || !auxiliary.is_multiple_of(64) {
        return Err("the length of a block is no multiple of 64");
    }
    let algorithm = match words.u32()? {
        0 => None,
        number => Some(Algorithm::numbered(number).ok_or("its algorithm is none that is known")?),
    };
    let (hash, signature) = (words.range()?, words.range()?);
    let (key, metadata, descriptors) = (words.range()?, words.range()?, words.range()?);
    let (rollback_index, flags, rollback_location) = (words.u64()?, words.u32()?, words.u32()?);
    if flags & !(HASHTREE_DISABLED | VERIFICATION_DISABLED) != 0 {
        return Err("it has flags that are not known");
    }
    // An older libavb stores the index at 0, whatever stands here.
    if rollback_location != 0 && minor < 2 {
        return Err(
            "it has a location of the rollback index, and says that libavb 1.1 would do, which ignores it",
        );
    }
    if rollback_location >= LOCATIONS {
        return Err("its rollback index is at a location that libavb does not have");
    }
    let release = padded_text(words.bytes(RELEASE as u64)?)?;
    words.zeros(80)?;
    let facts = Facts { minor, rollback_index, flags, rollback_location, release };
    Ok((facts, Layout { authentication, auxiliary, algorithm, hash, signature, key, metadata, descriptors }))
}

/// Writes one.
pub(super) fn write(facts: &Facts, layout: &Layout) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for word in [MAJOR, facts.minor] {
        out.extend(word.to_be_bytes());
    }
    for len in [layout.authentication, layout.auxiliary] {
        out.extend(len.to_be_bytes());
    }
    out.extend(layout.algorithm.map_or(0, Algorithm::number).to_be_bytes());
    for part in [&layout.hash, &layout.signature, &layout.key, &layout.metadata, &layout.descriptors] {
        out.extend(part.start.to_be_bytes());
        out.extend((part.end - part.start).to_be_bytes());
    }
    out.extend(facts.rollback_index.to_be_bytes());
    for word in [facts.flags, facts.rollback_location] {
        out.extend(word.to_be_bytes());
    }
    out.extend(facts.release.as_bytes());
    out.resize(LEN, 0);
    out
}
