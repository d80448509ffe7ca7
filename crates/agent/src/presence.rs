//! Physical presence: somebody stands in front of the device.
//!
//! A file that only hardware, or whoever opened the device, can make say
//! `1`: the value of a GPIO line with a jumper on it, a file that the
//! bootloader makes while a button is held. It opens the door for what the
//! recovery role signed, and no other.

use std::path::Path;

use tracing::warn;

use crate::files::{Access, Files};

/// Whether the file says `1`. One that is absent or cannot be read says no.
pub(crate) fn is_shown(files: &dyn Files, path: &Path) -> bool {
    let mut text = [0; 8];
    let read = files.open(path, Access::Read).and_then(|file| file.read_full_at(&mut text, 0));
    match read {
        Ok(count) => text[..count].trim_ascii() == b"1",
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => false,
        Err(err) => {
            warn!("{}: {err}; nobody is taken to be present", path.display());
            false
        }
    }
}
