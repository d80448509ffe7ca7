//! Sources: where payloads and their hash blocks come from.
//!
//! Every carrier is untrusted: server, mirror, USB stick, bundle file. A
//! source may be slow, broken or hostile; what it delivers is worth nothing
//! before core's verifier has checked it.

pub(crate) mod bundle;
pub(crate) mod http;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_core::{Digest, Refusal};
use firmseal_manifest::ids::parse_digest;

use crate::error::Error;
use crate::files::{Access, File, Files};

/// The two blobs of a payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The hash blocks of its tree, top level first.
    Tree,
    /// The payload itself.
    Payload,
}

/// A blob that a carrier has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Blob {
    /// Index of the component in the manifest.
    pub component: usize,
    /// SHA-256 of the payload: what carriers file it under.
    pub digest: Digest,
    /// Which of the two.
    pub kind: Kind,
    /// Its length by the signed facts.
    pub len: u64,
}

impl std::fmt::Display for Blob {
    /// The path below a carrier's base.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Payload => write!(f, "payloads/{}", self.digest),
            Kind::Tree => write!(f, "payloads/{}.tree", self.digest),
        }
    }
}

/// The payload that a manifest's URI names. Only one form is known,
/// `payloads/` and the 64 digits of a SHA-256: what is left is a digest and
/// never a path, so there is nothing to escape a folder with.
pub(crate) fn payload_digest(uri: &str) -> Result<Digest, Refusal> {
    uri.strip_prefix("payloads/")
        .and_then(parse_digest)
        .ok_or(Refusal::Unsupported("a payload uri other than payloads/ and a SHA-256"))
}

/// A carrier of blobs.
pub trait Source: Send + Sync {
    /// Opens a blob at `offset`, to read at most `len` bytes.
    ///
    /// What is read may be anything and may end anywhere; an error means
    /// that trying again later may help.
    fn open(&self, blob: &Blob, offset: u64, len: u64) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// Whether its bytes come over a network: they count against the data
    /// budget, and a carrier that only trickles is left.
    fn is_metered(&self) -> bool {
        false
    }

    /// Bytes that came since it was asked last and were thrown away, because
    /// nobody had asked for them. A reader that throws some away says
    /// [`std::io::ErrorKind::Interrupted`], so that they are counted soon.
    fn skipped(&self) -> u64 {
        0
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn open(&self, blob: &Blob, offset: u64, len: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        (**self).open(blob, offset, len)
    }

    fn is_metered(&self) -> bool {
        (**self).is_metered()
    }

    fn skipped(&self) -> u64 {
        (**self).skipped()
    }
}

/// A directory with `payloads/`: a USB stick, a mounted mirror.
pub struct DirectorySource {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

impl DirectorySource {
    /// The payloads below `dir`.
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> DirectorySource {
        DirectorySource { files, dir: dir.to_owned() }
    }
}

impl Source for DirectorySource {
    fn open(&self, blob: &Blob, offset: u64, _: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = self.dir.join(blob.to_string());
        match self.files.open(&path, Access::Read) {
            Ok(file) => Ok(Box::new(Reading { file, offset })),
            Err(err) => Err(Error::Carrier { what: path.display().to_string(), why: err.to_string() }),
        }
    }
}

/// A file that is read on from an offset.
pub(crate) struct Reading {
    pub(crate) file: Box<dyn File>,
    pub(crate) offset: u64,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
