//! `firmseal attest`: what is known about files, signed, to be handed in as
//! evidence.

mod clamav;
mod scan;
mod statement;

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use firmseal_evidence::statement::SUBJECTS_MAX;
use firmseal_manifest::ArtifactId;

use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::own_key::sha256;

/// Sign what is known about files: that they were scanned, or anything else
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal attest scan firmware.bin --key file:scanner.key --log scanner-log -o scan.json
  firmseal attest statement firmware.bin --type https://in-toto.io/attestation/svr/v0.1 \\
      --predicate evaluation.json --key file:lab.key --log lab-log -o evaluation.intoto.json")]
pub enum Attest {
    /// Scan files for malware with ClamAV, and sign what came of it
    Scan(scan::Scan),
    /// Sign a predicate of in-toto's about files
    Statement(statement::Statement),
}

impl Attest {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        match self {
            Attest::Scan(command) => command.run(output).await,
            Attest::Statement(command) => command.run(output).await,
        }
    }
}

/// A file that something is said about: about its bytes, under its name.
struct Subject {
    name: String,
    id: ArtifactId,
}

/// Those that were named, each once, without links on the way.
fn distinct(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if paths.len() > SUBJECTS_MAX {
        return Err(CliError::new(
            Kind::Usage,
            format_args!("a statement is about {SUBJECTS_MAX} files at most"),
        ));
    }
    let mut all = Vec::new();
    for path in paths {
        let real = path.canonicalize().map_err(file(path))?;
        if !real.is_file() {
            return Err(CliError::new(Kind::Usage, "is no file")
                .about(path.display())
                .hint("name each file"));
        }
        if !all.contains(&real) {
            all.push(real);
        }
    }
    Ok(all)
}

fn subject(path: &Path) -> Result<Subject> {
    let mut source = File::open(path).map_err(file(path))?;
    let id = sha256(&mut source).map(ArtifactId).map_err(file(path))?;
    Ok(Subject { name: name(path), id })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Names and digests, as a statement has them.
fn named(subjects: &[Subject]) -> Vec<(&str, ArtifactId)> {
    subjects.iter().map(|subject| (subject.name.as_str(), subject.id)).collect()
}
