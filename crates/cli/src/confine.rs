//! Confinement: what this process gives up before it reads any secret.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::error::{CliError, Kind, Result};

/// No core dump of this process, and none of its children: a dump holds
/// every key and passphrase that is in memory, in a file that outlives it.
///
/// The limit alone is not enough: where the kernel pipes dumps into a
/// program, it is asked anyway (core(5), "Piping core dumps to a program").
/// A process that is not dumpable is never dumped, and nobody but root may
/// attach to it or read its memory (prctl(2), `PR_SET_DUMPABLE`).
pub fn confine() -> Result {
    let failed = |what| {
        move |error: rustix::io::Errno| {
            CliError::new(Kind::Local, format_args!("cannot {what}: {error}"))
                .hint("run it where a process may lower its own limits")
        }
    };
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(failed("forbid core dumps"))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(failed("keep its memory from other processes"))?;
    Ok(())
}

/// From here on this process changes files in these directories only, and
/// starts no program, whatever happens to it (landlock(7)). Its threads are
/// bound by it if they begin later: call it before there are any.
///
/// Reading stays open: modules of tokens and their settings lie anywhere.
#[cfg(target_os = "linux")]
pub fn change_only(directories: &[PathBuf]) -> Result {
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
    for directory in directories {
        let rule = below(directory, AccessFs::from_all(abi) & !AccessFs::Execute)?;
        ruleset = ruleset.add_rule(rule).map_err(|error| local(&error))?;
    }
    match ruleset.restrict_self().map_err(|error| local(&error))?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        _ => Err(local(&"this kernel does not enforce all of it")),
    }
}

/// Elsewhere nothing of the kind is known to us.
#[cfg(not(target_os = "linux"))]
pub fn change_only(_: &[PathBuf]) -> Result {
    Err(CliError::new(Kind::Local, "cannot confine itself on this system")
        .hint("`confine = false` goes without"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_process_is_dumped() {
        confine().unwrap();
        confine().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_given_up_is_gone() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mine, other) = (inside.path().to_owned(), outside.path().to_owned());
        std::fs::write(other.join("there"), "before").unwrap();
        // It binds the thread that asks: other tests go on as they were.
        let confined = std::thread::spawn(move || {
            change_only(std::slice::from_ref(&mine)).unwrap();
            std::fs::write(mine.join("new"), "after").unwrap();
            assert_eq!(std::fs::read_to_string(other.join("there")).unwrap(), "before");
            for refused in [
                std::fs::write(other.join("new"), "after"),
                std::fs::write(other.join("there"), "after"),
                std::fs::remove_file(other.join("there")),
                std::fs::rename(mine.join("new"), other.join("new")),
                std::process::Command::new("/bin/true").status().map(drop),
            ] {
                refused.unwrap_err();
            }
        });
        confined.join().unwrap();
        assert_eq!(std::fs::read_to_string(outside.path().join("there")).unwrap(), "before");
    }
}
