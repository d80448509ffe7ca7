//! Reproductions: somebody built the same source again, and compared.

use firmseal_manifest::ArtifactId;
use serde_json::{Value, json};

use crate::error::EvidenceError;
use crate::member::Format;
use crate::statement;

/// Predicate type of our own: nobody else has one for this.
pub const TYPE: &str = "https://example.com/firmseal/reproduction/v1";

const FORMAT: Format = Format("reproduction");

/// What came of comparing two builds of one source.
///
/// As a statement, both builds are its subjects where they are the same
/// (they have one digest then); where they differ the first is, and the
/// other stands in the predicate: nothing is said about that one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reproduction {
    /// The artifact that is in question.
    pub artifact: ArtifactId,
    /// Its name.
    pub name: String,
    /// What the other build made.
    pub other: ArtifactId,
    /// Whether they are the same, apart from signatures that were put on
    /// afterwards.
    pub same: bool,
    /// The commit, as whoever compared says.
    pub commit: Option<String>,
    /// Differences in words, the first ones.
    pub differences: Vec<String>,
}

impl Reproduction {
    /// The statement, to be signed in a DSSE envelope.
    pub fn statement(&self) -> Vec<u8> {
        let mut predicate = json!({
            "result": if self.same { "same" } else { "different" },
            "other": { "digest": { "sha256": self.other.to_string() } },
            "differences": self.differences,
        });
        if let Some(commit) = &self.commit {
            predicate["commit"] = json!(commit);
        }
        statement::encode(&[(&self.name, self.artifact)], TYPE, &predicate)
    }
}

/// Reads a predicate whose signature holds: whether the builds are the same.
pub(crate) fn read(predicate: &Value) -> Result<bool, EvidenceError> {
    match FORMAT.text(predicate, "result")? {
        "same" => Ok(true),
        "different" => Ok(false),
        _ => Err(FORMAT.malformed("result")),
    }
}
