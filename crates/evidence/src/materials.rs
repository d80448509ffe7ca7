//! Software bills of materials: what a release is made of, and what changes
//! from one to the next.
//!
//! CycloneDX (ECMA-424) 1.4 to 1.6, SPDX 2.2 and 2.3, and SPDX 3.0, as JSON.
//! Of what their schemas demand, the members that are read here and those
//! that name the document are checked; the bytes are kept as they came.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use serde_json::Value;

use crate::error::EvidenceError;
use crate::facts::Sbom;
use crate::gather::DOCUMENT_MAX;
use crate::json;
use crate::member::Format;
use crate::spdx::{self, SPDX};

/// Longest document, in bytes.
pub const SBOM_MAX: usize = DOCUMENT_MAX;
/// Predicate types of statements that carry one.
pub(crate) const PREDICATES: [&str; 2] = ["https://cyclonedx.org/bom", "https://spdx.dev/Document"];
/// Most lines of changes that are shown.
const LINES_MAX: usize = 200;

const CYCLONEDX: Format = Format("CycloneDX");
const CYCLONEDX_VERSIONS: [&str; 3] = ["1.4", "1.5", "1.6"];
/// `component.type` of CycloneDX 1.6; earlier versions know fewer.
const COMPONENT_TYPES: [&str; 13] = [
    "application",
    "framework",
    "library",
    "container",
    "platform",
    "operating-system",
    "device",
    "device-driver",
    "firmware",
    "file",
    "machine-learning-model",
    "data",
    "cryptographic-asset",
];

/// What a release is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Materials {
    digest: Digest,
    format: &'static str,
    specification: String,
    count: u32,
    /// Names, each with its versions.
    parts: BTreeMap<String, BTreeSet<String>>,
}

impl Materials {
    /// Reads a document.
    pub fn read(bytes: &[u8]) -> Result<Materials, EvidenceError> {
        if bytes.len() > SBOM_MAX {
            return Err(EvidenceError::Long(SBOM_MAX));
        }
        let document = json::parse(bytes)?;
        match Materials::claims(&document) {
            true => Materials::of(&document, bytes),
            false => Err(EvidenceError::Unknown),
        }
    }

    /// Whether a document says that it is one.
    pub(crate) fn claims(document: &Value) -> bool {
        ["bomFormat", "spdxVersion"].iter().any(|name| document.get(name).is_some())
            || spdx::is_three(document)
    }

    /// Reads a document that was parsed from these bytes.
    pub(crate) fn of(document: &Value, bytes: &[u8]) -> Result<Materials, EvidenceError> {
        let (format, specification, packages) = match (document.get("bomFormat"), document.get("spdxVersion"))
        {
            (Some(Value::String(name)), None) if name == "CycloneDX" && !spdx::is_three(document) => {
                ("cyclonedx", cyclonedx(document)?, Vec::new())
            }
            (None, Some(_)) if !spdx::is_three(document) => {
                let (version, packages) = spdx::two(document)?;
                ("spdx", version, packages)
            }
            (None, None) if spdx::is_three(document) => ("spdx", "3.0".to_owned(), spdx::three(document)?),
            // One document that two readers take for two.
            _ => return Err(EvidenceError::Unknown),
        };
        let mut materials = Materials {
            digest: RustCrypto.digest(bytes),
            format,
            specification,
            count: 0,
            parts: BTreeMap::new(),
        };
        let version =
            if materials.specification == "3.0" { "software_packageVersion" } else { "versionInfo" };
        for package in packages {
            materials.part(SPDX, package, version)?;
        }
        if format == "cyclonedx" {
            materials.components(document)?;
        }
        Ok(materials)
    }

    /// SHA-256 of the document.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a policy is told of it.
    pub fn facts(&self) -> Sbom {
        Sbom {
            format: self.format.to_owned(),
            specification: self.specification.clone(),
            components: self.count,
            signed: false,
        }
    }

    /// Components of CycloneDX, which may hold components.
    fn components(&mut self, document: &Value) -> Result<(), EvidenceError> {
        let mut open = vec![document];
        while let Some(holder) = open.pop() {
            let parts = CYCLONEDX.list(present(holder, "components")?, "components")?;
            // "uniqueItems": true.
            let mut seen = HashSet::new();
            for part in parts {
                if !seen.insert(part) {
                    return Err(CYCLONEDX.malformed("components (one stands there twice)"));
                }
                for name in ["group", "version"] {
                    present(part, name)?;
                }
                if !COMPONENT_TYPES.contains(&CYCLONEDX.text(part, "type")?) {
                    return Err(CYCLONEDX.malformed("type"));
                }
                self.part(CYCLONEDX, part, "version")?;
                open.push(part);
            }
        }
        Ok(())
    }

