//! promtool, the judge of alert rules. Debian's package would start a server
//! where it is installed, so only its tool is unpacked.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

/// Where tests find it: beside other people's implementations.
fn tool() -> PathBuf {
    python::directory().join("bin/promtool")
}

/// Unpacks it where there is none.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let there = |program: PathBuf| process::works(Command::new(program).arg("--version"));
    if there(tool()) || process::find("promtool").is_some_and(there) {
        return Ok(());
    }
    say("unpacking promtool");
    unpack().map_err(|error| {
        Error::wrong(format!(
            "promtool is missing: {error}\nhint: put it into your path, from Debian's package prometheus or from its makers"
        ))
    })
}

fn unpack() -> Result<(), Error> {
    let directory = workspace::target().join("setup/prometheus");
    // What an earlier run left half done.
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
    }
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    process::read(Command::new("apt-get").args(["download", "-qq", "prometheus"]).current_dir(&directory))?;
    process::read(Command::new("sh").args(["-c", "dpkg-deb -x prometheus_*.deb ."]).current_dir(&directory))?;
    let (from, to) = (directory.join("usr/bin/promtool"), tool());
    std::fs::copy(&from, &to).map_err(Error::file(&from))?;
    std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
}
