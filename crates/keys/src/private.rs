//! Private files: keys and tokens that nobody but their owner may read.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::KeysError;

/// Longest private file that is read, in bytes: an RSA key of 16384 bits in
/// PEM has 13 kB.
pub const FILE_MAX: u64 = 64 * 1024;

/// Reads a private file whole, unless others may read or change it.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let file = File::open(path).map_err(KeysError::io(path))?;
    let metadata = file.metadata().map_err(KeysError::io(path))?;
    check(path, &metadata)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(KeysError::NotPrivate { path: path.to_owned(), most: FILE_MAX });
    }
    // The whole capacity at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(KeysError::io(path))?;
    Ok(bytes)
}

/// Refuses a file that others may read or change. `metadata` is of the open
/// file, not of the path: what is checked is what is read.
pub(crate) fn check(path: &Path, metadata: &Metadata) -> Result<(), KeysError> {
    // systemd grants a service its credentials through an access control
    // list, whose mask shows up as group bits; the directory above belongs
    // to the service alone (systemd.exec(5), Credentials).
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let granted = credentials.is_some_and(|dir| dir.is_absolute() && path.starts_with(dir));
    let others = if granted { 0o027 } else { 0o077 };
    if metadata.mode() & others != 0 {
        return Err(KeysError::Exposed { path: path.display().to_string() });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_read_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.key");
        std::fs::write(&path, "the key").unwrap();
        for (mode, fine) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o602, false)]
        {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            match read(&path) {
                Ok(bytes) => assert!(fine && bytes.as_slice() == b"the key", "{mode:o}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!fine && text.contains("chmod 600") && text.contains("server.key"), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(matches!(read(dir.path()), Err(KeysError::NotPrivate { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(KeysError::Io { .. })));
        let path = dir.path().join("long");
        std::fs::write(&path, vec![b'x'; FILE_MAX as usize + 1]).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Err(KeysError::NotPrivate { .. })));
    }
}
