//! Software bills of materials, as far as an approver looks: what a release
//! is made of, and what changes.
//!
//! CycloneDX (ECMA-424) and SPDX 2.3 as JSON. What else they say is for
//! others; the bytes are kept as they came.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use serde_json::Value;

/// Longest document, in bytes.
pub const SBOM_MAX: usize = 8 << 20;
/// Most lines of changes that are shown.
const LINES_MAX: usize = 200;

/// Why bytes are no bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SbomError {
    /// It is too long to be read by people.
    #[error("is longer than {SBOM_MAX} bytes")]
    Long,
    /// No JSON, or neither of the two.
    #[error("is neither CycloneDX nor SPDX 2 in JSON")]
    Unknown,
    /// A part without a name.
    #[error("part {0} has no name")]
    Nameless(usize),
}

/// What a release is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sbom {
    digest: Digest,
    /// Names, each with its versions.
    parts: BTreeMap<String, BTreeSet<String>>,
}

impl Sbom {
    /// Reads a document.
    pub fn read(bytes: &[u8]) -> Result<Sbom, SbomError> {
        if bytes.len() > SBOM_MAX {
            return Err(SbomError::Long);
        }
        let document: Value = serde_json::from_slice(bytes).map_err(|_| SbomError::Unknown)?;
        let text = |key: &str| document.get(key).and_then(Value::as_str);
        let (list, version) = match (text("bomFormat"), text("spdxVersion")) {
            (Some("CycloneDX"), None) => ("components", "version"),
            (None, Some(spdx)) if spdx.starts_with("SPDX-2.") => ("packages", "versionInfo"),
            _ => return Err(SbomError::Unknown),
        };
        let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // Components may hold components.
        let mut open = vec![&document];
        let mut count = 0;
        while let Some(holder) = open.pop() {
            let inner = match holder.get(list) {
                None => continue,
                Some(Value::Array(inner)) => inner,
                Some(_) => return Err(SbomError::Unknown),
            };
            for part in inner {
                let said = |key: &str| part.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
                let name = said("name").ok_or(SbomError::Nameless(count))?;
                let name = match said("group") {
                    Some(group) => printed(&format!("{group}/{name}")),
                    None => printed(name),
                };
                parts.entry(name).or_default().insert(said(version).map(printed).unwrap_or_default());
                count += 1;
                open.push(part);
            }
        }
        Ok(Sbom { digest: RustCrypto.digest(bytes), parts })
    }

    /// SHA-256 of the document.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Text of a stranger's, for a terminal.
fn printed(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What changes from one to the next, a line each.
pub(crate) fn lines(before: Option<&Sbom>, after: Option<&Sbom>) -> Vec<String> {
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

    fn cyclonedx(parts: &str) -> Sbom {
        Sbom::read(
            format!(r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{parts}]}}"#).as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn what_changes_is_said() {
        let old = cyclonedx(
            r#"{"name":"zlib","version":"1.2"},{"name":"busybox","version":"1.36"},
               {"name":"app","version":"1","components":[{"group":"org","name":"lib","version":"7"}]}"#,
        );
        let new = cyclonedx(
            r#"{"name":"zlib","version":"1.3"},{"name":"app","version":"1","components":[]},
               {"name":"evil\u001b[2J"},{"group":"org","name":"lib","version":"7"}"#,
        );
        assert_eq!(
            lines(Some(&old), Some(&new)),
            ["SBOM + evil\u{fffd}[2J ", "SBOM ~ zlib 1.2 -> 1.3", "SBOM - busybox 1.36"]
        );
        assert_eq!(lines(Some(&old), Some(&old)), ["SBOM stays as it is"]);
        assert_eq!(lines(None, None), Vec::<String>::new());
        assert_eq!(lines(None, Some(&old)), ["SBOM with 4 parts; there was none before"]);
        assert_eq!(lines(Some(&old), None), ["SBOM: there is none any more"]);
        let many = (0..500).map(|n| format!(r#"{{"name":"p{n}"}}"#)).collect::<Vec<_>>().join(",");
        let told = lines(Some(&old), Some(&cyclonedx(&many)));
        assert_eq!(
            (told.len(), told[200].as_str()),
            (201, "SBOM: 304 more changes; compare the two documents")
        );
    }

    #[test]
    fn spdx_names_packages() {
        let read = |version: &str| {
            let text = format!(
                r#"{{"spdxVersion":"SPDX-2.3","packages":[{{"name":"openssl","versionInfo":"{version}"}}]}}"#
            );
            Sbom::read(text.as_bytes()).unwrap()
        };
        assert_eq!(lines(Some(&read("3.0")), Some(&read("3.2"))), ["SBOM ~ openssl 3.0 -> 3.2"]);
    }

    #[test]
    fn nothing_else_is_one() {
        let cases = [
            ("", SbomError::Unknown),
            ("{}", SbomError::Unknown),
            (r#"{"bomFormat":"CycloneDX","spdxVersion":"SPDX-2.3"}"#, SbomError::Unknown),
            (r#"{"spdxVersion":"SPDX-3.0"}"#, SbomError::Unknown),
            (r#"{"bomFormat":"CycloneDX","components":{}}"#, SbomError::Unknown),
            (r#"{"bomFormat":"CycloneDX","components":[{"version":"1"}]}"#, SbomError::Nameless(0)),
            (r#"{"bomFormat":"CycloneDX","components":["x"]}"#, SbomError::Nameless(0)),
        ];
        for (text, error) in cases {
            assert_eq!(Sbom::read(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(Sbom::read(&vec![b' '; SBOM_MAX + 1]), Err(SbomError::Long));
        let deep = r#"{"components":["#.repeat(10_000);
        assert_eq!(Sbom::read(deep.as_bytes()), Err(SbomError::Unknown));
    }
}
