//! Creating a file once: whole, durable, private, and never over another.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use crate::error::KeysError;

/// Writes `content` to a new file that only its owner can read.
///
/// A reader sees no file or the whole file, also after a power cut; if the
/// name is taken, by a dangling link too, nothing changes.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<(), KeysError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staged = Staged(staged_name(directory, path)?);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged.0)
        .map_err(KeysError::io(path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(KeysError::io(path))?;
    // A link and not a rename: it fails where the name exists, in one step,
    // on every file system that keeps owners and modes. Rename would replace
    // whatever appeared there since we looked. A crash right after leaves a
    // second name for the same, encrypted file, and harms nothing.
    fs::hard_link(&staged.0, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeysError::Exists(path.to_owned()),
        _ => KeysError::Io { path: path.to_owned(), error },
    })?;
    drop(staged);
    // The name is durable once the directory is.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(KeysError::io(path))
}

/// The staged file; removed on every way out.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // It may not exist yet, or the directory is gone: nothing to undo.
        let _ = fs::remove_file(&self.0);
    }
}

fn staged_name(directory: &Path, path: &Path) -> Result<PathBuf, KeysError> {
    let Some(name) = path.file_name() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "this is not the name of a file");
        return Err(KeysError::Io { path: path.to_owned(), error });
    };
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| KeysError::Crypto("randomness"))?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    staged.push(format!(".{:016x}", u64::from_be_bytes(random)));
    Ok(directory.join(staged))
}
