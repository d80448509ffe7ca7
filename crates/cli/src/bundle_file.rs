//! Bundles that somebody carried here to be signed: every payload is
//! measured and read before anybody is asked to put a name under it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use firmseal_core::{Digest, Refusal};
use firmseal_formats::Inspection;
use firmseal_manifest::bundle::{self, BundleHead, BundleWriter, News};
use firmseal_manifest::{ComponentSpec, ReadError, ReleaseSpec, TreeBuilder};

use crate::error::{CliError, Kind, Result, file};
use crate::newfile::{self, NewFile};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// A bundle whose payloads are what its manifest says.
pub struct BundleFile {
    path: PathBuf,
    head: BundleHead,
    spec: ReleaseSpec,
    parts: Vec<Part>,
}

/// A payload, and what its format's parser read of it.
pub struct Part {
    /// The component.
    pub name: String,
    /// What the parser read.
    pub inspection: Inspection,
    /// Where the payload stands in the file.
    offset: u64,
    size: u64,
    hash_blocks: Vec<u8>,
}

impl BundleFile {
    /// Reads a bundle, whoever has signed it or nobody. `format` is the
    /// product's, where it is known.
    pub fn open(path: &Path, format: Option<&str>) -> Result<BundleFile> {
        let about = |error: CliError| error.about(path.display());
        let mut input = BufReader::new(File::open(path).map_err(file(path))?);
        let head = bundle::read_head(&mut input).map_err(|error| {
            about(CliError::new(Kind::Refused, error))
                .hint("`firmseal assemble` and `firmseal release export` write bundles")
        })?;
        let spec = ReleaseSpec::of(&head.envelope).map_err(|error| {
            about(match error {
                ReadError::Refused(refusal) => refusal.into(),
                ReadError::Spelling => CliError::new(Kind::Refused, error),
            })
        })?;
        let (mut offset, mut parts) = (head.offset, Vec::new());
        for component in &spec.components {
            let (part, next) = part(&mut input, offset, component, format).map_err(about)?;
            parts.push(part);
            offset = next;
        }
        Ok(BundleFile { path: path.to_owned(), head, spec, parts })
    }

    /// What the manifest says.
    pub fn spec(&self) -> &ReleaseSpec {
        &self.spec
    }

    /// The envelope as it came, with whatever signatures it has.
    pub fn envelope(&self) -> &[u8] {
        &self.head.envelope
    }

    /// What devices are told before the release.
    pub fn news(&self) -> &News {
        &self.head.news
    }

    /// The payloads, in the order of the components.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Name and digest of each payload's parsed header.
    pub fn headers(&self) -> Vec<(String, Digest)> {
        self.parts.iter().map(|part| (part.name.clone(), part.inspection.digest())).collect()
    }

    /// Writes the same payloads under another envelope, whole or not at all.
    pub fn write(&self, to: &Path, news: &News, envelope: &[u8]) -> Result {
        let fail = |error: std::io::Error| file(to)(error);
        let out = BufWriter::new(NewFile::create(to, newfile::PUBLIC)?);
        let mut writer = BundleWriter::begin(out, news, envelope).map_err(fail)?;
        let mut input = File::open(&self.path).map_err(file(&self.path))?;
        for part in &self.parts {
            writer.blob_head(part.hash_blocks.len() as u64).map_err(fail)?;
            writer.blob_piece(&part.hash_blocks).map_err(fail)?;
            writer.blob_head(part.size).map_err(fail)?;
            input.seek(SeekFrom::Start(part.offset)).map_err(file(&self.path))?;
            for_each_piece(&mut input, part.size, |piece| writer.blob_piece(piece))
                .map_err(file(&self.path))?;
        }
        writer
            .finish()
            .and_then(|out| out.into_inner().map_err(|error| error.into_error()))
            .map_err(fail)?
            .finish()
    }
}

impl Part {
    /// A line for people.
    pub fn line(&self) -> String {
        said(&self.inspection)
    }
}

/// What a format's parser read, in a line for people.
pub fn said(inspection: &Inspection) -> String {
    let mut line = format!("{}, {} bytes", inspection.format, inspection.image_size);
    if let Some(version) = &inspection.version {
        line.push_str(&format!(", version {version}"));
    }
    if let Some(epoch) = inspection.epoch {
        line.push_str(&format!(", epoch {epoch}"));
    }
    if inspection.debug == Some(true) {
        line.push_str(", a DEBUG build");
    }
    line
}

/// Measures and reads one payload; says where the next begins.
fn part(
    input: &mut BufReader<File>,
    offset: u64,
    component: &ComponentSpec,
    format: Option<&str>,
) -> Result<(Part, u64)> {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            CliError::new(Kind::Refused, error)
        }
        _ => error.into(),
    };
    // The hash blocks that came are the carrier's; ours are built below.
    input.seek(SeekFrom::Start(offset))?;
    let (head, len) = bundle::read_blob_size(input).map_err(refused)?;
    let cut = || CliError::new(Kind::Refused, "is cut off");
    let payload = offset.checked_add(head).and_then(|at| at.checked_add(len)).ok_or_else(cut)?;
    input.seek(SeekFrom::Start(payload))?;
    let head = bundle::read_blob_head(input, component.size).map_err(refused)?;
    let start = payload + head;

    let (mut copy, mut tree) = (tempfile::tempfile()?, TreeBuilder::new(component.block));
    for_each_piece(input, component.size, |piece| {
        tree.update(piece);
        copy.write_all(piece)
    })
    .map_err(refused)?;
    let built = tree.finish()?;
    if built.digest != component.digest || *built.tree.root() != component.tree_root {
        return Err(CliError::from(Refusal::ImageMismatch).about(&component.name));
    }
    let inspection = match format {
        Some(format) => firmseal_sign::review::inspect(format, &copy)?,
        None => firmseal_formats::inspect(&copy)?,
    };
    let part = Part {
        name: component.name.clone(),
        inspection,
        offset: start,
        size: component.size,
        hash_blocks: built.hash_blocks,
    };
    Ok((part, start + component.size))
}

/// Reads exactly so many bytes, a bounded piece at a time.
fn for_each_piece(
    input: &mut impl Read,
    size: u64,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (mut left, mut buffer) = (size, vec![0; PIECE.min(size as usize)]);
    while left > 0 {
        let take = left.min(PIECE as u64) as usize;
        input.read_exact(&mut buffer[..take])?;
        each(&buffer[..take])?;
        left -= take as u64;
    }
    Ok(())
}
