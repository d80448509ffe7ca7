//! What there is to say of an image.

use serde_json::Value;

use super::NAME;
use super::descriptor::{Descriptor, Platform};
use super::manifest::Manifest;
use crate::inspection::Inspection;
use crate::sigstore::is_plain;

/// The annotation, and label, of an image's version (annotations.md).
const VERSION: &str = "org.opencontainers.image.version";
/// Media types of configs that say what an image runs on.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// What builders write for what runs nowhere: attestations.
const NOWHERE: &str = "unknown/unknown";
/// Longest version that is shown.
const VERSION_MAX: usize = 128;

/// A manifest by itself, in a file of so many bytes.
pub(super) fn alone(manifest: &Manifest, len: u64) -> Inspection {
    let mut inspection = Inspection::new(NAME, len);
    describe(&mut inspection, manifest);
    version(&mut inspection, manifest.annotation(VERSION));
    inspection.target = platforms(manifest);
    inspection
}

/// The members of a manifest.
pub(super) fn describe(inspection: &mut Inspection, manifest: &Manifest) {
    inspection.field("kind", if manifest.is_index { "index" } else { "image" });
    inspection.field("media type", &manifest.media_type);
    if let Some(own) = &manifest.artifact_type {
        inspection.field("artifact type", own);
    }
    if let Some(config) = &manifest.config {
        inspection.field("config", said(config));
    }
    let name = if manifest.is_index { "manifest" } else { "layer" };
    for own in &manifest.listed {
        inspection.field(name, said(own));
    }
    if let Some(subject) = &manifest.subject {
        inspection.field("about", said(subject));
    }
}

fn said(own: &Descriptor) -> String {
    let platform = own.platform.as_ref().map(|platform| format!(", {platform}")).unwrap_or_default();
    let elsewhere = if own.is_elsewhere { ", may come from elsewhere" } else { "" };
    format!("{}, {} bytes, {}{platform}{elsewhere}", own.digest, own.size, own.media_type)
}

/// The version, if it is one that others can compare; otherwise as it stands.
pub(super) fn version(inspection: &mut Inspection, text: Option<&str>) {
    let Some(text) = text.filter(|text| is_plain(text, VERSION_MAX)) else { return };
    match semver::Version::parse(text) {
        Ok(_) => inspection.version = Some(text.to_owned()),
        Err(_) => inspection.field("image version", text),
    }
}

/// What an index has images for.
pub(super) fn platforms(manifest: &Manifest) -> Option<String> {
    let own = manifest.listed.iter().filter_map(|own| own.platform.as_ref()).map(Platform::to_string);
    let all: Vec<String> = own.filter(|own| own != NOWHERE).collect();
    (manifest.is_index && !all.is_empty()).then(|| all.join(", "))
}

/// Whether a config says what its image runs on.
pub(super) fn is_config(descriptor: &Descriptor) -> bool {
    CONFIGS.contains(&descriptor.media_type.as_str())
}

/// The version that a config's labels say.
pub(super) fn label(config: &Value) -> Option<&str> {
    config.get("config")?.get("Labels")?.get(VERSION)?.as_str()
}
