//! Real files of Debian that `firmseal inspect` is tried on, taken out of
//! packages that nothing else here needs: boot managers, boot loaders, a boot
//! ROM. They are unpacked and not installed, so no boot manager gets to work.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

const PACKAGES: [&str; 9] = [
    "arduino-core-avr",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-efi-ia32-bin",
    "ipxe",
    "memtest86+",
    "refind",
    "seabios",
    "shim-signed",
];

/// Where tests find them.
fn place() -> PathBuf {
    python::directory().join("share/real")
}

/// Unpacks them where they are not.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if place().is_dir() {
        return Ok(());
    }
    say("unpacking real files");
    unpack().map_err(|error| {
        let names = PACKAGES.join(" ");
        let place = place();
        Error::wrong(format!(
            "real files to inspect are missing: {error}\nhint: `apt-get download {names}`, and `dpkg-deb -x` each \
             into {}",
            place.display()
        ))
    })
}

fn unpack() -> Result<(), Error> {
    let directory = workspace::target().join("setup/real");
    // What an earlier run left half done.
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
    }
    std::fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let run = |program: &str, words: &[&str]| {
        process::read(Command::new(program).args(words).current_dir(&directory)).map(drop)
    };
    run("apt-get", &[&["download", "-qq"], &PACKAGES[..]].concat())?;
    run("sh", &["-c", "mkdir all && for package in *.deb; do dpkg-deb -x $package all; done"])?;
    let parent = python::directory().join("share");
    std::fs::create_dir_all(&parent).map_err(Error::file(&parent))?;
    let from = directory.join("all");
    std::fs::rename(&from, place()).map_err(Error::file(&from))?;
    std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
}
