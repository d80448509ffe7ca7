//! Where things are: the repository, its target directory, what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::process;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run`, which is what the alias does.
    // Read at run time, so that a moved clone does not look at its old place.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    match package.as_deref().and_then(Path::parent) {
        Some(root) => root.to_owned(),
        None => PathBuf::from("."),
    }
}

/// The target directory; everything that commands make goes below it.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The cargo that started this, or the one in the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` sets for us is not meant for the builds that we start:
    // some of it would count as a changed environment and rebuild crates.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// What rustc builds for unless told.
pub(crate) fn host() -> Result<String, Error> {
    let said = process::read(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Error::wrong("rustc -vV names no host"))
}

/// The pipelines' client, where the step `client` builds it.
pub(crate) fn client() -> Result<PathBuf, Error> {
    Ok(target().join("client").join(host()?).join("debug").join("firmseal"))
}

/// The manifests of the workspaces in this repository: the main one, and the
/// excluded ones that build with other targets.
pub(crate) fn manifests() -> Vec<PathBuf> {
    ["Cargo.toml", "boards/Cargo.toml", "fuzz/Cargo.toml"]
        .iter()
        .map(|path| root().join(path))
        .filter(|path| path.is_file())
        .collect()
}

/// What it runs on; the same list as in deny.toml.
const PLATFORMS: [&str; 3] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "thumbv7m-none-eabi"];

/// `cargo metadata` of one workspace.
pub(crate) fn metadata(manifest: &Path) -> Result<Value, Error> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--format-version=1", "--all-features", "--manifest-path"]).arg(manifest);
    for platform in PLATFORMS {
        cargo.args(["--filter-platform", platform]);
    }
    let json = process::read(&mut cargo)?;
    serde_json::from_str(&json).map_err(|error| Error::wrong(format!("cargo metadata: {error}")))
}

/// The names of a workspace's own packages.
pub(crate) fn members(manifest: &Path) -> Result<Vec<String>, Error> {
    let metadata = metadata(manifest)?;
    let ids = metadata["workspace_members"].as_array().cloned().unwrap_or_default();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = packages.iter().filter(|package| ids.contains(&package["id"]));
    Ok(own.filter_map(|package| package["name"].as_str()).map(str::to_owned).collect())
}

/// The repository's own files, as paths relative to the root: what git
/// tracks and what it would track.
pub(crate) fn files() -> Result<Vec<String>, Error> {
    let list = process::read(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root()),
    )?;
    let mut files: Vec<String> = list
        .split('\0')
        .filter(|path| !path.is_empty() && root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Reads a file as text.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file(path))
}

/// Writes a file, making its directory first.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::file(directory))?;
    }
    fs::write(path, bytes).map_err(Error::file(path))
}
