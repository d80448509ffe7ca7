//! What a cabinet says of itself.

use super::cabinet::{Cabinet, File};
use super::content::Content;
use super::jcat::{Checksums, Item, JcatFile, unknown};
use super::metainfo::MetaInfo;
use super::{NAME, malformed};
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::{ExistingSignature, Inspection};
use crate::source::Source;

/// Longest metainfo, and longest jcat.
const METAINFO_MAX: u64 = 256 * 1024;
const JCAT_MAX: u64 = 256 * 1024;

/// A cabinet whose payload is the one that its metainfo tells of.
pub(super) struct Firmware {
    pub(super) cabinet: Cabinet,
    pub(super) metainfo: File,
    pub(super) payload: File,
    said: MetaInfo,
    /// The metainfo's own bytes.
    text: Vec<u8>,
    pub(super) jcat: Option<JcatFile>,
    sha256: Vec<u8>,
}

impl Firmware {
    pub(super) fn read(source: &dyn Source) -> Result<Firmware, FormatError> {
        let cabinet = Cabinet::read(source)?;
        let metainfo = one(&cabinet, ".metainfo.xml")?.ok_or_else(|| malformed("it has no metainfo"))?;
        let text = short(source, &cabinet, &metainfo, METAINFO_MAX)?;
        let said = MetaInfo::read(&text)?;
        let payload = cabinet.files.iter().find(|file| file.name == said.payload).cloned();
        let payload = payload.filter(|own| own.name != metainfo.name && !own.name.ends_with(".jcat"));
        let payload = payload.ok_or_else(|| {
            malformed(format!("`{}`, which its metainfo names, is not in it", said.payload))
        })?;
        let size = payload.range.end - payload.range.start;
        let sha256 = content(source, &cabinet, &payload, |own| Ok(Hash::Sha256.of_range(own, 0..size)?))?;
        let differs = said.sha256.as_ref().is_some_and(|sum| *sum != hex(&sha256));
        if differs || said.size.is_some_and(|own| own != size) {
            return Err(malformed(format!("`{}` has another SHA-256 or size in its metainfo", payload.name)));
        }
        let jcat = match one(&cabinet, ".jcat")? {
            None => None,
            Some(file) => {
                let bytes = short(source, &cabinet, &file, JCAT_MAX)?;
                Some(JcatFile::read(NAME, &bytes)?)
            }
        };
        Ok(Firmware { cabinet, metainfo, payload, said, text, jcat, sha256 })
    }

    /// Whether the metainfo's signature covers the payload as well.
    pub(super) fn covers(&self) -> bool {
        self.said.sha256.is_some()
    }

    pub(super) fn version(&self) -> &str {
        &self.said.version
    }

    pub(super) fn describe(&self) -> Inspection {
        let size = self.payload.range.end - self.payload.range.start;
        let mut out = Inspection::new(NAME, size);
        out.version = semver::Version::parse(&self.said.version).ok().map(|version| version.to_string());
        out.target = Some(self.said.devices.join(", "));
        for (name, value) in &self.said.told {
            out.field(name, value);
        }
        out.field("release", &self.said.version);
        out.field("payload", format!("{} {size} bytes sha256:{}", self.payload.name, hex(&self.sha256)));
        out.field("metainfo", format!("{} sha256:{}", self.metainfo.name, hex(&Hash::Sha256.of(&self.text))));
        if !self.covers() {
            out.note("not covered by the metainfo", &self.payload.name);
        }
        let is_other =
            |name: &str| name != self.metainfo.name && name != self.payload.name && !name.ends_with(".jcat");
        for file in self.cabinet.files.iter().filter(|file| is_other(&file.name)) {
            out.note("not signed", &file.name);
        }
        out
    }

    /// Adds the signatures in the jcat.
    fn signed(&self, source: &dyn Source, out: &mut Inspection) -> Result<(), FormatError> {
        let Some(jcat) = &self.jcat else { return Ok(()) };
        for item in jcat.items().map_err(malformed)? {
            if item.has_aliases {
                return Err(malformed(format!("`{}` has more than one name in its jcat", item.id)));
            }
            let file = [&self.metainfo, &self.payload].into_iter().find(|file| file.name == item.id);
            let Some(file) = file else {
                out.note("signatures of something else", item.id);
                continue;
            };
            let len = file.range.end - file.range.start;
            let read = content(source, &self.cabinet, file, |own| {
                let digest = |hash: Hash| Ok::<_, FormatError>(hash.of_range(own, 0..len)?);
                Ok((item.checksums(digest)?, self.signature(&item, file)?))
            });
            let (checksums, found) = read?;
            if checksums == Checksums::Wrong {
                return Err(malformed(format!("its jcat has another checksum of `{}`", item.id)));
            }
            let others = item.others(found.is_some());
            if let Some(own) = found {
                out.note("signature", format!("of {}", item.id));
                out.signatures.push(match checksums {
                    Checksums::None => unknown(own, "its item has no checksum, which fwupd asks for"),
                    _ => own,
                });
            }
            if others > 0 {
                out.note("signatures not read", format!("{others} of {}", item.id));
            }
        }
        Ok(())
    }

    /// What is believed of an item's signature: that of the metainfo covers all
    /// that is told.
    fn signature(&self, item: &Item<'_>, file: &File) -> Result<Option<ExistingSignature>, FormatError> {
        let is_metainfo = file.name == self.metainfo.name;
        let found = item.signature(|hash| Ok::<_, FormatError>(hash.of(&self.text)))?;
        // Whoever has a payload's signature could put another metainfo beside it.
        let why = match (is_metainfo, self.covers()) {
            (true, true) => return Ok(found),
            (true, false) => "its metainfo has no SHA-256 of the payload",
            (false, _) => "it covers the payload, and not for what it is; the metainfo's covers both",
        };
        Ok(found.map(|own| unknown(own, why)))
    }
}

/// The one file with an ending.
fn one(cabinet: &Cabinet, ending: &str) -> Result<Option<File>, FormatError> {
    let mut found = cabinet.files.iter().filter(|file| file.name.ends_with(ending));
    match (found.next(), found.next()) {
        (first, None) => Ok(first.cloned()),
        _ => Err(FormatError::unsupported(
            NAME,
            format!("a cabinet with more than one `*{ending}`; make one for each"),
        )),
    }
}

/// Hands a file's content on; what is wrong with the data is the file's.
pub(super) fn content<T>(
    source: &dyn Source,
    cabinet: &Cabinet,
    file: &File,
    read: impl FnOnce(&dyn Source) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    let content = Content::of(source, cabinet, file).ok_or_else(|| malformed("a file is in no folder"))?;
    match read(&content) {
        Err(FormatError::Read(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(malformed(error.to_string()))
        }
        other => other,
    }
}

/// A short file, in whole.
fn short(source: &dyn Source, cabinet: &Cabinet, file: &File, max: u64) -> Result<Vec<u8>, FormatError> {
    let len = file.range.end - file.range.start;
    if len > max {
        return Err(malformed(format!("`{}` is longer than {max} bytes", file.name)));
    }
    content(source, cabinet, file, |own| {
        let mut bytes = vec![0; len as usize];
        own.read_at(0, &mut bytes)?;
        Ok(bytes)
    })
}

/// Describes a cabinet with its signatures.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let firmware = Firmware::read(source)?;
    let mut inspection = firmware.describe();
    firmware.signed(source, &mut inspection)?;
    Ok(inspection)
}
