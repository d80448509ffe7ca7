//! The authentication wrapper: the manifest's digest, and who vouches for it.

use firmseal_manifest::cbor::Writer;

use super::cbor::Reader;
use super::cose::Block;
use super::digest::SuitDigest;
use super::envelope::Wrapped;
use super::{NAME, within};
use crate::error::FormatError;

/// Most blocks in one file.
pub(super) const BLOCKS_MAX: usize = 16;

/// What the wrapper holds.
pub(super) struct Authentication<'a> {
    /// The encoded SUIT_Digest: the detached payload of every block.
    pub(super) encoded: &'a [u8],
    pub(super) digest: SuitDigest<'a>,
    pub(super) blocks: Vec<Block<'a>>,
}

impl<'a> Authentication<'a> {
    pub(super) fn read(content: &'a [u8]) -> Result<Authentication<'a>, FormatError> {
        let bad = within("the authentication wrapper");
        let mut reader = Reader::new(content);
        let count = reader.array().map_err(&bad)?;
        if !(1..=BLOCKS_MAX + 1).contains(&count) {
            return Err(bad("no digest, or more than 16 signatures"));
        }
        let encoded = reader.bytes().map_err(&bad)?;
        let digest = SuitDigest::decode(encoded).map_err(&bad)?;
        let mut blocks = Vec::new();
        for index in 1..count {
            let place = format!("signature {index}");
            let block = reader.bytes().and_then(Block::decode);
            blocks.push(block.map_err(within(&place))?);
        }
        reader.end().map_err(&bad)?;
        Ok(Authentication { encoded, digest, blocks })
    }

    /// Refuses a manifest that is not the one that is signed: "the digest is
    /// computed over the bstr-wrapped SUIT_Manifest" (§8.3).
    pub(super) fn check(&self, manifest: &Wrapped) -> Result<(), FormatError> {
        match self.digest.matches(&manifest.bytes) {
            Some(true) => Ok(()),
            Some(false) => Err(FormatError::DigestMismatch { format: NAME }),
            None => {
                let what = "its manifest's digest is of a function other than SHA-256, SHA-384 and SHA-512";
                Err(FormatError::unsupported(NAME, what))
            }
        }
    }
}

/// A wrapper as a byte string with its head.
pub(super) fn write(digest: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut content = Writer::new();
    content.array(1 + blocks.len()).bytes(digest);
    for block in blocks {
        content.bytes(block);
    }
    let mut out = Writer::new();
    out.bytes(&content.finish());
    out.finish()
}
