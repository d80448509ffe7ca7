//! Files that are there whole and for good, or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{WitnessError, file};

/// Gives `path` its bytes: written beside it, synced, renamed, and the name
/// synced. A crash leaves the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), WitnessError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(file("remove", &temporary)(error));
        }
        _ => {}
    }
    let mut new = private(&temporary)?;
    new.write_all(bytes).and_then(|()| new.sync_all()).map_err(file("write", &temporary))?;
    fs::rename(&temporary, path).map_err(file("name", path))?;
    sync_parent(path)
}

/// Creates a file that must not exist yet, for this user only.
pub(crate) fn private(path: &Path) -> Result<File, WitnessError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(file("create", path))
}

/// Makes a file's name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), WitnessError> {
    // The directory of a bare name is the one we are in.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(file("sync", parent))
}
