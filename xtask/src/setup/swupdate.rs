//! swupdate, the judge of packages. Debian's package would start a service
//! where it is installed, so only its tool is unpacked, beside the libraries
//! that the package names.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Wanted, apt, python};
use crate::error::Error;
use crate::{process, workspace};

/// Where tests find it: beside other people's implementations.
fn tool() -> PathBuf {
    python::directory().join("bin/swupdate")
}

/// Unpacks it where there is none.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let there = |program: PathBuf| process::works(Command::new(program).arg("--version"));
    if there(tool()) || process::find("swupdate").is_some_and(there) {
        return Ok(());
    }
    say("unpacking swupdate");
    unpack(say).map_err(|error| {
        Error::wrong(format!(
            "swupdate is missing: {error}\nhint: put it into your path, from Debian's package swupdate or from its makers"
        ))
    })
}

fn unpack(say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let directory = workspace::target().join("setup/swupdate");
    // What an earlier run left half done.
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
    }
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    process::read(Command::new("apt-get").args(["download", "-qq", "swupdate"]).current_dir(&directory))?;
    let shell = |line: &str| process::read(Command::new("sh").args(["-c", line]).current_dir(&directory));
    let depends = shell("dpkg-deb -f swupdate_*.deb Depends")?;
    let missing: Vec<&str> = libraries(&depends).filter(|name| apt::installed(name).is_none()).collect();
    apt::install(&missing, say)?;
    shell("dpkg-deb -x swupdate_*.deb .")?;
    copy(&directory.join("usr/bin/swupdate"), &tool())?;
    std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::copy(from, to).map(drop).map_err(Error::file(from))
}

/// The libraries that a package depends on.
fn libraries(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    names.filter(|name| name.starts_with("lib"))
}

#[cfg(test)]
mod tests {
    use super::libraries;

    #[test]
    fn libraries_are_told_from_what_makes_users() {
        let found: Vec<_> =
            libraries("libarchive13 (>= 3.0.4), libconfig9, sysuser-helper (>= 1.3.3)\n").collect();
        assert_eq!(found, ["libarchive13", "libconfig9"]);
    }
}
