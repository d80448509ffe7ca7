//! Scans as in-toto attestations (vulns, versions 0.2 and 0.1).
//!
//! Its members fit scanners of every kind, and none is agreed on for malware:
//! which kind it was, a policy says by the scanner that it names.

use firmseal_fleet::Time;
use firmseal_manifest::ArtifactId;
use serde_json::{Value, json};

use crate::error::EvidenceError;
use crate::facts::Scan;
use crate::member::Format;
use crate::statement;

/// Its predicate type, as statements of our own have it.
pub const TYPE: &str = "https://in-toto.io/attestation/vulns/v0.2";
const TYPE_0_1: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// Predicate types of it.
pub(crate) const TYPES: [&str; 2] = [TYPE, TYPE_0_1];

const FORMAT: Format = Format("scan");

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// What came of a scan, to be written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The scanner, by its URI.
    pub scanner: String,
    /// Its version.
    pub version: String,
    /// The version of its database, if it has one.
    pub database: Option<String>,
    /// When its database was last updated.
    pub updated: Time,
    /// When the scan began.
    pub started: Time,
    /// When it ended.
    pub finished: Time,
    /// What it found, by the names that it has for it.
    pub findings: Vec<String>,
}

impl Report {
    /// The statement about these files, to be signed in a DSSE envelope.
    pub fn statement(&self, files: &[(&str, ArtifactId)]) -> Vec<u8> {
        // No method, no score: the scanner has none, and nothing is made up.
        let result: Vec<Value> = self.findings.iter().map(|id| json!({ "id": id, "severity": [] })).collect();
        let mut database = json!({ "lastUpdate": self.updated });
        if let Some(version) = &self.database {
            database["version"] = json!(version);
        }
        let predicate = json!({
            "scanner": { "uri": self.scanner, "version": self.version, "db": database, "result": result },
            "metadata": { "scanStartedOn": self.started, "scanFinishedOn": self.finished },
        });
        statement::encode(files, TYPE, &predicate)
    }
}

/// Reads a predicate whose signature holds, about these artifacts.
pub(crate) fn read(
    predicate_type: &str,
    predicate: &Value,
    about: Vec<ArtifactId>,
) -> Result<Scan, EvidenceError> {
    let scanner = FORMAT.object(predicate, "scanner")?;
    let database = FORMAT.object(scanner, "db")?;
    let metadata = FORMAT.object(predicate, "metadata")?;
    let (started, finished) =
        (FORMAT.time(metadata, "scanStartedOn")?, FORMAT.time(metadata, "scanFinishedOn")?);
    let mut scan = Scan {
        scanner: FORMAT.text(scanner, "uri")?.to_owned(),
        version: FORMAT.optional(scanner, "version")?.map(str::to_owned),
        database: FORMAT.optional(database, "version")?.map(str::to_owned),
        // What was updated after it began was not what it ran with, and a
        // clock that went back makes nothing younger.
        updated: FORMAT.time(database, "lastUpdate")?.min(started).min(finished),
        finished,
        critical: 0,
        high: 0,
        medium: 0,
        low: 0,
        artifacts: about,
    };
    // A list that is missing is not one that is empty.
    let result = scanner.get("result").and_then(Value::as_array).ok_or(FORMAT.malformed("result"))?;
    for entry in result {
        // The specification of 0.1 has an object in between, its example has
        // none.
        let finding = match entry.get("vulnerability") {
            Some(inner) if predicate_type == TYPE_0_1 => inner,
            _ => entry,
        };
        FORMAT.text(finding, "id")?;
        *match severity(finding)? {
            Severity::Critical => &mut scan.critical,
            Severity::High => &mut scan.high,
            Severity::Medium => &mut scan.medium,
            Severity::Low => &mut scan.low,
        } += 1;
    }
    Ok(scan)
}

/// The worst that any method says of a finding. Where none says anything that
/// is understood, it is the worst there is: signatures of malware have no
/// severity.
fn severity(finding: &Value) -> Result<Severity, EvidenceError> {
    let mut worst = None;
    for rating in FORMAT.list(finding, "severity")? {
        let (method, score) = (FORMAT.text(rating, "method")?, FORMAT.text(rating, "score")?);
        worst = worst.max(rated(method, score));
    }
    Ok(worst.unwrap_or(Severity::Critical))
}

/// Words of NVD, GitHub, Red Hat and Debian, and scores of CVSS by its
/// "Qualitative Severity Rating Scale". A number of another method is no
/// score of CVSS.
fn rated(method: &str, score: &str) -> Option<Severity> {
    match score.to_ascii_lowercase().as_str() {
        "critical" => return Some(Severity::Critical),
        "high" | "important" => return Some(Severity::High),
        "medium" | "moderate" => return Some(Severity::Medium),
        "low" | "negligible" | "none" => return Some(Severity::Low),
        _ => {}
    }
    let method = method.to_ascii_lowercase();
    let number: f64 = score.parse().ok().filter(|_| method.contains("cvss") || method == "nvd")?;
    match number {
        9.0..=10.0 => Some(Severity::Critical),
        7.0..9.0 => Some(Severity::High),
        4.0..7.0 => Some(Severity::Medium),
        0.0..4.0 => Some(Severity::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Severity, rated};

    #[test]
    fn severities_of_all_writers() {
        for (method, score, severity) in [
            ("nvd", "medium", Some(Severity::Medium)),
            ("ghsa", "CRITICAL", Some(Severity::Critical)),
            ("redhat", "Important", Some(Severity::High)),
            ("debian", "negligible", Some(Severity::Low)),
            ("cvss_score", "5.2", Some(Severity::Medium)),
            ("CVSSv3", "9.0", Some(Severity::Critical)),
            ("CVSSv3", "8.9", Some(Severity::High)),
            ("nvd", "0", Some(Severity::Low)),
            ("epss", "0.97", None),
            ("cvss", "11", None),
            ("cvss", "-1", None),
            ("cvss", "NaN", None),
            ("cvss", "CVSS:3.1/AV:N/AC:L", None),
            ("vendor", "unknown", None),
        ] {
            assert_eq!(rated(method, score), severity, "{method} {score}");
        }
    }
}
