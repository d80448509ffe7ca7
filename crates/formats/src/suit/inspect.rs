//! What an envelope says of itself.

use std::ops::Range;

use super::abstract_run::{Found, Match, walk};
use super::authentication::Authentication;
use super::cbor::{Kind, Reader, diagnostic};
use super::commands;
use super::envelope::{AUTHENTICATION, DELEGATION, Envelope, Key, MANIFEST, Wrapped};
use super::manifest::{Manifest, SEVERABLE, Severed};
use super::{NAME, malformed, names, within};
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::source::Source;

const SET_VERSION: i64 = 6;
const TEXT: i64 = 23;

/// An envelope that was read.
pub(super) struct Opened {
    pub(super) envelope: Envelope,
    /// The authentication wrapper.
    pub(super) wrapper: Wrapped,
    pub(super) sequence: u64,
    /// A section of commands that nobody here has seen.
    pub(super) left_out: Option<i64>,
    pub(super) inspection: Inspection,
}

/// Describes an envelope.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    open(source).map(|opened| opened.inspection)
}

/// Reads an envelope.
pub(super) fn open(source: &dyn Source) -> Result<Opened, FormatError> {
    let envelope = Envelope::read(source)?;
    let wrapper = envelope.required(AUTHENTICATION, "authentication wrapper")?.load(source)?;
    let wrapped = envelope.required(MANIFEST, "manifest")?.load(source)?;
    let authentication = Authentication::read(wrapper.content())?;
    authentication.check(&wrapped)?;
    let mut loaded = Vec::new();
    for label in SEVERABLE {
        if let Some(member) = envelope.member(label) {
            loaded.push((label, member.load(source)?));
        }
    }
    let here: Severed<'_> =
        loaded.iter().map(|(label, own)| (*label, (own.bytes.as_slice(), own.content()))).collect();
    let manifest = Manifest::read(wrapped.content(), &here)?;
    let sections: Vec<_> = manifest.in_order().map(|(_, sequence)| sequence).collect();
    let found = walk(manifest.components.len(), &manifest.shared, &sections);

    let size = envelope.payloads().map(|(_, range)| range.end - range.start).sum();
    let mut out = Inspection::new(NAME, size);
    out.epoch = Some(manifest.sequence);
    out.encrypted = found.encrypted;
    out.target = target(&found);
    out.field("manifest digest", authentication.digest.describe());
    describe(&manifest, &mut out)?;
    outside(&envelope, source, &mut out)?;
    payloads(&envelope, &found, source, &mut out)?;
    for (index, block) in authentication.blocks.iter().enumerate() {
        out.note(format!("signature {}", index + 1), block.describe());
        out.signatures.extend(block.signatures(authentication.encoded));
    }
    let (sequence, left_out) = (manifest.sequence, manifest.left_out());
    Ok(Opened { sequence, left_out, inspection: out, envelope, wrapper })
}

