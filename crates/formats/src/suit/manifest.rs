//! Manifests (draft-ietf-suit-manifest-37 §8.4): what is signed, read strictly.

use std::collections::BTreeMap;

use super::cbor::{Kind, Reader, bytes};
use super::commands::{Bounds, COMMANDS_MAX, Sequence};
use super::digest::SuitDigest;
use super::envelope::{Envelope, MANIFEST};
use super::{NAME, malformed, names, within};
use crate::error::FormatError;
use crate::source::Source;

/// Most components.
const COMPONENTS_MAX: usize = 64;
/// The private member of our own manifests: without it no device of ours takes one.
const FACTS: i64 = -257;
const REFERENCE_URI: i64 = 4;
/// Members that hold commands, in the order of an update and the start behind it.
pub(super) const SEQUENCES: [i64; 8] = [15, 16, 18, 20, 7, 8, 9, 24];
/// Members that may stand in the envelope, with their digest in the manifest.
pub(super) const SEVERABLE: [i64; 6] = [14, 15, 16, 18, 20, 23];

/// Whether a file is an envelope with a release of our own: one whose manifest has
/// facts. Nothing else of it is looked at.
pub fn is_release(source: &dyn Source) -> Result<bool, FormatError> {
    let manifest =
        Envelope::read(source).and_then(|envelope| envelope.required(MANIFEST, "manifest")?.load(source));
    match manifest {
        Ok(manifest) => Ok(has_facts(manifest.content()).unwrap_or(false)),
        Err(FormatError::Read(error)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

fn has_facts(manifest: &[u8]) -> Result<bool, super::Bad> {
    let mut reader = Reader::new(manifest);
    let mut keys = reader.map()?;
    while let Some(label) = keys.next_int(&mut reader)? {
        if label == FACTS {
            return Ok(true);
        }
        reader.item()?;
    }
    Ok(false)
}

/// What was severed and is there: byte strings with their heads, and the content.
pub(super) type Severed<'a> = BTreeMap<i64, (&'a [u8], &'a [u8])>;

/// A manifest.
pub(super) struct Manifest<'a> {
    pub(super) sequence: u64,
    pub(super) components: Vec<Vec<&'a [u8]>>,
    pub(super) shared: Sequence<'a>,
    pub(super) sections: BTreeMap<i64, Sequence<'a>>,
    /// Severed, with what the manifest says of it, and whether it is there.
    pub(super) severed: Vec<(i64, SuitDigest<'a>, bool)>,
    /// The rest, as it is encoded; severed text and the like with its head.
    pub(super) others: Vec<(i64, &'a [u8])>,
    /// Members of the common section that are not known here.
    pub(super) common: Vec<(i64, &'a [u8])>,
}

impl<'a> Manifest<'a> {
    pub(super) fn read(content: &'a [u8], here: &Severed<'a>) -> Result<Manifest<'a>, FormatError> {
        let bad = within("the manifest");
        let mut reader = Reader::new(content);
        let mut keys = reader.map().map_err(&bad)?;
        let mut members = BTreeMap::new();
        while let Some(label) = keys.next_int(&mut reader).map_err(&bad)? {
            members.insert(label, reader.item().map_err(&bad)?);
        }
        reader.end().map_err(&bad)?;
        if members.contains_key(&FACTS) {
            // A signature here would be one over a release of ours, by whatever
            // role the key has.
            let what = "it is a release of Firmseal's own: `firmseal inspect` and `firmseal verify` read it, and an \
                        owner agrees with `firmseal countersign`";
            return Err(FormatError::unsupported(NAME, what));
        }
        if members.remove(&1) != Some(&[1]) {
            return Err(FormatError::unsupported(NAME, "its manifest is of another version than 1"));
        }
        let sequence = members.remove(&2).ok_or_else(|| malformed("its manifest has no sequence number"))?;
        let common = members.remove(&3).ok_or_else(|| malformed("its manifest has no common section"))?;
        let mut out = Manifest {
            sequence: Reader::new(sequence).uint().map_err(within("the sequence number"))?,
            components: Vec::new(),
            shared: Vec::new(),
            sections: BTreeMap::new(),
            severed: Vec::new(),
            others: Vec::new(),
            common: Vec::new(),
        };
        let mut bounds = out.read_common(common)?;
        if let Some(label) = here.keys().find(|label| !members.contains_key(label)) {
            return Err(unsigned(*label));
        }
        for (label, item) in members {
            out.read_member(label, item, here, &mut bounds)?;
        }
        Ok(out)
    }

    fn read_common(&mut self, item: &'a [u8]) -> Result<Bounds, FormatError> {
        let bad = within("the common section");
        let mut reader = Reader::new(Reader::new(item).bytes().map_err(&bad)?);
        let mut keys = reader.map().map_err(&bad)?;
        let mut shared = None;
        while let Some(label) = keys.next_int(&mut reader).map_err(&bad)? {
            match label {
                2 => self.components = components(&mut reader).map_err(&bad)?,
                4 => shared = Some(reader.bytes().map_err(&bad)?),
                _ => self.common.push((label, reader.item().map_err(&bad)?)),
            }
        }
        reader.end().map_err(&bad)?;
        if self.components.is_empty() {
            return Err(malformed("its manifest names no components"));
        }
        let mut bounds = Bounds { components: self.components.len(), commands: COMMANDS_MAX };
        if let Some(shared) = shared {
            self.shared = bounds.sequence(shared).map_err(within("the shared sequence"))?;
        }
        Ok(bounds)
    }

    fn read_member(
        &mut self,
        label: i64,
        item: &'a [u8],
        here: &Severed<'a>,
        bounds: &mut Bounds,
    ) -> Result<(), FormatError> {
        let name = names::member(label);
        let bad = within(&name);
        let mut reader = Reader::new(item);
        let severed = SEVERABLE.contains(&label) && reader.kind() == Some(Kind::Array);
        let content = match (severed, here.get(&label)) {
            (true, found) => {
                let digest = SuitDigest::read(&mut reader).map_err(&bad)?;
                self.severed.push((label, digest, found.is_some()));
                let Some((wrapped, content)) = found else { return Ok(()) };
                match digest.matches(wrapped) {
                    Some(true) => {}
                    Some(false) => {
                        return Err(malformed(format!("{name}: it was severed, and is another one here")));
                    }
                    None => {
                        let what = format!(
                            "{name}: its digest is of a function other than SHA-256, SHA-384 and SHA-512"
                        );
                        return Err(FormatError::unsupported(NAME, what));
                    }
                }
                self.put(label, wrapped);
                *content
            }
            (false, Some(_)) => return Err(unsigned(label)),
            (false, None) if SEQUENCES.contains(&label) => reader.bytes().map_err(&bad)?,
            (false, None) => {
                if label == REFERENCE_URI {
                    reader.text().map_err(&bad)?;
                }
                self.others.push((label, item));
                return Ok(());
            }
        };
        if SEQUENCES.contains(&label) {
            self.sections.insert(label, bounds.sequence(content).map_err(&bad)?);
        }
        Ok(())
    }

    fn put(&mut self, label: i64, wrapped: &'a [u8]) {
        if !SEQUENCES.contains(&label) {
            self.others.push((label, wrapped));
        }
    }

    /// Sections in the order of an update.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (i64, &Sequence<'a>)> {
        SEQUENCES.iter().filter_map(|label| self.sections.get(label).map(|sequence| (*label, sequence)))
    }

    /// A section of commands that was severed and left out.
    pub(super) fn left_out(&self) -> Option<i64> {
        let gone = |(label, _, here): &&(i64, SuitDigest<'_>, bool)| !here && SEQUENCES.contains(label);
        self.severed.iter().find(gone).map(|(label, ..)| *label)
    }

    /// A component's path, for people.
    pub(super) fn path(component: &[&[u8]]) -> String {
        component.iter().map(|part| bytes(part)).collect::<Vec<_>>().join(" / ")
    }
}

/// A severable member of the envelope that the manifest does not sever: nothing
/// covers it, and a device may run it.
fn unsigned(label: i64) -> FormatError {
    malformed(format!(
        "{}: it is in the envelope, and the manifest has no digest of it",
        names::member(label)
    ))
}

fn components<'a>(reader: &mut Reader<'a>) -> Result<Vec<Vec<&'a [u8]>>, super::Bad> {
    let count = reader.array()?;
    if count > COMPONENTS_MAX {
        return Err("more than 64 components");
    }
    let mut all = Vec::new();
    for _ in 0..count {
        let mut path = Vec::new();
        for _ in 0..reader.array()? {
            path.push(reader.bytes()?);
        }
        // Two names for one place, or one name for two.
        if all.contains(&path) {
            return Err("a component that is there twice");
        }
        all.push(path);
    }
    Ok(all)
}
