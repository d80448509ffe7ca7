//! LMS keys in files: the conformance suite, pyhsslms as judge, and that no
//! leaf signs which no log has reserved.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firmseal_core::lms::Parameters;
use firmseal_keys::conformance::{self, MemoryLog, covering, intent};
use firmseal_keys::pool::wait;
use firmseal_keys::{FileKey, KeysError, LeafError, Log, LogError, Logged, Secret, SignError, Signer};
use firmseal_manifest::{KeyAlgorithm, LmsEntry, Purpose, Tbs};

fn passphrase() -> Secret {
    Secret::new(b"correct horse".to_vec())
}

fn set(tree: u32, chains: u32) -> Parameters {
    Parameters::from_codes(tree, chains).unwrap()
}

fn made(path: &Path, set: Parameters) -> FileKey {
    wait(FileKey::generate_lms(path, set, &passphrase(), &MemoryLog::default(), true)).unwrap()
}

/// What pyhsslms says to keys, messages and signatures.
fn judged(cases: &[(Vec<u8>, Vec<u8>, Vec<u8>)]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let venv = std::env::var_os("FIRMSEAL_VENV").map_or_else(|| root.join("target/venv"), PathBuf::from);
    let mut judge = Command::new(venv.join("bin/python3"))
        .arg(root.join("crates/testkit/judges/lms.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judges are missing: run `cargo xtask setup`");
    let mut input = judge.stdin.take().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let cases: String =
        cases.iter().map(|(key, text, sign)| format!("{} {} {}\n", hex(key), hex(text), hex(sign))).collect();
    let writer = std::thread::spawn(move || input.write_all(cases.as_bytes()).unwrap());
    let output = judge.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_key_file_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let key = made(&path, set(11, 7));
    assert_eq!(key.public_key().algorithm().to_string(), "lms-sha256-192-h10-w4");
    wait(conformance::run(&key));
    conformance::run_threads(&key, 4);
    let again = FileKey::open(&path, &passphrase()).unwrap();
    assert_eq!((again.public_key(), again.log()), (key.public_key(), Some("memory")));
    let shown = format!("{key:?}");
    assert!(shown.contains("lms-sha256-192-h10-w4") && shown.len() < 300, "{shown}");
}

/// Every set, both hashes and all widths.
#[test]
fn other_peoples_code_accepts_ours_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut cases, mut expected) = (Vec::new(), Vec::new());
    for (tree, chains) in [(5, 1), (5, 2), (5, 3), (5, 4), (10, 5), (10, 6), (10, 7), (10, 8), (6, 2)] {
        let key = made(&dir.path().join(format!("{tree}-{chains}.pem")), set(tree, chains));
        let public = key.public_key().bits();
        for message in [Vec::new(), b"firmware".to_vec(), vec![0xa5; 1000]] {
            let tbs = Tbs::Message(message.clone());
            let logged = wait(covering(&MemoryLog::default(), key.public_key(), &tbs));
            let signature = wait(key.sign(logged, tbs)).unwrap().0;
            let mut bent = signature.clone();
            bent[signature.len() / 2] ^= 1;
            cases.push((public.clone(), message.clone(), bent));
            cases.push((public.clone(), [&message[..], b"!"].concat(), signature.clone()));
            cases.push((public.clone(), message, signature));
            expected.extend(["bad", "bad", "good"]);
        }
    }
    assert_eq!(judged(&cases), expected);
}

/// A log of another name, which counts as this key's own does.
struct Elsewhere(MemoryLog);

impl Log for Elsewhere {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        self.0.append(leaf).await
    }

    fn name(&self) -> Option<String> {
        Some("elsewhere".to_owned())
    }

    async fn reserve(
        &self,
        leaf: &[u8],
        key: firmseal_manifest::KeyId,
    ) -> Result<firmseal_keys::Reserved, LogError> {
        self.0.reserve(leaf, key).await
    }
}

/// A log that counts nothing.
struct Plain(MemoryLog);

impl Log for Plain {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        self.0.append(leaf).await
    }
}

#[test]
fn no_leaf_signs_that_its_log_has_not_reserved() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) =
        (made(&dir.path().join("1.pem"), set(5, 3)), made(&dir.path().join("2.pem"), set(5, 3)));
    let tbs = Tbs::Message(b"firmware".to_vec());
    let both = {
        let mut intent = intent(Purpose::Artifact, tbs.fingerprint(), one.public_key());
        intent.keys.push(other.public_key().id());
        intent
    };
    let refused = |answer| assert!(matches!(answer, Err(SignError::NoLeaf(_))), "{answer:?}");
    // Logged as for any other key.
    let logged = wait(Logged::append(&MemoryLog::default(), both.clone())).unwrap();
    refused(wait(one.sign(logged, tbs.clone())));
    // Reserved for another key that the intent names as well.
    let logged = wait(Logged::append_for(&MemoryLog::default(), both.clone(), other.public_key())).unwrap();
    refused(wait(one.sign(logged, tbs.clone())));
    // Reserved by another log.
    let elsewhere = Elsewhere(MemoryLog::default());
    let logged = wait(Logged::append_for(&elsewhere, both.clone(), one.public_key())).unwrap();
    refused(wait(one.sign(logged, tbs.clone())));
    // A log that counts no leaves.
    let plain = Plain(MemoryLog::default());
    let error = wait(Logged::append_for(&plain, both.clone(), one.public_key())).unwrap_err();
    assert!(matches!(error, LogError::Leaf(LeafError::NotCounted)), "{error}");
    // And as it should be.
    let logged = wait(Logged::append_for(&MemoryLog::default(), both, one.public_key())).unwrap();
    assert!(logged.leaf().is_some());
    wait(one.sign(logged, tbs)).unwrap();
}

#[test]
fn a_key_is_made_for_a_log_that_has_taken_it_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let without = FileKey::generate(&path, KeyAlgorithm::Lms(set(5, 4)), &passphrase());
    assert!(matches!(without, Err(KeysError::NeedsLog)));
    let plain = Plain(MemoryLog::default());
    let plain = wait(FileKey::generate_lms(&path, set(5, 4), &passphrase(), &plain, true));
    assert!(matches!(plain, Err(KeysError::NeedsLog)));
    assert!(!path.exists());
    let log = MemoryLog::default();
    let key = wait(FileKey::generate_lms(&path, set(5, 4), &passphrase(), &log, false)).unwrap();
    let entry = LmsEntry::Key { key: key.public_key().id(), leaves: 32, watched: false };
    assert_eq!(log.leaves(), [entry.encode()]);
    let again = wait(FileKey::generate_lms(&path, set(5, 4), &passphrase(), &log, false));
    assert!(matches!(again, Err(KeysError::Exists(_))));
    assert_eq!(log.leaves().len(), 1, "nothing was logged for a key that is not made");
}
