//! Evaluations: somebody looked at an artifact and says what it passed, as a
//! Simple Verification Result (svr, version 0.1) or as a Verification Summary
//! of SLSA's (version 1).

use serde_json::Value;

use crate::error::EvidenceError;
use crate::facts::Evaluation;
use crate::member::Format;

const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";
const VSA: &str = "https://slsa.dev/verification_summary/v1";
/// Predicate types of it.
pub(crate) const TYPES: [&str; 2] = [SVR, VSA];

/// Until when it holds: a member of our own in both, which have none. Whoever
/// does not know it takes the evaluation for one without an end, so a policy
/// that wants an end asks for one.
const UNTIL: &str = "firmseal_validUntil";
/// What a level is called that was not reached (`SlsaResult`).
const FAILED: &str = "FAILED";
/// Most levels and properties of one evaluation.
const PASSED_MAX: usize = 256;

const FORMAT: Format = Format("evaluation");

/// Reads a predicate. Which artifacts it is about, and whose key signed it,
/// is for the caller.
pub(crate) fn read(predicate_type: &str, predicate: &Value) -> Result<Evaluation, EvidenceError> {
    let evaluator = FORMAT.text(FORMAT.object(predicate, "verifier")?, "id")?;
    let (time, list) = match predicate_type == SVR {
        true => ("timeCreated", "properties"),
        false => ("timeVerified", "verifiedLevels"),
    };
    let listed = FORMAT.list(predicate, list)?;
    if listed.len() > PASSED_MAX {
        return Err(EvidenceError::Many("256 levels and properties of an evaluation"));
    }
    let mut passed = Vec::new();
    for entry in listed {
        let text = entry.as_str().filter(|text| crate::member::is_plain(text));
        passed.push(text.ok_or(FORMAT.malformed(list))?.to_owned());
    }
    passed.sort();
    passed.dedup();
    let mut failed = predicate_type == VSA && passed.iter().any(|level| level == FAILED);
    if predicate_type == VSA {
        // Where the result and the levels differ, the worse one counts.
        failed |= match FORMAT.text(predicate, "verificationResult")? {
            "PASSED" => false,
            FAILED => true,
            _ => return Err(FORMAT.malformed("verificationResult")),
        };
    }
    if failed {
        passed.clear();
    }
    let until = match FORMAT.optional(predicate, UNTIL)? {
        Some(_) => Some(FORMAT.time(predicate, UNTIL)?),
        None => None,
    };
    Ok(Evaluation {
        evaluator: evaluator.to_owned(),
        evaluated: FORMAT.time(predicate, time)?,
        until,
        failed,
        passed,
        artifacts: Vec::new(),
    })
}
