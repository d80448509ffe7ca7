//! Confinement: what this process gives up before it reads any secret.

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
}
