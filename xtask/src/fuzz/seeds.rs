//! Seeds: what a target begins with.
//!
//! Fixtures of formats and of evidence, what the vectors say an envelope and a
//! root document are, and what `fuzz/seeds.sh` takes from Debian's packages
//! that set-up installed or unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Target;
use crate::error::Error;
use crate::setup::python;
use crate::{process, workspace};

/// Where `seeds.sh` puts what it collects, by target.
fn collected() -> PathBuf {
    workspace::target().join("fuzz/seeds")
}

/// Collects what is not in the repository.
pub(super) fn collect() -> Result<(), Error> {
    empty(&collected())?;
    let script = workspace::root().join("fuzz/seeds.sh");
    let made = process::read(Command::new("sh").arg(script).arg(python::directory()).arg(collected()));
    made.map(drop).map_err(|error| {
        Error::wrong(format!(
            "{error}\nhint: seeds come from what `cargo xtask setup` installs; {}.log has all of it",
            collected().display()
        ))
    })
}

/// Puts what a target begins with into a directory, and says how long the
/// longest is.
pub(super) fn put(target: &Target, into: &Path) -> Result<u64, Error> {
    empty(into)?;
    let mut longest = 0;
    let mut write = |name: &str, bytes: Vec<u8>| {
        longest = longest.max(bytes.len() as u64);
        let path = into.join(name);
        std::fs::write(&path, bytes).map_err(Error::file(&path))
    };
    let read = |path: &Path| std::fs::read(path).map_err(Error::file(path));
    let name = target.name.as_str();
    for path in workspace::files()? {
        let file = workspace::root().join(&path);
        if is_fixture(target, &path) {
            write(&path.replace('/', "-"), read(&file)?)?;
        } else if matches!(name, "admit" | "envelope" | "root") && is_vector(&path) {
            let text = workspace::read(&file)?;
            let key = if name == "root" { "root: " } else { "envelope: " };
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            if let Some(bytes) = line.and_then(unhex) {
                write(&path.replace('/', "-"), bytes)?;
            }
        }
    }
    let own = collected().join(name);
    if own.is_dir() {
        for entry in std::fs::read_dir(&own).map_err(Error::file(&own))? {
            let path = entry.map_err(Error::file(&own))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            write(&name, read(&path)?)?;
        }
    }
    Ok(longest)
}

fn is_fixture(target: &Target, path: &str) -> bool {
    let formats = path.strip_prefix("crates/formats/fixtures/").filter(|_| path.ends_with(".bin"));
    match target.name.as_str() {
        "formats" => formats.is_some(),
        "evidence" => path.starts_with("crates/evidence/fixtures/"),
        name => target.is_format && formats.is_some_and(|rest| rest.split('/').next() == Some(name)),
    }
}

fn is_vector(path: &str) -> bool {
    path.starts_with("spec/vectors/") && path.ends_with(".txt")
}

/// Makes a directory that has nothing in it.
fn empty(directory: &Path) -> Result<(), Error> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(Error::file(directory))?;
    }
    std::fs::create_dir_all(directory).map_err(Error::file(directory))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let nibbles = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    Some(nibbles.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}