/// Whom the manifest is for: what it compares whatever the device decides.
fn target(found: &Found<'_>) -> Option<String> {
    let all = found.identities.iter().map(|(label, value)| {
        let name = match label {
            1 => "vendor",
            2 => "class",
            _ => "device",
        };
        format!("{name} {value}")
    });
    let all: Vec<_> = all.collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What is signed, in the order of an update.
fn describe(manifest: &Manifest<'_>, out: &mut Inspection) -> Result<(), FormatError> {
    for (index, component) in manifest.components.iter().enumerate() {
        out.field(format!("component {index}"), Manifest::path(component));
    }
    for (label, item) in &manifest.common {
        let name = if *label == 1 { "dependencies".to_owned() } else { format!("common {label}") };
        out.field(name, diagnostic(item));
    }
    for (label, item) in &manifest.others {
        let name = names::member(*label);
        match *label {
            SET_VERSION => {
                out.version = version(item);
                out.field(name, diagnostic(item));
            }
            TEXT => out.field(name, text(item)?),
            _ => out.field(name, diagnostic(item)),
        }
    }
    for (label, digest, here) in &manifest.severed {
        out.field(names::member(*label), format!("severed, {}", digest.describe()));
        if !here {
            out.note(names::member(*label), "severed and left out");
        }
    }
    commands::describe("shared", &manifest.shared, out);
    for (label, sequence) in manifest.in_order() {
        commands::describe(&names::member(label), sequence, out);
    }
    Ok(())
}

/// A version (draft-ietf-suit-update-management §4): numbers, behind -3, -2 or -1
/// that of an alpha, beta or release candidate.
fn version(item: &[u8]) -> Option<String> {
    let mut reader = Reader::new(item);
    if reader.kind() == Some(Kind::Bytes) {
        reader = Reader::new(reader.bytes().ok()?);
    }
    let mut out = String::new();
    for index in 0..reader.array().ok()? {
        let number = reader.int().ok()?;
        out += &match number {
            -3 => "-alpha".to_owned(),
            -2 => "-beta".to_owned(),
            -1 => "-rc".to_owned(),
            0.. if index == 0 => number.to_string(),
            0.. => format!(".{number}"),
            _ => return None,
        };
    }
    reader.end().ok()?;
    out.starts_with(|first: char| first.is_ascii_digit()).then_some(out)
}

/// The text for people (§8.4.4), in whatever languages.
fn text(item: &[u8]) -> Result<String, FormatError> {
    let bad = within("text");
    let mut reader = Reader::new(Reader::new(item).bytes().map_err(&bad)?);
    let text = reader.item().map_err(&bad)?;
    reader.end().map_err(&bad)?;
    Ok(diagnostic(text))
}

/// What no signature covers, and is no payload.
fn outside(envelope: &Envelope, source: &dyn Source, out: &mut Inspection) -> Result<(), FormatError> {
    if !envelope.tagged {
        out.note("tag", "left out");
    }
    for member in &envelope.members {
        match &member.key {
            Key::Number(DELEGATION) => {
                let (chains, links) =
                    delegation(member.load(source)?.content()).map_err(within("delegation"))?;
                out.note("delegation", format!("{chains} chains of {links} links in all, not read here"));
            }
            Key::Number(AUTHENTICATION | MANIFEST) | Key::Name(_) => {}
            Key::Number(label) if SEVERABLE.contains(label) => {}
            Key::Number(label) => {
                let len = member.content.end - member.content.start;
                out.note(format!("member {label}"), format!("{len} bytes, of a kind that is not known here"));
            }
        }
    }
    Ok(())
}

/// Chains and links of a delegation (draft-ietf-suit-trust-domains).
fn delegation(content: &[u8]) -> Result<(usize, usize), super::Bad> {
    let (mut reader, mut links) = (Reader::new(content), 0);
    let chains = reader.array()?;
    for _ in 0..chains {
        let count = reader.array()?;
        for _ in 0..count {
            reader.bytes()?;
        }
        links += count;
    }
    reader.end()?;
    Ok((chains, links))
}

/// Integrated payloads, each held against the digest that a device matches it
/// with.
fn payloads(
    envelope: &Envelope,
    found: &Found<'_>,
    source: &dyn Source,
    out: &mut Inspection,
) -> Result<(), FormatError> {
    for (name, range) in envelope.payloads() {
        let len = range.end - range.start;
        let matches: Vec<_> = found.matches.iter().filter(|own| own.name == name).collect();
        let checked = check(name, &range, &matches, source)?;
        let what = match (checked, found.uris.contains(name)) {
            (true, _) => "as the manifest's image digest says",
            (false, true) => "which digest it must have is for the device to decide",
            (false, false) => "fetched by no command that is known here",
        };
        out.note(format!("payload {name:?}"), format!("{len} bytes, {what}"));
        if is_envelope(source, &range)? {
            out.note(format!("payload {name:?}"), "an envelope itself, which is not read here");
        }
    }
    for uri in found.uris.iter().filter(|uri| uri.starts_with('#')) {
        if envelope.payloads().all(|(name, _)| name != *uri) {
            out.note(format!("payload {uri:?}"), "not in the envelope");
        }
    }
    Ok(())
}

fn check(
    name: &str,
    range: &Range<u64>,
    matches: &[&Match<'_>],
    source: &dyn Source,
) -> Result<bool, FormatError> {
    let len = range.end - range.start;
    if let Some(size) = matches.iter().filter_map(|own| own.size).find(|size| *size != len) {
        return Err(malformed(format!(
            "payload {name:?} has {len} bytes, the manifest's image size says {size}"
        )));
    }
    let mut checked = false;
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        let mut own = matches.iter().filter(|own| own.digest.hash() == Some(hash)).peekable();
        if own.peek().is_none() {
            continue;
        }
        let value = hash.of_range(source, range.clone())?;
        if own.any(|own| own.digest.value != value) {
            let (function, value) = (hash.name(), hex(&value));
            let what =
                format!("payload {name:?} has {function} {value}, which is not the manifest's image digest");
            return Err(malformed(what));
        }
        checked = true;
    }
    Ok(checked)
}

fn is_envelope(source: &dyn Source, range: &Range<u64>) -> Result<bool, FormatError> {
    if range.end - range.start < 2 {
        return Ok(false);
    }
    let mut head = [0; 2];
    source.read_at(range.start, &mut head)?;
    Ok(head == [0xd8, 107])
}
