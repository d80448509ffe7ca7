//! Packages for Node: other people's implementations, as peers.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, apt, python};
use crate::error::Error;
use crate::{process, workspace};

/// Where they are: beside the Python ones.
fn directory() -> PathBuf {
    python::directory().join("node")
}

/// Installs them when they are not there or are of another list.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let wanted = workspace::read(&workspace::root().join("xtask/node-packages.txt"))?;
    // The stamp is written last: a directory without it is unfinished.
    let stamp = directory().join("packages.installed");
    if workspace::read(&stamp).is_ok_and(|installed| installed == wanted)
        && process::works(Command::new("node").arg("--version"))
    {
        return Ok(());
    }
    say("installing packages for Node");
    let packages: Vec<&str> =
        wanted.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    // By program and not by package: other makers' packages of Node.js have npm
    // in them, and Debian's would be in their way.
    if process::find("node").is_none() || process::find("npm").is_none() {
        apt::install(&["nodejs", "npm"], say)?;
    }
    install(&packages).map_err(|error| {
        Error::wrong(format!(
            "the packages for Node are missing: {error}\nhint: install Node.js 18 or later with npm, then: npm install \
             --prefix {} {}",
            directory().display(),
            packages.join(" ")
        ))
    })?;
    workspace::write(&stamp, wanted)
}

fn install(packages: &[&str]) -> Result<(), Error> {
    let directory = directory();
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    // No script of a package runs here.
    let words = ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"];
    process::read(Command::new("npm").args(words).arg(&directory).args(packages).current_dir(&directory))?;
    Ok(())
}
