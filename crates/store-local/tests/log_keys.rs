//! The keys that a log signs its checkpoints with: Ed25519 and ML-DSA-44,
//! and ML-DSA-87 where somebody asked for it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use firmseal_keys::Log;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Checkpoint, Kind, Note, VerifierKey};

fn path(dir: &Path) -> PathBuf {
    dir.join("intents.log")
}

/// A log with an entry and a checkpoint, closed again.
async fn made(dir: &Path) -> Vec<VerifierKey> {
    let log = IntentLog::open(&path(dir)).unwrap();
    log.append(b"an entry").await.unwrap();
    log.verifiers().to_vec()
}

fn published(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("intents.tiles/checkpoint")).unwrap()
}

fn size(bytes: &[u8], keys: &[VerifierKey]) -> Result<u64, firmseal_tlog::Error> {
    Checkpoint::open_all(bytes, keys, keys[0].name()).map(|(checkpoint, _)| checkpoint.size)
}

fn kinds(keys: &[VerifierKey]) -> Vec<Kind> {
    keys.iter().map(VerifierKey::kind).collect()
}

/// What `cryptography` says about each key's line.
fn judged(dir: &Path, keys: &[VerifierKey]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let venv = std::env::var_os("FIRMSEAL_VENV").map_or_else(|| root.join("target/venv"), PathBuf::from);
    let output = Command::new(venv.join("bin/python3"))
        .arg(root.join("crates/tlog/judges/checkpoint.py"))
        .arg(dir.join("intents.tiles/checkpoint"))
        .args(keys.iter().map(ToString::to_string))
        .output()
        .expect("the judges are missing: run `cargo xtask setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn checkpoints_carry_every_key_and_others_verify_them() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path()).await;
    assert_eq!(kinds(&keys), [Kind::Ed25519, Kind::MlDsa44]);
    assert_eq!(keys[0].name(), keys[1].name(), "both under the log's origin");
    let bytes = published(dir.path());
    assert_eq!(size(&bytes, &keys), Ok(1));
    let verified = Note::parse(&bytes).unwrap();
    let times: Vec<_> = verified.verify(&keys).unwrap().iter().map(|verified| verified.time).collect();
    assert!(times[0].is_none() && times[1].is_some_and(|time| time > 1_700_000_000), "{times:?}");
    assert_eq!(judged(dir.path(), &keys), ["0x01 good", "0x06 good"]);
    assert_eq!(IntentLog::keys_at(&path(dir.path())).unwrap(), keys);

    let third = IntentLog::add_ml_dsa_87(&path(dir.path())).unwrap();
    assert!(IntentLog::add_ml_dsa_87(&path(dir.path())).is_err(), "once");
    let log = IntentLog::open(&path(dir.path())).unwrap();
    let all = log.verifiers().to_vec();
    assert_eq!((kinds(&all)[2], &all[..2], &all[2]), (Kind::MlDsa87, &keys[..], &third));
    // The tree is what it was; the checkpoint is signed anew.
    assert_eq!(size(&log.checkpoint().await.unwrap(), &all), Ok(1));
    assert_eq!(judged(dir.path(), &all), ["0x01 good", "0x06 good", "0xff good"]);
    assert!(IntentLog::add_ml_dsa_87(&path(dir.path())).is_err(), "the log is open");

    // A bit of each line, as others and as we see it.
    let bytes = published(dir.path());
    for (number, kind) in ["0x01", "0x06", "0xff"].into_iter().enumerate() {
        let mut text = String::from_utf8(bytes.clone()).unwrap();
        let line = text.lines().nth(4 + number).unwrap().to_owned();
        let at = line.len() - 20;
        let other = if line.as_bytes()[at] == b'A' { "B" } else { "A" };
        text = text.replace(&line, &format!("{}{other}{}", &line[..at], &line[at + 1..]));
        assert!(size(text.as_bytes(), &all).is_err());
        std::fs::write(dir.path().join("intents.tiles/checkpoint"), text).unwrap();
        let said = judged(dir.path(), &all);
        assert_eq!(said[number], format!("{kind} bad"));
        assert_eq!(said.iter().filter(|said| said.ends_with("good")).count(), 2);
    }
}

#[tokio::test]
async fn a_log_of_before_gets_the_second_key_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path()).await;
    // As a log is that was made with one key.
    let beside = dir.path().join("intents.ml-dsa-44.key");
    std::fs::remove_file(&beside).unwrap();
    let note = Note::parse(&published(dir.path())).unwrap();
    let note = note.retained(|line| line.id() == keys[0].id());
    std::fs::write(dir.path().join("intents.tiles/checkpoint"), note.to_string()).unwrap();
    let old = IntentLog::keys_at(&path(dir.path())).unwrap();
    assert_eq!(old, keys[..1]);

    let log = IntentLog::open(&path(dir.path())).unwrap();
    assert_eq!(log.verifier(), &keys[0], "the log is the same");
    assert_ne!(log.verifiers(), keys, "the second key is a new one");
    let now = log.verifiers().to_vec();
    assert_eq!(size(&log.checkpoint().await.unwrap(), &now), Ok(1), "without an entry more");
    log.append(b"another").await.unwrap();
    drop(log);
    assert_eq!(size(&published(dir.path()), &now), Ok(2));
}

#[tokio::test]
async fn a_second_key_that_was_used_and_is_gone_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let beside = dir.path().join("intents.ml-dsa-44.key");
    let kept = std::fs::read(&beside).unwrap();
    std::fs::remove_file(&beside).unwrap();
    let error = IntentLog::open(&path(dir.path())).map(drop).unwrap_err().to_string();
    assert!(error.contains("intents.ml-dsa-44.key is gone"), "{error}");
    assert!(!beside.exists());
    std::fs::write(&beside, kept).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&beside, mode).unwrap();
    IntentLog::open(&path(dir.path())).unwrap();
    // One of another log is none of this one.
    let other = tempfile::tempdir().unwrap();
    made(other.path()).await;
    std::fs::copy(other.path().join("intents.ml-dsa-44.key"), &beside).unwrap();
    assert!(IntentLog::open(&path(dir.path())).is_err());
}
