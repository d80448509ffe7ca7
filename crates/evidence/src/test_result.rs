//! Test results as in-toto attestations (test-result, version 0.1).

use firmseal_manifest::ArtifactId;
use serde_json::Value;

use crate::error::EvidenceError;
use crate::facts::TestRun;
use crate::member::Format;

/// Its predicate type.
pub(crate) const TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";

const FORMAT: Format = Format("test result");

/// Reads a predicate whose signature holds, about these artifacts.
pub(crate) fn read(predicate: &Value, about: Vec<ArtifactId>) -> Result<TestRun, EvidenceError> {
    let count = |name| FORMAT.list(predicate, name).map(|list| list.len() as u32);
    let (mut passed, mut failed) = (count("passedTests")? + count("warnedTests")?, count("failedTests")?);
    // The lists may be missing; the result may not. Where they differ, the
    // worse one counts.
    match FORMAT.text(predicate, "result")? {
        "PASSED" | "WARNED" if passed == 0 && failed == 0 => passed = 1,
        "PASSED" | "WARNED" => {}
        "FAILED" => failed = failed.max(1),
        _ => return Err(FORMAT.malformed("result")),
    }
    let mut suite = FORMAT.optional(predicate, "url")?;
    for descriptor in FORMAT.list(predicate, "configuration")?.iter().take(1) {
        suite = FORMAT.optional(descriptor, "name")?.or(FORMAT.optional(descriptor, "uri")?).or(suite);
    }
    let suite = suite.unwrap_or("test-result").to_owned();
    Ok(TestRun { suite, passed, failed, signed: true, artifacts: about })
}
