//! Bundles: a release in one file, for devices without a network.
//!
//! A CBOR sequence (RFC 8742): the text `firmseal-bundle-2`, an array of
//! root documents, the newest revocation and freshness documents (empty
//! byte strings where there are none), the envelope, then for each component
//! of the manifest, in its order, the hash blocks and the payload, each a
//! byte string. Bundles of the first form, `firmseal-bundle-1`, lack the two
//! documents and are read as well. The lengths in a bundle are the carrier's
//! word and count for nothing: the reader compares them with the facts of
//! the admitted release.

use std::io::{self, Read, Write};

use firmseal_core::limits::{ENVELOPE_MAX, FRESHNESS_MAX, REVOCATION_MAX, ROOT_MAX};

use crate::cbor::Writer;

/// The first item of every bundle that is written.
pub const MAGIC: &str = "firmseal-bundle-2";
/// The first item of bundles of the first form.
pub const MAGIC_1: &str = "firmseal-bundle-1";
/// Root documents that one bundle may carry: a device that missed hundreds
/// walks them all.
pub const ROOTS_MAX: u64 = 1024;
/// Bytes that all of them together may have.
pub const ROOTS_BYTES_MAX: usize = 8 << 20;

/// Whether a file that begins with these bytes is a bundle.
pub fn is_bundle(beginning: &[u8]) -> bool {
    let text = |magic: &str| beginning.get(1..).is_some_and(|rest| rest.starts_with(magic.as_bytes()));
    text(MAGIC) || text(MAGIC_1)
}

/// What a device should learn before it looks at the release. Unverified:
/// each document is judged by the device's own root.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct News {
    /// Root documents, oldest first; of one lineage or of several.
    pub roots: Vec<Vec<u8>>,
    /// The newest revocation document.
    pub revocation: Option<Vec<u8>>,
    /// The newest freshness document.
    pub freshness: Option<Vec<u8>>,
}

/// Writes a bundle item by item.
pub struct BundleWriter<W> {
    out: W,
    /// Bytes of the current blob that have not come yet.
    missing: u64,
}

impl<W: Write> BundleWriter<W> {
    /// Writes the head: root documents and envelope.
    pub fn new(out: W, roots: &[Vec<u8>], envelope: &[u8]) -> io::Result<BundleWriter<W>> {
        BundleWriter::with_news(out, roots, &[], &[], envelope)
    }

    /// The same with the newest revocation and freshness documents, where
    /// they are not empty.
    pub fn with_news(
        out: W,
        roots: &[Vec<u8>],
        revocation: &[u8],
        freshness: &[u8],
        envelope: &[u8],
    ) -> io::Result<BundleWriter<W>> {
        let some = |document: &[u8]| (!document.is_empty()).then(|| document.to_vec());
        let news = News { roots: roots.to_vec(), revocation: some(revocation), freshness: some(freshness) };
        BundleWriter::begin(out, &news, envelope)
    }

    /// Writes the head: everything a device should learn, and the envelope.
    pub fn begin(mut out: W, news: &News, envelope: &[u8]) -> io::Result<BundleWriter<W>> {
        let News { roots, revocation, freshness } = news;
        let bytes: usize = roots.iter().map(Vec::len).sum();
        if roots.len() as u64 > ROOTS_MAX || bytes > ROOTS_BYTES_MAX {
            return Err(invalid("more root documents than a bundle carries"));
        }
        let mut head = Writer::new();
        head.text(MAGIC).array(roots.len());
        for root in roots {
            head.bytes(root);
        }
        head.bytes(revocation.as_deref().unwrap_or_default());
        head.bytes(freshness.as_deref().unwrap_or_default());
        head.bytes(envelope);
        out.write_all(&head.finish())?;
        Ok(BundleWriter { out, missing: 0 })
    }

    /// Begins hash blocks or a payload of exactly `len` bytes.
    pub fn blob_head(&mut self, len: u64) -> io::Result<()> {
        self.between()?;
        let mut head = Writer::new();
        head.bytes_head(len);
        self.out.write_all(&head.finish())?;
        self.missing = len;
        Ok(())
    }

    /// Adds the next piece of the blob that was begun.
    pub fn blob_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.missing = self
            .missing
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| invalid("a blob is longer than announced"))?;
        self.out.write_all(piece)
    }

    fn between(&self) -> io::Result<()> {
        if self.missing == 0 { Ok(()) } else { Err(invalid("a blob is shorter than announced")) }
    }

    /// Flushes and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.between()?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The head of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleHead {
    /// What a device should learn first. Unverified.
    pub news: News,
    /// The envelope. Unverified.
    pub envelope: Vec<u8>,
    /// Where the first blob's head begins.
    pub offset: u64,
}

