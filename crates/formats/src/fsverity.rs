//! fs-verity (Linux, *Documentation/filesystems/fsverity.rst*): a file that the
//! kernel verifies block by block as it is read, and whose digest it can be
//! told to believe a signature for alone.
//!
//! ```text
//! Merkle tree over blocks of 4096 bytes, SHA-256, no salt
//!   | descriptor: its root and the file's length   -> digest
//!   | "FSVerity", hash, length, digest             <- signed, in CMS
//! ```
//!
//! Salts and other blocks are the file system's business, and a signature
//! does not tell which: what is signed here has neither, as `fsverity` has it
//! unless it is told.

use crate::cms::beside;
use crate::cms::scheme::Scheme;
use crate::cms::{attributes, certificate};
use crate::error::FormatError;
use crate::format::{Bare, Beside, Format, Likeness, Unsigned, Wanted};
use crate::hash::{Hash, array, hex};
use crate::inspection::Inspection;
use crate::laid_out::Padding;
use crate::parameters::Parameter;
use crate::source::{Source, for_each_piece};

const NAME: &str = "fsverity";
const BLOCK: usize = 4096;
/// `struct fsverity_descriptor`.
const DESCRIPTOR: usize = 256;

/// The fs-verity format.
pub(crate) struct FsVerity;

const PARAMETERS: &[Parameter] = &[certificate::PARAMETER, attributes::PARAMETERS[0], beside::FORM];

impl Format for FsVerity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "any file, for fs-verity in Linux; the signature stands beside it, in CMS over its digest"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any file would do; that a kernel is to verify it, none says.
        Ok(Likeness::No)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(describe(&digest(source)?, source.len()?))
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(file.head.starts_with(b"FSVerity").then_some("a digest as fs-verity has it signed"))
    }
}

impl Beside for FsVerity {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        let (digest, len) = (digest(source)?, source.len()?);
        // The kernel's PKCS #7 knows RSA with this padding alone.
        let scheme = Scheme::of_common(NAME, wanted.key, Padding::Pkcs1)?;
        let own = beside::Own { format: NAME, scheme, len };
        own.prepare(wanted, describe(&digest, len), |hash| Ok(hash.of(&signed(&digest))))
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        let digest = digest(source)?;
        let mut inspection = describe(&digest, source.len()?);
        inspection.signatures = beside::read(NAME, signature, |hash| Ok(hash.of(&signed(&digest))))?;
        Ok(inspection)
    }
}

fn describe(digest: &[u8; 32], len: u64) -> Inspection {
    let mut inspection = Inspection::new(NAME, len);
    // As `fsverity digest` prints it.
    inspection.field("fs-verity digest", format!("sha256:{}", hex(digest)));
    inspection
}

/// `struct fsverity_formatted_digest`: what is signed.
fn signed(digest: &[u8; 32]) -> Vec<u8> {
    // FS_VERITY_HASH_ALG_SHA256 is 1; a digest has 32 bytes.
    [&b"FSVerity"[..], &1u16.to_le_bytes(), &32u16.to_le_bytes(), digest].concat()
}

/// The file's digest: SHA-256 of its descriptor.
fn digest(source: &dyn Source) -> Result<[u8; 32], FormatError> {
    let len = source.len()?;
    if len == 0 {
        return Err(FormatError::malformed(NAME, "the file is empty"));
    }
    if let Some(known) = source.remembered().and_then(|remembered| remembered.get(NAME)) {
        return Ok(array(&known));
    }
    let mut tree = Levels::default();
    // Pieces are whole blocks: they are 128 KiB long, but for the last.
    for_each_piece(source, 0..len, |piece| {
        piece.chunks(BLOCK).for_each(|block| tree.push(0, sha256(block)));
        Ok(())
    })?;
    let mut descriptor = [0; DESCRIPTOR];
    // Version 1, SHA-256, blocks of 2^12 bytes; the length, the root.
    descriptor[..3].copy_from_slice(&[1, 1, 12]);
    descriptor[8..16].copy_from_slice(&len.to_le_bytes());
    descriptor[16..48].copy_from_slice(&tree.root());
    let digest = Hash::Sha256.of(&descriptor);
    if let Some(remembered) = source.remembered() {
        remembered.put(NAME, &digest);
    }
    Ok(array(&digest))
}

/// SHA-256 of a block, which is filled up with zeros.
fn sha256(block: &[u8]) -> [u8; 32] {
    let mut whole = [0; BLOCK];
    whole[..block.len()].copy_from_slice(block);
    array(&Hash::Sha256.of(&whole))
}

/// A tree as it grows: of each level the block that is not full, from the
/// lowest. A file of any length takes a few of them.
#[derive(Default)]
struct Levels(Vec<Vec<u8>>);

impl Levels {
    fn push(&mut self, level: usize, digest: [u8; 32]) {
        if level == self.0.len() {
            self.0.push(Vec::with_capacity(BLOCK));
        }
        let Some(block) = self.0.get_mut(level) else { return };
        if block.len() == BLOCK {
            // Not when it fills: a tree whose last block is full ends there.
            let full = sha256(block);
            block.clear();
            block.extend(digest);
            self.push(level + 1, full);
        } else {
            block.extend(digest);
        }
    }

    /// The one digest that is above all.
    fn root(mut self) -> [u8; 32] {
        let mut level = 0;
        loop {
            let block = self.0.get(level).map_or(&[][..], Vec::as_slice);
            match <[u8; 32]>::try_from(block) {
                Ok(only) if level + 1 == self.0.len() => return only,
                _ => {
                    let digest = sha256(block);
                    self.push(level + 1, digest);
                    level += 1;
                }
            }
        }
    }
}
