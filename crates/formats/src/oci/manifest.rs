//! Manifests and indexes (image-spec, manifest.md and image-index.md).

use std::ops::Range;

use firmseal_evidence::json;
use serde_json::{Map, Value};

use super::descriptor::{Descriptor, word};
use super::malformed;
use crate::der::Bad;
use crate::error::FormatError;
use crate::source::Source;

/// What registries take at least (distribution-spec, pushing manifests), and
/// hardly one takes more.
pub(super) const LEN_MAX: u64 = 4 * 1024 * 1024;
/// How far the word that makes a file one is looked for.
const HEAD: u64 = 64 * 1024;
/// Most blobs or manifests that one names.
const LISTED_MAX: usize = 4096;

const IMAGE: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEX: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// A manifest or an index that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// What it says it is, or has to be said to be.
    pub media_type: String,
    /// Whether it names manifests, and not blobs.
    pub is_index: bool,
    /// What kind of artifact it is, where it is one.
    pub artifact_type: Option<String>,
    /// Its config, unless it is an index.
    pub config: Option<Descriptor>,
    /// Its layers, or the manifests of an index.
    pub listed: Vec<Descriptor>,
    /// The manifest that it is about, where it is about one.
    pub subject: Option<Descriptor>,
    annotations: Map<String, Value>,
}

impl Manifest {
    /// Reads a manifest or an index.
    pub fn read(bytes: &[u8]) -> Result<Manifest, FormatError> {
        if bytes.len() as u64 > LEN_MAX {
            return Err(malformed("its manifest is longer than 4 MiB"));
        }
        let document = json::parse(bytes).map_err(|error| malformed(format!("its manifest {error}")))?;
        manifest(&document).map_err(malformed)
    }

    /// What is annotated under a name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name)?.as_str()
    }

    /// Whether something of this media type is a manifest or an index.
    pub fn is_media_type(media_type: &str) -> bool {
        IMAGE.contains(&media_type) || INDEX.contains(&media_type)
    }
}

/// Whether a file says that it is one: JSON that begins as an object and names
/// a schema's version.
pub(super) fn is_one(source: &dyn Source) -> Result<bool, FormatError> {
    const WORD: &[u8] = b"\"schemaVersion\"";
    let len = source.len()?;
    let mut first = vec![0; len.min(16) as usize];
    source.read_at(0, &mut first)?;
    if len > LEN_MAX || !first.trim_ascii_start().starts_with(b"{") {
        return Ok(false);
    }
    let mut head = vec![0; len.min(HEAD) as usize];
    source.read_at(0, &mut head)?;
    Ok(head.windows(WORD.len()).any(|own| own == WORD))
}

/// That in a range of a source.
pub(super) fn read(source: &dyn Source, range: Range<u64>) -> Result<Manifest, FormatError> {
    Manifest::read(&bytes(source, range)?)
}

/// A document whole.
pub(super) fn bytes(source: &dyn Source, range: Range<u64>) -> Result<Vec<u8>, FormatError> {
    let len = range.end.saturating_sub(range.start);
    if len > LEN_MAX {
        return Err(malformed("a document in it is longer than 4 MiB"));
    }
    let mut bytes = vec![0; len as usize];
    source.read_at(range.start, &mut bytes)?;
    Ok(bytes)
}

fn manifest(document: &Value) -> Result<Manifest, Bad> {
    let members = document.as_object().ok_or("it is no JSON object")?;
    match members.get("schemaVersion").and_then(Value::as_u64) {
        Some(2) => {}
        Some(1) => return Err("it is of Docker's schema 1; push it with a tool of this decade"),
        _ => return Err("its schemaVersion is not 2"),
    }
    let media_type = word(members, "mediaType")?;
    let says_index = members.contains_key("manifests");
    // "A manifest that has both ... MUST be refused": what one reader takes
    // for an index is an image to the next (CVE-2021-41190).
    if says_index && ["config", "layers", "fsLayers"].iter().any(|name| members.contains_key(*name)) {
        return Err("it could be an image or an index; a file with two meanings is not signed");
    }
    let (is_index, media_type) = match media_type {
        Some(own) if IMAGE.contains(&own.as_str()) => (false, own),
        Some(own) if INDEX.contains(&own.as_str()) => (true, own),
        Some(_) => return Err("its mediaType is that of no image and no index"),
        // OCI's may leave it out, Docker's may not.
        None if says_index => (true, INDEX[0].to_owned()),
        None => (false, IMAGE[0].to_owned()),
    };
    if is_index != says_index {
        return Err("its mediaType is not what it holds");
    }
    let name = if is_index { "manifests" } else { "layers" };
    let listed = members.get(name).and_then(Value::as_array).filter(|all| all.len() <= LISTED_MAX);
    let listed = listed.ok_or("it has no list of layers or manifests, or one of more than 4096")?;
    let config = members.get("config").map(Descriptor::read).transpose()?;
    if config.is_none() && !is_index {
        return Err("it has no config");
    }
    let annotations = match members.get("annotations") {
        None => Map::new(),
        Some(Value::Object(own)) if own.values().all(Value::is_string) => own.clone(),
        Some(_) => return Err("its annotations are no texts by name"),
    };
    Ok(Manifest {
        media_type,
        is_index,
        artifact_type: word(members, "artifactType")?,
        config,
        listed: listed.iter().map(Descriptor::read).collect::<Result<_, _>>()?,
        subject: members.get("subject").map(Descriptor::read).transpose()?,
        annotations,
    })
}
