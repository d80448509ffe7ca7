//! Small disks: a memory file system in a mount namespace of a child's own,
//! which is gone when the child is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the disk's directory to the child.
const DISK: &str = "FIRMSEAL_SMALL_DISK";
/// What a machine goes without on purpose, in words with commas.
const WITHOUT: &str = "FIRMSEAL_WITHOUT";

/// How a namespace may be had: by anybody where user namespaces are allowed;
/// by root; and by root in a chroot that is no mount point, where the way
/// mounts spread cannot be changed.
const WAYS: [&[&str]; 3] =
    [&["--user", "--map-root-user", "--mount"], &["--mount"], &["--mount", "--propagation", "unchanged"]];

/// What a test that was run again by [`again`] finds: its disk.
pub fn own() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

/// Runs one test of the running binary again, by its name, with a disk of so
/// many MiB at `directory`. Returns false where no namespace is to be had;
/// in CI that is a failure, or a test would pass that never ran, unless the
/// machine says that it is meant: `FIRMSEAL_WITHOUT=namespaces`.
pub fn again(directory: &Path, mebibytes: u32, test: &str, variables: &[(&str, &OsStr)]) -> bool {
    // Exit codes that no test has say that it did not come to run. The disk
    // is taken away by hand where the namespace might not.
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m tmpfs \"${DISK}\" || exit 77; \
         \"$0\" \"$@\"; code=$?; umount \"${DISK}\"; exit $code"
    );
    let mut told = String::new();
    for way in WAYS {
        let done = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(DISK, directory)
            .envs(variables.iter().copied())
            .output();
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                told += &format!("unshare: {error}\n");
                continue;
            }
        };
        let said = String::from_utf8_lossy(&done.stderr);
        // unshare fails with 1, as a failed test does with 101.
        if matches!(done.status.code(), Some(1 | 77 | 127)) {
            told += &said;
            continue;
        }
        print!("{}", String::from_utf8_lossy(&done.stdout));
        eprint!("{said}");
        assert!(done.status.success(), "the test failed on its small disk: {}", done.status);
        return true;
    }
    let meant = std::env::var(WITHOUT).is_ok_and(|list| list.split(',').any(|word| word == "namespaces"));
    assert!(
        meant || std::env::var_os("CI").is_none(),
        "no mount namespace is to be had here; allow them, or set {WITHOUT}=namespaces to go without:\n{told}"
    );
    eprintln!("skipped: no mount namespace is to be had here:\n{told}");
    false
}
