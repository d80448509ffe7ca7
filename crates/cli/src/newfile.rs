//! New files: whole or absent, and never over something that exists.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{CliError, Kind, Result, file};

/// Mode of a file that everybody may read.
pub const PUBLIC: u32 = 0o644;
/// Mode of a file that only its owner may read.
#[cfg(any(feature = "full", test))]
pub const PRIVATE: u32 = 0o600;

/// A file on its way. Dropping it leaves nothing behind.
pub struct NewFile {
    staged: NamedTempFile,
    path: PathBuf,
    mode: u32,
}

impl NewFile {
    /// Begins a file that will stand at `path`, where nothing may stand yet.
    pub fn create(path: &Path, mode: u32) -> Result<NewFile> {
        if path.file_name().is_none() {
            return Err(CliError::new(
                Kind::Usage,
                format_args!("{} is not the name of a file", path.display()),
            ));
        }
        // Looked at first, so that a long transfer does not end in a
        // refusal; what counts is the link at the end.
        free(path)?;
        // In the same directory, so that taking the name is one step.
        let staged =
            tempfile::Builder::new().prefix(".firmseal-").tempfile_in(parent(path)).map_err(file(path))?;
        Ok(NewFile { staged, path: path.to_owned(), mode })
    }

    /// Makes the file durable, then visible.
    pub fn finish(self) -> Result {
        let name = &self.path;
        // It was made with 0600; it becomes readable only now, complete.
        self.staged.as_file().set_permissions(Permissions::from_mode(self.mode)).map_err(file(name))?;
        self.staged.as_file().sync_all().map_err(file(name))?;
        self.staged.persist_noclobber(name).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => taken(name),
            _ => file(name)(error.error),
        })?;
        // The name is durable once the directory is.
        File::open(parent(name)).and_then(|directory| directory.sync_all()).map_err(file(name))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.staged.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.flush()
    }
}

/// Refuses a name that is taken, by a dangling link too.
pub fn free(path: &Path) -> Result {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(taken(path)),
        Err(_) => Ok(()),
    }
}

/// Writes a whole new file.
pub fn write(path: &Path, mode: u32, content: &[u8]) -> Result {
    let mut new = NewFile::create(path, mode)?;
    new.write_all(content).map_err(file(path))?;
    new.finish()
}

/// Replaces a file of ours, or begins it: readers see the old content or
/// the new, also after a power cut.
#[cfg(feature = "full")]
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result {
    let directory = parent(path);
    let mut staged =
        tempfile::Builder::new().prefix(".firmseal-").tempfile_in(directory).map_err(file(path))?;
    staged.write_all(content).map_err(file(path))?;
    staged.as_file().set_permissions(Permissions::from_mode(mode)).map_err(file(path))?;
    staged.as_file().sync_all().map_err(file(path))?;
    staged.persist(path).map_err(|error| file(path)(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(file(path))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn taken(path: &Path) -> CliError {
    CliError::new(Kind::Conflict, format_args!("{} exists and is not overwritten", path.display()))
        .hint("choose another name, or move it away")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_appears_whole_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        for (name, wanted) in [("open", PUBLIC), ("key", PRIVATE)] {
            let path = dir.path().join(name);
            let mut new = NewFile::create(&path, wanted).unwrap();
            new.write_all(b"content").unwrap();
            assert!(!path.exists(), "before it is finished");
            new.finish().unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"content"[..], wanted));
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let late = NewFile::create(&path, PRIVATE).unwrap();
        write(&path, PRIVATE, b"first").unwrap();
        assert_eq!(late.finish().unwrap_err().kind, Kind::Conflict, "the name was taken meanwhile");
        assert_eq!(write(&path, PRIVATE, b"second").unwrap_err().kind, Kind::Conflict);
        drop(NewFile::create(&dir.path().join("other"), PRIVATE).unwrap());
        let dangling = dir.path().join("link");
        std::os::unix::fs::symlink("/nowhere", &dangling).unwrap();
        assert_eq!(write(&dangling, PRIVATE, b"x").unwrap_err().kind, Kind::Conflict);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("none/key"), PRIVATE, b"x").unwrap_err();
        assert_eq!(error.kind, Kind::Local);
        assert!(error.message.contains("none/key"), "{}", error.message);
    }
}
