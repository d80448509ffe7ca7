//! What a look came to, for programs and for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::finding::{Finding, Kind};

/// What a look came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The log's origin.
    pub origin: String,
    /// Entries that the monitor has and vouches for.
    pub entries: u64,
    /// Releases that were compared; absent where the registry was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<u64>,
    /// Signatures of files that were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<u64>,
    /// Devices that were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<u64>,
    /// Uses of keys that were compared; absent where no record was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// Why the monitor could not look; absent where it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The text form that Prometheus' node exporter reads from a file.
    pub fn metrics(&self) -> String {
        let mut counts: BTreeMap<&str, u64> = Kind::ALL.iter().map(|kind| (kind.as_str(), 0)).collect();
        for finding in &self.findings {
            *counts.entry(finding.kind.as_str()).or_default() += 1;
        }
        let mut out = String::new();
        let mut gauge = |name: &str, help: &str, values: &[(String, u64)]| {
            // Writing into memory does not fail.
            let _ =
                writeln!(out, "# HELP firmseal_monitor_{name} {help}\n# TYPE firmseal_monitor_{name} gauge");
            for (labels, value) in values {
                let _ = writeln!(out, "firmseal_monitor_{name}{labels} {value}");
            }
        };
        gauge("entries", "Entries of the log that were verified", &[(String::new(), self.entries)]);
        let findings: Vec<_> =
            counts.into_iter().map(|(kind, count)| (format!("{{kind=\"{kind}\"}}"), count)).collect();
        gauge("findings", "What is wrong, by kind", &findings);
        let up = u64::from(self.trouble.is_none());
        gauge("up", "1 if log and registry could be looked at", &[(String::new(), up)]);
        gauge("last_look_timestamp_seconds", "When the monitor last looked", &[(String::new(), self.time)]);
        out
    }
}
