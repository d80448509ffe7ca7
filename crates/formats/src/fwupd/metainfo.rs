//! The metainfo (AppStream's *Firmware* component, as LVFS and fwupd read it):
//! for which devices firmware is, its version, and its payload's checksum.

use super::{is_plain, malformed};
use crate::der::Bad;
use crate::error::FormatError;
use crate::tree;

use super::xml::{self, Element};

/// What it says.
pub(super) struct MetaInfo {
    pub(super) version: String,
    /// Devices, by GUID.
    pub(super) devices: Vec<String>,
    pub(super) payload: String,
    /// Of the payload; without, its signature covers nothing else.
    pub(super) sha256: Option<String>,
    /// Length of the payload.
    pub(super) size: Option<u64>,
    /// More of it, in order.
    pub(super) told: Vec<(String, String)>,
}

impl MetaInfo {
    pub(super) fn read(bytes: &[u8]) -> Result<MetaInfo, FormatError> {
        let read = tree::text(bytes).and_then(xml::read).and_then(|root| MetaInfo::of(&root));
        read.map_err(|why| malformed(format!("its metainfo: {why}")))
    }

    fn of(root: &Element) -> Result<MetaInfo, Bad> {
        if root.name != "component" || root.attribute("type") != Some("firmware") {
            return Err("it is no component of type `firmware`");
        }
        let id = root.one("id")?.ok_or("it has no id")?.plain()?;
        let mut told = vec![("id".to_owned(), id.to_owned())];
        if let Some(name) = root.all("name").find(|own| own.attributes.is_empty()) {
            told.push(("name".to_owned(), name.text.trim().to_owned()));
        }
        let provides = root.one("provides")?.ok_or("it provides nothing")?;
        let flashed = provides.all("firmware").filter(|own| own.attribute("type") == Some("flashed"));
        let devices: Vec<String> =
            flashed.map(|own| own.plain().map(str::to_owned)).collect::<Result<_, _>>()?;
        if devices.iter().all(String::is_empty) {
            return Err("it is for no device");
        }
        // Which of many a device takes is not the same in all versions.
        let releases = root.one("releases")?.ok_or("it has no releases")?;
        let release = releases.one("release")?.ok_or("it has no release")?;
        let version =
            release.attribute("version").filter(|own| !own.is_empty()).ok_or("its release has no version")?;
        for rule in root.all("requires").flat_map(|own| &own.children) {
            let words = rule.attributes.iter().map(|(name, value)| format!("{name}={value}"));
            let words: Vec<String> = words.chain([rule.text.trim().to_owned()]).collect();
            told.push((format!("requires {}", rule.name), words.join(" ").trim().to_owned()));
        }
        for value in root.all("custom").flat_map(|own| own.all("value")) {
            told.push((value.attribute("key").unwrap_or("custom").to_owned(), value.text.trim().to_owned()));
        }
        let (payload, sha256) = payload(release)?;
        let mut sizes = release.all("size").filter(|own| own.attribute("type") == Some("installed"));
        let size = match (sizes.next(), sizes.next()) {
            (None, _) => None,
            (Some(size), None) => Some(size.plain()?.parse().map_err(|_| "the payload's size is no number")?),
            _ => return Err("the payload has two sizes"),
        };
        if !is_plain(&payload) {
            return Err("the payload's name is no plain one");
        }
        Ok(MetaInfo { version: version.to_owned(), devices, payload, sha256, size, told })
    }
}

/// Name and checksum of a release's payload, in the one of both places that
/// they are in.
fn payload(release: &Element) -> Result<(String, Option<String>), Bad> {
    let mut checksums = release.all("checksum").filter(|own| own.attribute("target") == Some("content"));
    let (first, second) = (checksums.next(), checksums.next());
    let artifacts = release.one("artifacts")?;
    let mut binaries = artifacts.into_iter().flat_map(|own| own.all("artifact"));
    match (binaries.next(), binaries.next(), first, second) {
        (Some(binary), None, None, _) if binary.attribute("type") == Some("binary") => {
            let name = binary.one("filename")?.ok_or("its artifact has no filename")?.plain()?;
            let sum = binary.one("checksum")?.map(sha256).transpose()?;
            Ok((name.to_owned(), sum.flatten()))
        }
        (None, _, Some(sum), None) => {
            // What fwupd takes where nothing is said.
            let name = sum.attribute("filename").unwrap_or("firmware.bin");
            Ok((name.to_owned(), sha256(sum)?))
        }
        (None, _, None, _) => Ok(("firmware.bin".to_owned(), None)),
        _ => Err("its release has more than one payload"),
    }
}

/// A checksum's digits; `None` where it is empty, for tools to fill in.
fn sha256(sum: &Element) -> Result<Option<String>, Bad> {
    let text = sum.plain()?;
    let digits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let is_sha256 = sum.attribute("type").is_none_or(|kind| kind == "sha256");
    match text.len() {
        0 => Ok(None),
        64 if is_sha256 && text.bytes().all(digits) => Ok(Some(text.to_owned())),
        _ => Err("the payload's checksum is no SHA-256 in lower case"),
    }
}
