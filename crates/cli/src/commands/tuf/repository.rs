//! A repository's directory: files that appear whole, one export at a time.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{CliError, Kind, Result, file};
use crate::newfile::PUBLIC;

/// Longest metadata file that is read back.
const METADATA_MAX: u64 = 64 << 20;

/// Where files are written before they get their names. What a cut leaves
/// there the next export removes; no client looks.
const STAGED: &str = ".firmseal/staged";

/// A repository that this process alone writes to.
pub struct Repository {
    directory: PathBuf,
    _lock: File,
}

impl Repository {
    /// Opens a repository, or begins one.
    pub fn open(directory: &Path) -> Result<Repository> {
        let staged = directory.join(STAGED);
        fs::create_dir_all(&staged).map_err(file(directory))?;
        let path = directory.join(".firmseal/lock");
        let lock = File::create(&path).map_err(file(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::new(Kind::Conflict, "another export is at work there")
                    .about(directory.display())
                    .hint("wait until it has ended"));
            }
            Err(TryLockError::Error(error)) => return Err(file(&path)(error)),
        }
        fs::remove_dir_all(&staged).and_then(|()| fs::create_dir(&staged)).map_err(file(&staged))?;
        Ok(Repository { directory: directory.to_owned(), _lock: lock })
    }

    /// Reads a file below `metadata/`, if it is there.
    pub fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.directory.join("metadata").join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|input| input.take(METADATA_MAX + 1).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() as u64 > METADATA_MAX => {
                Err(CliError::new(Kind::Refused, "is longer than any metadata").about(path.display()))
            }
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file(&path)(error)),
        }
    }

    /// Whether a file of this length stands below `targets/`.
    pub fn has_target(&self, name: &str, length: u64) -> bool {
        let metadata = fs::symlink_metadata(self.directory.join("targets").join(name));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == length)
    }

    /// Begins a file.
    pub fn stage(&self) -> Result<Staged<'_>> {
        let directory = self.directory.join(STAGED);
        let staged = NamedTempFile::new_in(&directory).map_err(file(&directory))?;
        Ok(Staged { repository: self, staged })
    }

    /// Writes a whole file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result {
        let mut staged = self.stage()?;
        staged.write(bytes)?;
        staged.place(name)
    }

    /// Makes the directories above a file. Each is durable before anything
    /// is in it.
    fn make_directories(&self, relative: &Path) -> Result<PathBuf> {
        let mut directory = self.directory.clone();
        for part in relative.components() {
            let next = directory.join(part);
            match fs::create_dir(&next) {
                Ok(()) => sync(&directory)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(file(&next)(error)),
            }
            directory = next;
        }
        Ok(directory)
    }
}

/// A file on its way. Dropping it leaves nothing behind.
pub struct Staged<'a> {
    repository: &'a Repository,
    staged: NamedTempFile,
}

impl Staged<'_> {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result {
        self.staged.write_all(bytes).map_err(file(self.staged.path()))
    }

    /// Gives it its name, in the place of a file that has it: readers see
    /// the old bytes or the new, also after a power cut.
    pub fn place(self, name: &str) -> Result {
        let relative = Path::new(name);
        let parent = self.repository.make_directories(relative.parent().unwrap_or(Path::new("")))?;
        let path = self.repository.directory.join(relative);
        let staged = self.staged.as_file();
        staged.set_permissions(Permissions::from_mode(PUBLIC)).map_err(file(&path))?;
        staged.sync_all().map_err(file(&path))?;
        self.staged.persist(&path).map_err(|error| file(&path)(error.error))?;
        sync(&parent)
    }
}

fn sync(directory: &Path) -> Result {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(file(directory))
}
