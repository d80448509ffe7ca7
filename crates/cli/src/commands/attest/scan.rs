//! `firmseal attest scan`: ClamAV is run here, and nobody's word for it is
//! taken: its report names paths and no digests, and does not say which files
//! it left out.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use firmseal_evidence::scan::Report;
use firmseal_fleet::Time;
use serde_json::json;

use super::clamav::{Engine, URI};
use super::{digest, named, subjects};
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::own_key::KeyAndLog;
use crate::record::plain;

/// Scan files for malware with ClamAV, and sign what came of it
///
/// Runs clamscan without its limits of size and time, which by themselves
/// call what they leave out clean, and writes down what it found, with which
/// version and signatures of which day, as a signed in-toto statement about
/// these files, to be handed in with `--evidence`. Exit code 0: nothing
/// found; 3: something, which is written down as well.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal attest scan firmware.bin --key file:scanner.key --secret file:scanner.pass --log scanner-log -o scan.json
  firmseal attest scan boot.bin app.bin --database own-signatures --updated \"$(date -ur own-signatures +%FT%TZ)\" \\
      --key file:scanner.key --log scanner-log -o scan.json")]
pub struct Scan {
    /// The files to scan
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The scanner
    #[arg(long, value_name = "PROGRAM", default_value = "clamscan")]
    clamscan: PathBuf,
    /// Signatures of malware, a file or a directory; those of the machine if
    /// not given
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,
    /// When they were last updated, in UTC, where ClamAV does not say so: for
    /// signatures of your own
    #[arg(long, value_name = "TIME")]
    updated: Option<Time>,
    #[command(flatten)]
    key: KeyAndLog,
    /// The signed statement to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Scan {
    pub(super) async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let subjects = subjects(&self.files)?;
        let paths: Vec<_> = subjects.iter().map(|subject| subject.path.as_path()).collect();
        let key = self.key.open()?;
        let engine = Engine::ask(&self.clamscan, self.database.as_deref())?;
        // Of two that differ, the older one: nobody makes ClamAV's own younger.
        let updated = self.updated.into_iter().chain(engine.updated).min().ok_or_else(|| {
            CliError::new(Kind::Usage, "ClamAV does not say when its signatures were last updated")
                .hint("get them with freshclam; for signatures of your own, give --updated TIME")
        })?;
        let started = Time::from(SystemTime::now());
        let findings = engine.scan(&paths)?;
        let finished = Time::from(SystemTime::now());
        // What is said is said of the bytes that were scanned.
        for subject in &subjects {
            if digest(&subject.path)? != subject.id {
                return Err(CliError::new(Kind::Conflict, "changed while it was scanned")
                    .about(subject.path.display())
                    .hint("scan it again once nobody writes to it"));
            }
        }
        let report = Report {
            scanner: URI.to_owned(),
            version: engine.version,
            database: engine.database,
            updated,
            started,
            finished,
            findings,
        };
        let envelope = key.attest(&report.statement(&named(&subjects))).await?;
        newfile::write(&self.output, newfile::PUBLIC, &envelope)?;
        let value = json!({
            "clean": report.findings.is_empty(),
            "findings": report.findings,
            "version": report.version,
            "database": report.database,
            "updated": report.updated,
            "finished": report.finished,
            "artifacts": subjects.iter().map(|subject| subject.id).collect::<Vec<_>>(),
            "statement": self.output,
        });
        output.value(&value, || match report.findings.is_empty() {
            true => "nothing found\n".to_owned(),
            false => report.findings.iter().map(|name| format!("{}\n", plain(name))).collect(),
        })?;
        match report.findings.is_empty() {
            true => Ok(()),
            false => Err(CliError::new(Kind::Refused, "ClamAV found something").hint(
                "if it is a mistake of ClamAV's, report it there; the statement is written all the same",
            )),
        }
    }
}
