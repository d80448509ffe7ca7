//! in-toto statements, versions 1 and 0.1.

use std::collections::BTreeSet;

use firmseal_manifest::ArtifactId;
use serde_json::{Map, Value, json};

use crate::error::EvidenceError;
use crate::json;
use crate::member::Format;

/// Most subjects of one statement: a build of everything names a few
/// hundred.
pub const SUBJECTS_MAX: usize = 4096;
/// What statements of version 1 call themselves.
pub const TYPE: &str = "https://in-toto.io/Statement/v1";
const TYPE_0_1: &str = "https://in-toto.io/Statement/v0.1";

const FORMAT: Format = Format("in-toto statement");

/// A statement: what it says of which artifacts.
pub(crate) struct Statement {
    pub(crate) subjects: BTreeSet<ArtifactId>,
    pub(crate) predicate_type: String,
    pub(crate) predicate: Value,
}

/// A statement of version 1, as bytes, about files with these names and
/// digests.
pub fn encode(subjects: &[(&str, ArtifactId)], predicate_type: &str, predicate: &Value) -> Vec<u8> {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|(name, id)| json!({ "name": name, "digest": { "sha256": id.to_string() } }))
        .collect();
    let statement = json!({
        "_type": TYPE,
        "subject": subjects,
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    statement.to_string().into_bytes()
}

impl Statement {
    /// Whether a document says that it is one.
    pub(crate) fn claims(document: &Value) -> bool {
        matches!(document.get("_type").and_then(Value::as_str), Some(TYPE | TYPE_0_1))
    }

    /// Reads the payload of an envelope whose signature holds.
    pub(crate) fn read(payload: &[u8]) -> Result<Statement, EvidenceError> {
        let mut document = json::parse(payload)?;
        if !Statement::claims(&document) {
            return Err(FORMAT.malformed("_type"));
        }
        let listed = FORMAT.list(&document, "subject")?;
        if listed.is_empty() {
            return Err(FORMAT.malformed("subject"));
        }
        if listed.len() > SUBJECTS_MAX {
            return Err(EvidenceError::Many("4096 subjects of a statement"));
        }
        let mut subjects = BTreeSet::new();
        for subject in listed {
            if !matches!(subject.get("name"), None | Some(Value::Null | Value::String(_))) {
                return Err(FORMAT.malformed("name of a subject"));
            }
            // "two DigestSets SHOULD be considered matching if ANY of the
            // acceptable field matches"; SHA-256 is the one accepted here.
            let digest = FORMAT.object(subject, "digest")?;
            if let Some(sha256) = FORMAT.optional(digest, "sha256")? {
                subjects.insert(sha256.parse().map_err(|_| FORMAT.malformed("sha256"))?);
            }
        }
        let predicate_type = FORMAT.text(&document, "predicateType")?.to_owned();
        let predicate = document.get_mut("predicate").map(Value::take);
        // "predicate: object, optional".
        let predicate = match predicate {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(object @ Value::Object(_)) => object,
            Some(_) => return Err(FORMAT.malformed("predicate")),
        };
        Ok(Statement { subjects, predicate_type, predicate })
    }
}