/// Reads the head of a bundle from its beginning. Memory is bounded by the
/// limits on roots and envelopes, whatever the file announces.
pub fn read_head(input: &mut impl Read) -> io::Result<BundleHead> {
    let mut input = Counting { input, offset: 0 };
    let (major, len) = read_item(&mut input)?;
    let magic = match (major, len as usize) {
        (3, len) if len == MAGIC.len() => read_exact(&mut input, len)?,
        _ => Vec::new(),
    };
    let first_form = magic == MAGIC_1.as_bytes();
    if !first_form && magic != MAGIC.as_bytes() {
        return Err(invalid("not a firmseal bundle"));
    }
    let mut news = News { roots: read_roots(&mut input)?, ..News::default() };
    if !first_form {
        news.revocation = read_document(&mut input, REVOCATION_MAX, "revocation document")?;
        news.freshness = read_document(&mut input, FRESHNESS_MAX, "freshness document")?;
    }
    let len = blob_head(&mut input, ENVELOPE_MAX as u64, "envelope")?;
    let envelope = read_exact(&mut input, len as usize)?;
    Ok(BundleHead { news, envelope, offset: input.offset })
}

fn read_roots(input: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let (major, count) = read_item(input)?;
    if major != 4 || count > ROOTS_MAX {
        return Err(invalid("a bundle's second item is an array of root documents"));
    }
    let (mut roots, mut bytes) = (Vec::new(), 0);
    for _ in 0..count {
        let len = blob_head(input, ROOT_MAX as u64, "root document")? as usize;
        bytes += len;
        if bytes > ROOTS_BYTES_MAX {
            return Err(invalid("more root documents than a bundle carries"));
        }
        roots.push(read_exact(input, len)?);
    }
    Ok(roots)
}

/// A document, or none where its place is empty.
fn read_document(input: &mut impl Read, max: usize, what: &str) -> io::Result<Option<Vec<u8>>> {
    let len = blob_head(input, max as u64, what)? as usize;
    if len == 0 { Ok(None) } else { read_exact(input, len).map(Some) }
}

/// Reads the head of a blob, which must announce exactly `expected` bytes.
/// Returns the head's own length.
pub fn read_blob_head(input: &mut impl Read, expected: u64) -> io::Result<u64> {
    let mut input = Counting { input, offset: 0 };
    if blob_head(&mut input, u64::MAX, "blob")? != expected {
        return Err(invalid("a blob's length differs from the signed facts"));
    }
    Ok(input.offset)
}

/// Reads the head of a blob for a carrier, who passes it on and has no
/// signed length to compare with. Returns the head's own length, and the
/// announced one.
pub fn read_blob_size(input: &mut impl Read) -> io::Result<(u64, u64)> {
    let mut input = Counting { input, offset: 0 };
    let size = blob_head(&mut input, u64::MAX, "blob")?;
    Ok((input.offset, size))
}

fn blob_head(input: &mut impl Read, max: u64, what: &str) -> io::Result<u64> {
    match read_item(input)? {
        (2, len) if len <= max => Ok(len),
        (2, len) => Err(invalid(&format!("a {what} of {len} bytes is larger than {max}"))),
        _ => Err(invalid(&format!("a {what} is a byte string"))),
    }
}

/// Major type and argument of the next item's head, in its shortest form.
fn read_item(input: &mut impl Read) -> io::Result<(u8, u64)> {
    let first = read_exact(input, 1)?[0];
    let (major, info) = (first >> 5, first & 31);
    let (bytes, minimum) = match info {
        0..24 => return Ok((major, u64::from(info))),
        24 => (1, 24),
        25 => (2, 0x100),
        26 => (4, 0x1_0000),
        27 => (8, 0x1_0000_0000),
        _ => return Err(invalid("an indefinite or reserved length")),
    };
    let argument = read_exact(input, bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    if argument < minimum {
        Err(invalid("a length that is not in its shortest form"))
    } else {
        Ok((major, argument))
    }
}

fn read_exact(input: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; len];
    input.read_exact(&mut out).map_err(|err| match err.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(err.kind(), "the bundle ends early"),
        _ => err,
    })?;
    Ok(out)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

struct Counting<R> {
    input: R,
    offset: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}
