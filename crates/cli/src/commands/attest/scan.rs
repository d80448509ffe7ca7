//! `firmseal attest scan`: ClamAV is run here, and nobody's word for it is
//! taken: its report names paths and no digests, and does not say which files
//! it left out.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use firmseal_evidence::scan::Report;
use firmseal_fleet::Time;
use serde_json::json;

use super::clamav::{Engine, URI};
use super::{Subject, distinct, named, subject};
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::own_key::KeyAndLog;
use crate::record::plain;

/// Scan files for malware with ClamAV, and sign what came of it
///
/// Runs clamscan without its limits of size and time, which by themselves
/// call what they leave out clean, and writes down what it found, with which
/// version and signatures of which day, as a signed in-toto statement about
/// these files, to be handed in with `--evidence`. What is scanned is a copy
/// that nobody else can write to, in TMPDIR. Exit code 0: nothing found; 3:
/// something, which is written down as well.
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
        let files = distinct(&self.files)?;
        let key = self.key.open()?;
        let engine = Engine::ask(&self.clamscan, self.database.as_deref())?;
        // Of two that differ, the older one: nobody makes ClamAV's own younger.
        let updated = self.updated.into_iter().chain(engine.updated).min().ok_or_else(|| {
            CliError::new(Kind::Usage, "ClamAV does not say when its signatures were last updated")
                .hint("get them with freshclam; for signatures of your own, give --updated TIME")
        })?;
        let copies = Copies::of(&files)?;
        let subjects = copies.subjects()?;
        let started = Time::from(SystemTime::now());
        let findings = engine.scan(&copies.paths)?;
        let finished = Time::from(SystemTime::now());
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

/// Copies in a directory that is ours alone, gone when this is. What is said is
/// said of the bytes that were scanned: a file of a build may be exchanged for
/// as long as the scanner has it open, and be itself again afterwards.
struct Copies {
    paths: Vec<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Copies {
    fn of(files: &[PathBuf]) -> Result<Copies> {
        let base = std::env::temp_dir();
        // Readable, writable and searchable by its owner only (tempfile).
        let directory =
            tempfile::Builder::new().prefix(".firmseal-").tempdir_in(&base).map_err(file(&base))?;
        let mut paths = Vec::new();
        for (number, path) in files.iter().enumerate() {
            // Under its own name, which messages have and no other file.
            let own = directory.path().join(number.to_string());
            let copy = own.join(path.file_name().unwrap_or_default());
            fs::create_dir(&own).map_err(file(&own))?;
            fs::copy(path, &copy).map_err(file(path))?;
            paths.push(copy);
        }
        Ok(Copies { paths, _directory: directory })
    }

    fn subjects(&self) -> Result<Vec<Subject>> {
        self.paths.iter().map(|path| subject(path)).collect()
    }
}
