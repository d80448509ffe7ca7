//! Debian's kernel: a few of its signed modules, the image that holds the
//! certificate they are signed with, and sign-file. A kernel that is installed
//! would be booted, so the packages are unpacked.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

/// Where tests find it: beside other people's implementations.
fn place() -> PathBuf {
    python::directory().join("share/kernel")
}

/// Unpacks it where there is none.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if place().join("vmlinuz").is_file() {
        return Ok(());
    }
    say("unpacking modules of Debian's kernel");
    unpack().map_err(|error| {
        Error::wrong(format!(
            "Debian's kernel is missing: {error}\nhint: put its vmlinuz, some of its modules and sign-file into {}",
            place().display()
        ))
    })
}

fn unpack() -> Result<(), Error> {
    let directory = workspace::target().join("setup/kernel");
    // What an earlier run left half done.
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
    }
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let image = dependency("linux-image-cloud-amd64", "linux-image-")?;
    let headers = dependency("linux-headers-cloud-amd64", "linux-headers-")?;
    let tools = dependency(&headers, "linux-kbuild-")?;
    process::read(Command::new("apt-get").args(["download", "-qq", &image, &tools]).current_dir(&directory))?;
    // The image is moved last: whoever finds it finds the rest.
    let script = "for package in *.deb; do dpkg-deb -x $package .; done
        rm -rf \"$1\" && mkdir -p \"$1\"
        cp -r lib/modules/*/kernel/crypto \"$1/modules\"
        cp usr/lib/linux-kbuild-*/scripts/sign-file \"$1\"
        cp boot/vmlinuz-* \"$1/vmlinuz\"";
    let mut shell = Command::new("sh");
    process::read(shell.args(["-ec", script, "sh"]).arg(place()).current_dir(&directory))?;
    std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
}

/// The package with this prefix that another one depends on.
fn dependency(package: &str, prefix: &str) -> Result<String, Error> {
    let listed = process::read(Command::new("apt-cache").args(["depends", package]))?;
    let found = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let found = found.filter(|name| name.starts_with(prefix)).find(|name| !name.ends_with("-common"));
    found.map(str::to_owned).ok_or_else(|| Error::wrong(format!("{package} depends on no {prefix}*")))
}
