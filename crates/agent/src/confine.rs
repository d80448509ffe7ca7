//! Confinement: what the agent gives up before it reads its key.

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::error::Error;

/// No core dump of this process, and none of its children: a dump holds the
/// device's key, in a file that outlives the process and that a fault report
/// may carry away. Nor may another process of the same user read its memory
/// (prctl(2), `PR_SET_DUMPABLE`); where the kernel pipes dumps into a
/// program, the limit alone would not keep it from being asked (core(5)).
pub fn confine() -> Result<(), Error> {
    let failed = |source: rustix::io::Errno| Error::Storage {
        path: "the limits of this process".into(),
        source: source.into(),
    };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