    fn part(&mut self, format: Format, part: &Value, version: &'static str) -> Result<(), EvidenceError> {
        let said = |name: &'static str| match part.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(format.malformed(name)),
        };
        let name = said("name")?.ok_or(format.malformed("name of a part"))?;
        // A group is CycloneDX's; in others it is nobody's.
        let name = match said("group")?.filter(|_| format.0 == CYCLONEDX.0) {
            Some(group) => printed(&format!("{group}/{name}")),
            None => printed(name),
        };
        self.parts.entry(name).or_default().insert(said(version)?.map(printed).unwrap_or_default());
        self.count += 1;
        Ok(())
    }
}

/// Checks the head of a CycloneDX document and tells its version.
fn cyclonedx(document: &Value) -> Result<String, EvidenceError> {
    let version = CYCLONEDX.text(document, "specVersion")?;
    if !CYCLONEDX_VERSIONS.contains(&version) {
        return Err(CYCLONEDX.malformed("specVersion (1.4 to 1.6)"));
    }
    match document.get("version") {
        Some(Value::Number(number)) if number.as_u64().is_some_and(|number| number > 0) => {}
        // 1 by default.
        None => {}
        _ => return Err(CYCLONEDX.malformed("version")),
    }
    if let Some(serial) = CYCLONEDX.optional(present(document, "serialNumber")?, "serialNumber")? {
        let uuid = serial.strip_prefix("urn:uuid:").unwrap_or_default();
        let digit = |(at, c): (usize, char)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => matches!(c, '0'..='9' | 'a'..='f'),
        };
        if uuid.len() != 36 || !uuid.chars().enumerate().all(digit) {
            return Err(CYCLONEDX.malformed("serialNumber"));
        }
    }
    Ok(version.to_owned())
}

/// The object, whose member of this name is there or not: in its schema null is
/// nothing that a member can be.
fn present<'a>(object: &'a Value, name: &'static str) -> Result<&'a Value, EvidenceError> {
    match object.get(name) {
        Some(Value::Null) => Err(CYCLONEDX.malformed(name)),
        _ => Ok(object),
    }
}

