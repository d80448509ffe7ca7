//! An export on disk: a directory of small files that any program reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use firmseal_manifest::ArtifactId;
use firmseal_monitor::Export;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CliError, Kind, Result, file};
use crate::newfile::{NewFile, PUBLIC};

/// Longest file that is read of an export.
const FILE_MAX: u64 = 1 << 30;
/// Most decisions.
const DECISIONS_MAX: usize = 1 << 20;

/// Writes an export into a directory that does not exist yet.
pub fn write(dir: &Path, export: &Export) -> Result {
    fs::create_dir(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::new(Kind::Conflict, format_args!("{} exists already", dir.display()))
                .hint("give each export a directory of its own")
        }
        _ => file(dir)(error),
    })?;
    put(&dir.join("checkpoint"), &export.checkpoint)?;
    put(&dir.join("records.jsonl"), &lines(&export.records)?)?;
    put(&dir.join("entries.jsonl"), &lines(&export.entries)?)?;
    let decisions = dir.join("decisions");
    fs::create_dir(&decisions).map_err(file(&decisions))?;
    for (id, bytes) in &export.decisions {
        put(&decisions.join(format!("{id}.json")), bytes)?;
    }
    // Last: a directory without it is no export.
    put(&dir.join("export.json"), &serde_json::to_vec_pretty(&export.scope).map_err(unexpected)?)
}

/// Reads an export.
pub fn read(dir: &Path) -> Result<Export> {
    let scope = dir.join("export.json");
    let mut decisions = BTreeMap::new();
    let directory = dir.join("decisions");
    for found in fs::read_dir(&directory).map_err(file(&directory))? {
        let path = found.map_err(file(&directory))?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let id: ArtifactId = name.parse().map_err(|error| no_export(&path, error))?;
        if decisions.len() == DECISIONS_MAX {
            return Err(no_export(&directory, "it holds too many files"));
        }
        decisions.insert(id, get(&path)?);
    }
    Ok(Export {
        scope: serde_json::from_slice(&get(&scope)?).map_err(|error| no_export(&scope, error))?,
        checkpoint: get(&dir.join("checkpoint"))?,
        records: parsed(&dir.join("records.jsonl"))?,
        entries: parsed(&dir.join("entries.jsonl"))?,
        decisions,
    })
}

fn lines<T: Serialize>(values: &[T]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for value in values {
        serde_json::to_writer(&mut out, value).map_err(unexpected)?;
        out.push(b'\n');
    }
    Ok(out)
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = get(path)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let one = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line)
            .map_err(|error| no_export(path, format_args!("line {}: {error}", at + 1)))
    };
    lines.enumerate().map(one).collect()
}

fn put(path: &Path, bytes: &[u8]) -> Result {
    let mut new = NewFile::create(path, PUBLIC)?;
    new.write_all(bytes).map_err(file(path))?;
    new.finish()
}

fn get(path: &Path) -> Result<Vec<u8>> {
    let length = fs::metadata(path).map_err(file(path))?.len();
    if length > FILE_MAX {
        return Err(no_export(path, "it is too long"));
    }
    fs::read(path).map_err(file(path))
}

fn no_export(path: &Path, why: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Refused, format_args!("{} is not what an export has: {why}", path.display()))
}

fn unexpected(error: serde_json::Error) -> CliError {
    CliError::new(Kind::Unexpected, error)
}
