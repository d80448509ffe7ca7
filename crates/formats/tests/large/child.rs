//! The process whose memory is bounded.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use firmseal_formats::{
    Covered, ExistingSignature, FormatError, Inspection, KeyClaim, Parameters, Wanted, attach, find, inspect,
    lay_out,
};
use serde::{Deserialize, Serialize};

use crate::common::{TestKey, verifies};
use crate::files::Sparse;

/// Where it works.
pub(crate) const CHILD: &str = "FIRMSEAL_LARGE_CHILD";

/// What it does.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) format: String,
    pub(crate) key: String,
    pub(crate) parameters: Vec<(String, String)>,
    /// Why a file is refused, if it is.
    pub(crate) refused: Option<String>,
}

impl Job {
    pub(crate) fn new(format: &str, key: &str, parameters: Vec<(String, String)>) -> Job {
        Job { format: format.to_owned(), key: key.to_owned(), parameters, refused: None }
    }
}

/// Nothing by itself: what it does stands in its environment.
#[test]
fn works() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let job: Job = serde_json::from_slice(&std::fs::read(directory.join("job")).unwrap()).unwrap();
    match &job.refused {
        Some(why) => refused(&directory, &job, why),
        None => signed(&directory, &job),
    }
    println!("\nPEAK {}", peak());
}

/// The most memory that this process has had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn refused(directory: &Path, job: &Job, why: &str) {
    let source = File::open(directory.join("source")).unwrap();
    let error = find(&job.format).unwrap().inspect(&source).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

fn signed(directory: &Path, job: &Job) {
    let (source, key) = (File::open(directory.join("source")).unwrap(), TestKey::load(&job.key));
    let format = find(&job.format).unwrap();
    // What it is before it is one, if it is not: data for a partition, a raw
    // binary.
    let before = inspect(&source).unwrap();
    assert!(before.image_size > 64 << 20, "{}", before.image_size);
    let parameters: Parameters =
        job.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let version = semver::Version::new(1, 2, 3);
    let wanted = Wanted { version, epoch: 7, key: &key.public, parameters: &parameters };
    let laid_out = lay_out(format, &source, &wanted).unwrap();
    let signature = key.sign(&laid_out.tbs);
    let Some(unsigned) = laid_out.unsigned else {
        // Nothing but itself.
        let own = |tbs| ExistingSignature {
            algorithm: key.public.algorithm(),
            claim: KeyClaim::None,
            covered: Covered::Tbs(tbs),
            signature: signature.clone(),
        };
        assert!(verifies(&own(laid_out.tbs), &key.public));
        changed(directory, "source", || {
            let again = lay_out(format, &source, &wanted).unwrap();
            assert!(!verifies(&own(again.tbs), &key.public), "a bit counts");
        });
        return;
    };
    let plan = attach(format, &unsigned, &source, &signature).unwrap();
    let mut out = Sparse::create(&directory.join("signed"));
    plan.write_to(&source, &mut out).unwrap();
    out.flush().unwrap();
    let read = || -> Result<Inspection, FormatError> {
        let file = File::open(directory.join("signed")).unwrap();
        match format.beside() {
            Some(beside) => beside.read(&file, &source),
            None => inspect(&file),
        }
    };
    let accepted = || read().is_ok_and(|read| read.signatures.iter().any(|own| verifies(own, &key.public)));
    assert!(accepted());
    changed(directory, if format.beside().is_some() { "source" } else { "signed" }, || {
        assert!(!accepted(), "a bit counts");
    });
}

/// With one bit of a file changed, far from both of its ends.
fn changed(directory: &Path, name: &str, judge: impl FnOnce()) {
    let file = OpenOptions::new().read(true).write(true).open(directory.join(name)).unwrap();
    let at = file.metadata().unwrap().len() / 8 * 7;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    judge();
    file.write_all_at(&byte, at).unwrap();
}
