//! The Python environment: other people's implementations, as peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Wanted;
use crate::error::Error;
use crate::{process, workspace};

/// Where the environment is.
pub(crate) fn directory() -> PathBuf {
    workspace::target().join("venv")
}

/// Its interpreter.
pub(crate) fn interpreter() -> PathBuf {
    directory().join("bin/python")
}

/// Makes the environment when it is not there or was made from another list.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let list = workspace::root().join("xtask/requirements.txt");
    let wanted = workspace::read(&list)?;
    // The stamp is written last: an environment without it is unfinished.
    let stamp = directory().join("requirements.installed");
    if workspace::read(&stamp).is_ok_and(|installed| installed == wanted)
        && process::works(Command::new(interpreter()).arg("--version"))
    {
        return Ok(());
    }
    say("making the Python environment");
    make(&list).map_err(|error| {
        Error::wrong(format!(
            "the Python environment is missing: {error}\nhint: python3 -m venv {0} && {0}/bin/pip install -r xtask/requirements.txt",
            directory().display()
        ))
    })?;
    workspace::write(&stamp, wanted)
}

fn make(list: &Path) -> Result<(), Error> {
    process::read(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory()))?;
    process::read(
        Command::new(interpreter())
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(list),
    )?;
    Ok(())
}
