//! Tools out of Debian packages that would start a server where they are
//! installed: only the tool is unpacked.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

struct Tool {
    name: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 3] = [
    // The scanner whose findings are signed.
    Tool { name: "clamscan", package: "clamav" },
    // The judge of alert rules.
    Tool { name: "promtool", package: "prometheus" },
    // The registry that images and their signatures are pushed to.
    Tool { name: "docker-registry", package: "docker-registry" },
];

/// Pacemaker's scheduler, which says what a cluster would do: the judge of its
/// configuration that we ship. With it come the libraries that it is made of,
/// and an agent of every kind.
const SCHEDULER: &str = "pacemaker-cli-utils";
const SCHEDULER_TOOLS: [&str; 2] = ["crm_verify", "crm_simulate"];

/// Unpacks those that are nowhere.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    tools(say)?;
    scheduler(say)
}

fn scheduler(say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let bin = python::directory().join("bin");
    let works = |program: PathBuf| process::works(Command::new(program).arg("--version"));
    let there = |name: &&str| works(bin.join(name)) || process::find(name).is_some_and(works);
    if SCHEDULER_TOOLS.iter().all(there) {
        return Ok(());
    }
    say(&format!("unpacking {SCHEDULER}"));
    let directory = workspace::target().join("setup").join(SCHEDULER);
    unpack_whole(&directory).map_err(|error| {
        Error::wrong(format!("crm_simulate is missing: {error}\nhint: install Debian's package {SCHEDULER}"))
    })?;
    for name in SCHEDULER_TOOLS {
        let root = directory.display();
        let script = format!(
            "#!/bin/sh\nroot={root}\nexport LD_LIBRARY_PATH=\"$(echo $root/usr/lib/*-linux-gnu):$root/usr/lib\"\n\
             export PCMK_schema_directory=$root/usr/share/pacemaker\nexec $root/usr/sbin/{name} \"$@\"\n"
        );
        let path = bin.join(name);
        std::fs::write(&path, script).map_err(Error::file(&path))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// Unpacks a package, and all that it needs and this machine has not.
fn unpack_whole(directory: &Path) -> Result<(), Error> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(Error::file(directory))?;
    }
    std::fs::create_dir_all(directory).map_err(Error::file(directory))?;
    let planned = process::read(Command::new("apt-get").args([
        "install",
        "--simulate",
        "--no-install-recommends",
        SCHEDULER,
    ]))?;
    let packages = planned.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    process::read(Command::new("apt-get").args(["download", "-qq"]).args(packages).current_dir(directory))?;
    let each = "for package in *.deb; do dpkg-deb -x \"$package\" . && rm \"$package\"; done";
    process::read(Command::new("sh").args(["-c", each]).current_dir(directory))?;
    Ok(())
}

fn tools(say: &mut dyn FnMut(&str)) -> Result<(), Error> {
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
