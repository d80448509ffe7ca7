//! Image layouts (image-layout.md): whether every blob is what its digest
//! says, from index.json down.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use firmseal_evidence::json;
use serde_json::Value;

use super::archive::{self, Members};
use super::descriptor::{Descriptor, Digest, Platform};
use super::manifest::{self, Manifest};
use super::{NAME, image, malformed};
use crate::error::FormatError;
use crate::hash::hex;
use crate::inspection::Inspection;
use crate::sigstore::is_plain;
use crate::source::Source;

/// How deep indexes stand in indexes.
const DEPTH_MAX: u8 = 4;
/// How many blobs that nothing names are named.
const SHOWN: usize = 8;
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Describes a layout, and says where its manifest is.
pub(super) fn read(source: &dyn Source) -> Result<(Inspection, Range<u64>), FormatError> {
    let members = archive::members(source)?;
    let document = |name: &str| {
        let range = members.get(name).cloned().ok_or_else(|| malformed(format!("it has no {name}")))?;
        manifest::bytes(source, range)
    };
    let layout = json::parse(&document("oci-layout")?)
        .map_err(|error| malformed(format!("its oci-layout {error}")))?;
    if layout.get("imageLayoutVersion").and_then(Value::as_str) != Some("1.0.0") {
        return Err(malformed("its oci-layout is not of version 1.0.0"));
    }
    let index = document("index.json")?;
    let index = Manifest::read(&index)?;
    let [top] = index.listed.as_slice() else {
        return Err(malformed("its index.json names no image, or more than one; pack each by itself"));
    };
    if !index.is_index || !Manifest::is_media_type(&top.media_type) {
        return Err(malformed("its index.json names something else than an image"));
    }
    let mut walk = Walk { source, members: &members, known: BTreeMap::new(), followed: BTreeSet::new() };
    let signed = walk.blob(top)?;
    let manifest = walk.manifest(top, 0)?;
    let mut inspection = Inspection::new(NAME, walk.known.values().sum());
    inspection.field("manifest", top.digest.as_str());
    image::describe(&mut inspection, &manifest);
    let config = walk.config(&manifest)?;
    let labelled = config.as_ref().and_then(image::label);
    image::version(&mut inspection, manifest.annotation("org.opencontainers.image.version").or(labelled));
    inspection.target = match config.as_ref().map(Platform::read).transpose().map_err(malformed)? {
        Some(platform) => Some(platform.to_string()),
        None => image::platforms(&manifest),
    };
    // The tag is whose who carries the file.
    let tag = tag_of(&document("index.json")?, REFERENCE);
    if let Some(tag) = tag {
        inspection.note("reference", tag);
    }
    let unnamed: Vec<&str> = members
        .keys()
        .filter_map(|name| name.strip_prefix("blobs/"))
        .filter(|name| {
            Digest::parse(&name.replacen('/', ":", 1)).is_none_or(|own| !walk.known.contains_key(&own))
        })
        .collect();
    for name in unnamed.iter().take(SHOWN) {
        inspection.note("blob that nothing names", *name);
    }
    if unnamed.len() > SHOWN {
        inspection.note("blobs that nothing names", unnamed.len().to_string());
    }
    Ok((inspection, signed))
}

/// The first annotation of this name on what an index names.
fn tag_of(index: &[u8], name: &str) -> Option<String> {
    let document = json::parse(index).ok()?;
    let text = document.get("manifests")?.get(0)?.get("annotations")?.get(name)?.as_str()?;
    is_plain(text, 255).then(|| text.to_owned())
}

/// The blobs of a layout as they are followed.
struct Walk<'a> {
    source: &'a dyn Source,
    members: &'a Members,
    /// Those that were hashed, with their lengths.
    known: BTreeMap<Digest, u64>,
    /// The manifests among them that were read.
    followed: BTreeSet<Digest>,
}

impl Walk<'_> {
    /// Where a blob is, once it is what its descriptor says.
    fn blob(&mut self, own: &Descriptor) -> Result<Range<u64>, FormatError> {
        let digest = &own.digest;
        let range = self.members.get(&digest.path()).cloned();
        let range = range.ok_or_else(|| malformed(format!("the blob {digest} is not in it")))?;
        if range.end - range.start != own.size {
            return Err(malformed(format!("the blob {digest} is of another length than it is said to be")));
        }
        if !self.known.contains_key(digest) {
            let found = digest.hash().of_range(self.source, range.clone())?;
            if digest.as_str().split_once(':').is_none_or(|(_, digits)| digits != hex(&found)) {
                return Err(FormatError::DigestMismatch { format: NAME });
            }
            self.known.insert(digest.clone(), own.size);
        }
        Ok(range)
    }

    /// A manifest or an index, and all below it.
    fn manifest(&mut self, own: &Descriptor, depth: u8) -> Result<Manifest, FormatError> {
        if depth > DEPTH_MAX {
            return Err(malformed("its indexes stand in each other more than four deep"));
        }
        let range = self.blob(own)?;
        let manifest = manifest::read(self.source, range)?;
        // What its descriptor calls an index is no image to who follows it.
        if manifest.media_type != own.media_type {
            return Err(malformed(format!(
                "the manifest {} is of another media type than it is said to be",
                own.digest
            )));
        }
        self.followed.insert(own.digest.clone());
        for child in manifest.config.iter().chain(&manifest.listed) {
            self.blob(child)?;
            let is_below = manifest.is_index && Manifest::is_media_type(&child.media_type);
            if is_below && !self.followed.contains(&child.digest) {
                self.manifest(child, depth + 1)?;
            }
        }
        Ok(manifest)
    }

    /// The config of an image, where it is one.
    fn config(&mut self, manifest: &Manifest) -> Result<Option<Value>, FormatError> {
        let Some(config) = manifest.config.as_ref().filter(|own| image::is_config(own)) else {
            return Ok(None);
        };
        let bytes = manifest::bytes(self.source, self.blob(config)?)?;
        json::parse(&bytes).map(Some).map_err(|error| malformed(format!("its config {error}")))
    }
}