/// Text of a stranger's, for a terminal.
fn printed(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What changes from one to the next, a line each.
pub fn lines(before: Option<&Materials>, after: Option<&Materials>) -> Vec<String> {
    let (before, after) = match (before, after) {
        (None, None) => return Vec::new(),
        (None, Some(after)) => {
            return vec![format!("SBOM with {} parts; there was none before", after.parts.len())];
        }
        (Some(_), None) => return vec!["SBOM: there is none any more".to_owned()],
        (Some(before), Some(after)) => (before, after),
    };
    if before.digest == after.digest {
        return vec!["SBOM stays as it is".to_owned()];
    }
    let versions = |of: &BTreeSet<String>| of.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    for (name, now) in &after.parts {
        match before.parts.get(name) {
            None => lines.push(format!("SBOM + {name} {}", versions(now))),
            Some(was) if was != now => {
                lines.push(format!("SBOM ~ {name} {} -> {}", versions(was), versions(now)))
            }
            Some(_) => {}
        }
    }
    let gone = before.parts.iter().filter(|(name, _)| !after.parts.contains_key(*name));
    lines.extend(gone.map(|(name, was)| format!("SBOM - {name} {}", versions(was))));
    if lines.is_empty() {
        lines.push("SBOM changes, and names the same parts".to_owned());
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("SBOM: {more} more changes; compare the two documents"));
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cyclonedx(parts: &str) -> Materials {
        Materials::read(
            format!(r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{parts}]}}"#).as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn what_changes_is_said() {
        let old = cyclonedx(
            r#"{"type":"library","name":"zlib","version":"1.2"},
               {"type":"application","name":"busybox","version":"1.36"},
               {"type":"application","name":"app","version":"1",
                "components":[{"type":"library","group":"org","name":"lib","version":"7"}]}"#,
        );
        let new = cyclonedx(
            r#"{"type":"library","name":"zlib","version":"1.3"},
               {"type":"application","name":"app","version":"1","components":[]},
               {"type":"file","name":"evil\u001b[2J"},
               {"type":"library","group":"org","name":"lib","version":"7"}"#,
        );
        assert_eq!(
            lines(Some(&old), Some(&new)),
            ["SBOM + evil\u{fffd}[2J ", "SBOM ~ zlib 1.2 -> 1.3", "SBOM - busybox 1.36"]
        );
        assert_eq!(lines(Some(&old), Some(&old)), ["SBOM stays as it is"]);
        assert_eq!(lines(None, None), Vec::<String>::new());
        assert_eq!(lines(None, Some(&old)), ["SBOM with 4 parts; there was none before"]);
        assert_eq!(lines(Some(&old), None), ["SBOM: there is none any more"]);
        let many =
            (0..500).map(|n| format!(r#"{{"type":"file","name":"p{n}"}}"#)).collect::<Vec<_>>().join(",");
        let told = lines(Some(&old), Some(&cyclonedx(&many)));
        assert_eq!(
            (told.len(), told[200].as_str()),
            (201, "SBOM: 304 more changes; compare the two documents")
        );
        assert_eq!((old.facts().components, old.facts().specification.as_str()), (4, "1.6"));
    }

    #[test]
    fn spdx_names_packages() {
        let read = |version: &str| {
            let text = format!(
                r#"{{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"n","dataLicense":"CC0-1.0",
                 "documentNamespace":"https://a.example/1",
                 "creationInfo":{{"created":"2026-01-01T00:00:00Z","creators":["Tool: x"]}},
                 "packages":[{{"SPDXID":"SPDXRef-1","downloadLocation":"NOASSERTION","name":"openssl",
                               "versionInfo":"{version}"}}]}}"#
            );
            Materials::read(text.as_bytes()).unwrap()
        };
        assert_eq!(lines(Some(&read("3.0")), Some(&read("3.2"))), ["SBOM ~ openssl 3.0 -> 3.2"]);
        let three = |version: &str| {
            let text = format!(
                r#"{{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[
                 {{"type":"CreationInfo","@id":"_:c","specVersion":"3.0.1"}},{{"type":"SpdxDocument","spdxId":"urn:d","name":"d"}},
                 {{"type":"software_Package","spdxId":"urn:p","name":"openssl",
                   "software_packageVersion":"{version}"}}]}}"#
            );
            Materials::read(text.as_bytes()).unwrap()
        };
        assert_eq!(lines(Some(&read("3.0")), Some(&three("3.3"))), ["SBOM ~ openssl 3.0 -> 3.3"]);
        assert_eq!(three("1").facts().specification, "3.0");
    }

    #[test]
    fn nothing_else_is_one() {
        let cases = [
            ("", "not JSON"),
            ("{}", "no kind"),
            (r#"{"bomFormat":"CycloneDX","spdxVersion":"SPDX-2.3"}"#, "no kind"),
            (r#"{"bomFormat":"CycloneDX","@context":"https://spdx.org/rdf/3.0.1/x"}"#, "no kind"),
            (r#"{"bomFormat":"Other"}"#, "no kind"),
            (r#"{"spdxVersion":"SPDX-3.0"}"#, "spdxVersion"),
            (r#"{"spdxVersion":"SPDX-2.3"}"#, "SPDXID"),
            (r#"{"bomFormat":"CycloneDX","components":[]}"#, "specVersion"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.3","version":1}"#, "specVersion"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":0}"#, "version"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"x"}"#, "serialNumber"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":{}}"#, "components"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"x"}]}"#, "type"),
            (
                r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"x","name":"x"}]}"#,
                "type",
            ),
            (
                r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"file"}]}"#,
                "name of a part",
            ),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":["x"]}"#, "type"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":null}"#, "components"),
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":null}"#, "serialNumber"),
            (
                r#"{"bomFormat":"CycloneDX","specVersion":"1.6",
                    "components":[{"type":"file","name":"x"},{"name":"x","type":"file"}]}"#,
                "twice",
            ),
            (r#"{"@context":"https://spdx.org/rdf/3.0.1/x","@graph":[]}"#, "SpdxDocument"),
        ];
        for (text, why) in cases {
            let error = Materials::read(text.as_bytes()).map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(Materials::read(&vec![b' '; SBOM_MAX + 1]), Err(EvidenceError::Long(SBOM_MAX)));
        let deep = r#"{"components":["#.repeat(10_000);
        assert_eq!(Materials::read(deep.as_bytes()), Err(EvidenceError::Vast));
    }
}
