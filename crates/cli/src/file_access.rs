//! Access to files: what a process that holds keys gives up (landlock(7)).

use std::path::{Path, PathBuf};

use crate::error::{CliError, Kind, Result};

/// Devices that are written to: where output goes that nobody wants, where a
/// person is asked, and TPMs.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/tty", "/dev/tpmrm0", "/dev/tpm0"];

/// Confines this process to these paths, and to devices that everything may
/// need.
pub fn confine(paths: impl Iterator<Item = PathBuf>) -> Result {
    let devices = DEVICES.iter().map(PathBuf::from).filter(|device| device.exists());
    change_only(&paths.chain(devices).collect::<Vec<_>>())
}

/// From here on this process changes the contents and names of files at these
/// paths only, directories with all below them, and starts no program that lies
/// in a file system, whatever happens to it. Its threads are bound by it if
/// they begin later: call it before there are any.
///
/// Reading stays open: modules of tokens and their settings lie anywhere.
#[cfg(target_os = "linux")]
fn change_only(paths: &[PathBuf]) -> Result {
    use landlock::{
        ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    };
    let abi = ABI::V3;
    let local = |what: &dyn std::fmt::Display| {
        CliError::new(Kind::Local, format_args!("cannot confine itself: {what}"))
            .hint("a kernel from 6.2 on with landlock does; `confine = false` goes without")
    };
    let below = |path: &Path, access| -> Result<_> {
        Ok(PathBeneath::new(PathFd::new(path).map_err(|error| local(&error))?, access))
    };
    let created = Ruleset::default().handle_access(AccessFs::from_all(abi)).and_then(Ruleset::create);
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut ruleset = created.map_err(|error| local(&error))?;
    ruleset = ruleset.add_rule(below(Path::new("/"), reading)?).map_err(|error| local(&error))?;
    for path in paths {
        let all = if path.is_dir() { AccessFs::from_all(abi) } else { AccessFs::from_file(abi) };
        let rule = below(path, all & !AccessFs::Execute)?;
        ruleset = ruleset.add_rule(rule).map_err(|error| local(&error))?;
    }
    match ruleset.restrict_self().map_err(|error| local(&error))?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        _ => Err(local(&"this kernel does not enforce all of it")),
    }
}

/// Whether this kernel confines.
pub fn is_known() -> bool {
    // It binds the thread that asks, which ends.
    let tried = std::thread::spawn(|| change_only(&[PathBuf::from("/")]).is_ok());
    tried.join().unwrap_or(false)
}

/// Elsewhere nothing of the kind is known to us.
#[cfg(not(target_os = "linux"))]
fn change_only(_: &[PathBuf]) -> Result {
    Err(CliError::new(Kind::Local, "cannot confine itself on this system")
        .hint("`confine = false` goes without"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_given_up_is_gone() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mine, other) = (inside.path().to_owned(), outside.path().to_owned());
        std::fs::write(other.join("there"), "before").unwrap();
        // It binds the thread that asks: other tests go on as they were.
        let confined = std::thread::spawn(move || {
            change_only(&[mine.clone(), "/dev/null".into()]).unwrap();
            std::fs::write(mine.join("new"), "after").unwrap();
            std::fs::write("/dev/null", "nothing").unwrap();
            assert_eq!(std::fs::read_to_string(other.join("there")).unwrap(), "before");
            for refused in [
                std::fs::write(other.join("new"), "after"),
                std::fs::write(other.join("there"), "after"),
                std::fs::remove_file(other.join("there")),
                std::fs::rename(mine.join("new"), other.join("new")),
                std::fs::write("/dev/shm/firmseal-confine-test", "after"),
                std::process::Command::new("/bin/true").status().map(drop),
            ] {
                refused.unwrap_err();
            }
        });
        confined.join().unwrap();
        assert_eq!(std::fs::read_to_string(outside.path().join("there")).unwrap(), "before");
    }
}
