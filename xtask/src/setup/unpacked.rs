//! Tools out of Debian packages that would start a server where they are
//! installed: only the tool is unpacked.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

struct Tool {
    name: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 2] = [
    // The judge of alert rules.
    Tool { name: "promtool", package: "prometheus" },
    // The registry that images and their signatures are pushed to.
    Tool { name: "docker-registry", package: "docker-registry" },
];

/// Unpacks those that are nowhere.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    for tool in &TOOLS {
        let there = |program: PathBuf| process::works(Command::new(program).arg("--version"));
        if there(tool.path()) || process::find(tool.name).is_some_and(there) {
            continue;
        }
        say(&format!("unpacking {}", tool.name));
        tool.unpack().map_err(|error| {
            Error::wrong(format!(
                "{0} is missing: {error}\nhint: put it into your path, from Debian's package {1} or from its makers",
                tool.name, tool.package
            ))
        })?;
    }
    Ok(())
}

impl Tool {
    /// Where tests find it: beside other people's implementations.
    fn path(&self) -> PathBuf {
        python::directory().join("bin").join(self.name)
    }

    fn unpack(&self) -> Result<(), Error> {
        let directory = workspace::target().join("setup").join(self.package);
        // What an earlier run left half done.
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
        }
        std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
        process::read(
            Command::new("apt-get").args(["download", "-qq", self.package]).current_dir(&directory),
        )?;
        process::read(Command::new("sh").args(["-c", "dpkg-deb -x *.deb ."]).current_dir(&directory))?;
        let (from, to) = (directory.join("usr/bin").join(self.name), self.path());
        std::fs::copy(&from, &to).map_err(Error::file(&from))?;
        std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
    }
}
