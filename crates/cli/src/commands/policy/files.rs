//! Policies and their examples in files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use firmseal_manifest::policy_document::{FILES_MAX, TEXT_MAX};
use firmseal_manifest::{PolicyDocument, PolicyFile};
use firmseal_policy::{CedarPolicy, ENDINGS, Examples, NUMBER};
use firmseal_sign::{Decision, Refused};

use super::unreadable;
use crate::error::{CliError, Kind, Result, file};

/// Longest file of examples or of a decision, in bytes.
const EXAMPLES_MAX: u64 = 4 << 20;

/// The policy of a file or of a directory.
pub fn policy(path: &Path) -> Result<CedarPolicy> {
    CedarPolicy::load(&document(path)?).map_err(unreadable)
}

/// The same as a document, without its examples.
pub(super) fn document(path: &Path) -> Result<PolicyDocument> {
    let mut files = Vec::new();
    for path in listed(path, &[".cedar"])? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(PolicyFile { name, text: text(&path, TEXT_MAX as u64)? });
    }
    PolicyDocument::new(NUMBER, files)
        .map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))
}

/// The policy of a directory with its examples, as it is proposed.
pub(super) fn whole(path: &Path) -> Result<PolicyDocument> {
    if !path.is_dir() {
        return Err(CliError::new(Kind::Usage, "is no directory")
            .about(path.display())
            .hint("a policy is proposed with its examples: put both into one directory, or name a digest"));
    }
    let mut files = document(path)?.files;
    for path in listed(path, &ENDINGS)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(PolicyFile { name, text: text(&path, TEXT_MAX as u64)? });
    }
    PolicyDocument::new(NUMBER, files)
        .map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))
}

/// The examples of a directory, or beside a file, by file.
pub(super) fn examples(path: &Path) -> Result<Vec<(PathBuf, Examples)>> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for path in listed(folder, &ENDINGS)? {
        let examples = Examples::read(&text(&path, EXAMPLES_MAX)?)
            .map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))?;
        found.push((path, examples));
    }
    Ok(found)
}

/// Records of policies' decisions: files, or directories with files that end
/// in `.json`, where what no policy decided is left out.
pub(super) fn decisions(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Decision)>> {
    let mut found = Vec::new();
    for path in paths {
        let files = if path.is_dir() { listed(path, &[".json"])? } else { vec![path.clone()] };
        for path in files {
            let text = text(&path, EXAMPLES_MAX)?;
            match serde_json::from_str(&text) {
                Ok(decision) => found.push((path, decision)),
                Err(_) if serde_json::from_str::<Refused>(&text).is_ok() => {}
                Err(error) => {
                    let what = format_args!("is no decision: {error}");
                    return Err(CliError::new(Kind::Usage, what).about(path.display()));
                }
            }
        }
    }
    Ok(found)
}

/// A file itself, or those of a directory with such an ending, by name.
fn listed(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(file(path))? {
        let entry = entry.map_err(file(path))?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if endings.iter().any(|ending| name.ends_with(ending)) && entry.is_file() {
            found.push(entry);
        }
    }
    found.sort();
    if found.is_empty() && endings.contains(&".cedar") {
        return Err(CliError::new(Kind::NotFound, "no file here ends in `.cedar`").about(path.display()));
    }
    if found.len() > FILES_MAX && endings.contains(&".cedar") {
        let what = format!("more than {FILES_MAX} files");
        return Err(CliError::new(Kind::Usage, what).about(path.display()));
    }
    Ok(found)
}

/// The text of a file that is no longer than this.
fn text(path: &Path, max: u64) -> Result<String> {
    let mut text = String::new();
    let opened = fs::File::open(path).map_err(file(path))?;
    opened.take(max + 1).read_to_string(&mut text).map_err(file(path))?;
    match text.len() as u64 > max {
        true => {
            Err(CliError::new(Kind::Usage, format_args!("is longer than {max} bytes")).about(path.display()))
        }
        false => Ok(text),
    }
}
