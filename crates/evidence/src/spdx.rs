//! SPDX 2.2 and 2.3, and SPDX 3.0, as JSON: which document it is, and which
//! packages are in it.
//!
//! What is read here is checked as the SPDX project's own readers check it:
//! a document that they refuse, or in which they find other packages, is
//! refused (`tests/spdx.rs` says what is not read).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::EvidenceError;
use crate::member::Format;

pub(crate) const SPDX: Format = Format("SPDX");
/// `software_Package` and its subclasses (SPDX 3.0.1, Software, AI, Dataset).
const PACKAGES: [&str; 3] = ["software_Package", "ai_AIPackage", "dataset_DatasetPackage"];

/// Checks an SPDX 2 document, and tells its version and its packages (SPDX
/// 2.3 §6 and §7).
pub(crate) fn two(document: &Value) -> Result<(String, Vec<&Value>), EvidenceError> {
    let version = match SPDX.text(document, "spdxVersion")? {
        "SPDX-2.2" => "2.2",
        "SPDX-2.3" => "2.3",
        _ => return Err(SPDX.malformed("spdxVersion (2.2 or 2.3)")),
    };
    if SPDX.text(document, "SPDXID")? != "SPDXRef-DOCUMENT" {
        return Err(SPDX.malformed("SPDXID"));
    }
    SPDX.text(document, "name")?;
    if SPDX.text(document, "dataLicense")? != "CC0-1.0" {
        return Err(SPDX.malformed("dataLicense"));
    }
    // "an absolute URI (RFC 3986)", to which ids are fragments.
    let namespace = SPDX.text(document, "documentNamespace")?;
    if !is_iri(namespace) || namespace.contains('#') {
        return Err(SPDX.malformed("documentNamespace"));
    }
    let creation = SPDX.object(document, "creationInfo")?;
    if !is_time(SPDX.text(creation, "created")?) {
        return Err(SPDX.malformed("created"));
    }
    let creators = SPDX.list(creation, "creators")?;
    let kinds = ["Person: ", "Organization: ", "Tool: "];
    let is_creator = |creator: &Value| {
        let text = creator.as_str().unwrap_or_default();
        kinds.iter().any(|kind| text.strip_prefix(kind).is_some_and(|name| !name.trim().is_empty()))
    };
    if creators.is_empty() || !creators.iter().all(is_creator) {
        return Err(SPDX.malformed("creators"));
    }
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    let packages = SPDX.list(document, "packages")?;
    for package in packages {
        let id = SPDX.text(package, "SPDXID")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let is_id = id.strip_prefix("SPDXRef-").is_some_and(|id| !id.is_empty() && id.chars().all(plain));
        // One package twice would be counted twice.
        if !is_id || !ids.insert(id) {
            return Err(SPDX.malformed("SPDXID of a package"));
        }
        if !is_location(SPDX.text(package, "downloadLocation")?) {
            return Err(SPDX.malformed("downloadLocation"));
        }
    }
    Ok((version.to_owned(), packages.iter().collect()))
}

/// Whether a document says that it is one of SPDX 3.0.
pub(crate) fn is_three(document: &Value) -> bool {
    let context = document.get("@context").and_then(Value::as_str).unwrap_or_default();
    context.starts_with("https://spdx.org/rdf/3.0")
}

/// Checks an SPDX 3.0 document, which holds exactly one SpdxDocument, and
/// tells its packages: those in its graph, and those that stand inside of
/// other elements.
pub(crate) fn three(document: &Value) -> Result<Vec<&Value>, EvidenceError> {
    let (mut ids, mut documents, mut packages) = (BTreeSet::new(), 0, Vec::new());
    let graph = SPDX.list(document, "@graph")?;
    if !graph.iter().all(|element| element.get("type").is_some()) {
        return Err(SPDX.malformed("type"));
    }
    let mut open: Vec<&Value> = graph.iter().collect();
    while let Some(value) = open.pop() {
        let element = match value {
            Value::Array(list) => {
                open.extend(list);
                continue;
            }
            Value::Object(element) => element,
            _ => continue,
        };
        open.extend(element.values());
        let Some(kind) = element.get("type") else { continue };
        let kind = kind.as_str().filter(|kind| is_type(kind)).ok_or(SPDX.malformed("type"))?;
        let is_package = PACKAGES.contains(&kind);
        let is_document = kind == "SpdxDocument";
        documents += usize::from(is_document);
        if is_package {
            if element.get("software_packageVersion").is_some_and(Value::is_null) {
                return Err(SPDX.malformed("software_packageVersion"));
            }
            packages.push(value);
        }
        let id = match SPDX.optional(value, "spdxId")? {
            None if is_package || is_document => return Err(SPDX.malformed("spdxId")),
            None => continue,
            Some(id) => id,
        };
        if !is_iri(id) || !ids.insert(id) {
            return Err(SPDX.malformed("spdxId"));
        }
    }
    match documents {
        1 => Ok(packages),
        _ => Err(SPDX.malformed("SpdxDocument")),
    }
}

/// Whether a text can be the type of an element: a class of a profile's, in
/// the context's short form, or somebody's own by its IRI.
fn is_type(kind: &str) -> bool {
    const PROFILES: [&str; 8] = [
        "ai_",
        "build_",
        "dataset_",
        "expandedlicensing_",
        "extension_",
        "security_",
        "simplelicensing_",
        "software_",
    ];
    let class = PROFILES.iter().find_map(|profile| kind.strip_prefix(profile)).unwrap_or(kind);
    let named = class.starts_with(|c: char| c.is_ascii_uppercase())
        && class.bytes().all(|byte| byte.is_ascii_alphanumeric());
    named || is_iri(kind)
}

/// Whether a text says where a package comes from (SPDX 2.3 §7.7).
fn is_location(text: &str) -> bool {
    let is_ssh = text.strip_prefix("git+git@").is_some_and(|rest| !rest.contains(char::is_whitespace));
    matches!(text, "NONE" | "NOASSERTION") || is_iri(text) || is_ssh
}

/// Whether a text has the form of an absolute IRI (RFC 3987 §2.2): a scheme,
/// a colon, and something behind it.
fn is_iri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let plain = scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    begins && plain && !rest.is_empty() && !text.contains(char::is_whitespace)
}

/// Whether a text is a time (SPDX 2.3 §6.9: `YYYY-MM-DDThh:mm:ssZ`).
fn is_time(text: &str) -> bool {
    let digit = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        19 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 20 && text.bytes().enumerate().all(digit)
}
