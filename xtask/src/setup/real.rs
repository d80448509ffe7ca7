//! Real files of Debian that `firmseal inspect` is tried on and fuzzing begins
//! with, taken out of packages that nothing else here needs: boot managers, boot
//! loaders, a boot ROM, cabinets. They are unpacked and not installed, so no boot
//! manager gets to work.

use std::path::PathBuf;
use std::process::Command;

use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

const PACKAGES: [&str; 10] = [
    "arduino-core-avr",
    "fwupd-tests",
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

/// Says which packages are unpacked there: the list has grown, and may again.
fn stamp() -> PathBuf {
    place().join("packages")
}

/// Unpacks them where they are not.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if workspace::read(&stamp()).is_ok_and(|names| names.lines().eq(PACKAGES)) {
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
    let place = place();
    std::fs::create_dir_all(&place).map_err(Error::file(&place))?;
    let unpack = "for package in *.deb; do dpkg-deb -x $package \"$0\" || exit; done";
    run("sh", &["-c", unpack, &place.to_string_lossy()])?;
    // Last: what was cut off before is unpacked again.
    workspace::write(&stamp(), PACKAGES.join("\n"))?;
    std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))
}
