//! LMS keys and the log that counts their leaves: killed at random moments,
//! opened twice, cut, copied and restored, no leaf ever signs two messages.
//!
//! `FIRMSEAL_KILLS` sets how often (25), `FIRMSEAL_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firmseal_core::lms::Parameters;
use firmseal_keys::{FileKey, LeafError, Log, LogError, Logged, Secret, SignError, Signer};
use firmseal_manifest::{Digest, Intent, LmsEntry, Purpose, Signature, Tbs};
use firmseal_store_local::IntentLog;

const INTO: &str = "FIRMSEAL_SIGN_INTO";

fn passphrase() -> Secret {
    Secret::new(b"correct horse".to_vec())
}

fn open(dir: &Path) -> (IntentLog, FileKey) {
    let log = IntentLog::open(&dir.join("intents.log")).unwrap();
    (log, FileKey::open(&dir.join("key.pem"), &passphrase()).unwrap())
}

/// A log and a key that was made for it.
async fn make(dir: &Path, height: u32, watched: bool) -> (IntentLog, FileKey) {
    let log = IntentLog::open(&dir.join("intents.log")).unwrap();
    let set = Parameters::from_codes(9 + height / 5, 6).unwrap();
    let key = FileKey::generate_lms(&dir.join("key.pem"), set, &passphrase(), &log, watched).await.unwrap();
    (log, key)
}

fn intent(key: &FileKey, tbs: &Tbs) -> Intent {
    Intent {
        purpose: Purpose::Artifact,
        subject: tbs.fingerprint(),
        keys: vec![key.public_key().id()],
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    }
}

/// Signs a message, and returns which leaf signed.
async fn sign(log: &impl Log, key: &FileKey, message: &[u8]) -> Result<u32, LogError> {
    let tbs = Tbs::Message(message.to_vec());
    let logged = Logged::append_for(log, intent(key, &tbs), key.public_key()).await?;
    Ok(leaf(&key.sign(logged, tbs).await.unwrap()))
}

/// The leaf of a signature that left (RFC 8554 §5.4).
fn leaf(signature: &Signature) -> u32 {
    u32::from_be_bytes(signature.0[4..8].try_into().unwrap())
}

/// Signs from several tasks until somebody kills it; a line for every
/// signature that left, none for the others.
#[test]
fn signer() {
    let Some(dir) = std::env::var_os(INTO) else { return };
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let (log, key) = open(dir);
    let round = std::env::var("FIRMSEAL_ROUND").unwrap();
    runtime.block_on(async {
        let signing = (0..4).map(|task| {
            let (log, key, round) = (&log, &key, &round);
            async move {
                for number in 0.. {
                    let message = format!("{round}-{task}-{number}");
                    let Ok(leaf) = sign(log, key, message.as_bytes()).await else { return };
                    // Whole lines: a kill cuts none in two.
                    std::io::stdout().write_all(format!("signed {leaf} {message}\n").as_bytes()).unwrap();
                }
            }
        });
        futures_util::future::join_all(signing).await;
    });
}

#[tokio::test]
async fn killed_at_any_moment_no_leaf_signs_twice() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(25);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("FIRMSEAL_SEED").unwrap_or(clock) | 1;
    eprintln!("{kills} kills, FIRMSEAL_SEED={seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let dir = tempfile::tempdir().unwrap();
    let (log, key) = make(dir.path(), 10, false).await;
    drop(log);
    let mut signed = BTreeMap::new();
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["signer", "--exact", "--nocapture", "--test-threads=1"])
            .env(INTO, dir.path())
            .env("FIRMSEAL_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut take = |line: String| {
            // The harness prints the test's name before the first.
            let Some((_, line)) = line.split_once("signed ") else { return };
            let (leaf, message) = line.split_once(' ').unwrap();
            let before = signed.insert(leaf.parse::<u32>().unwrap(), message.to_owned());
            assert_eq!(before, None, "leaf {leaf} signed {message} as well");
        };
        // One time in eight while it opens, otherwise after some.
        let enough = if random(8) == 0 { 0 } else { 1 + random(6) };
        for line in lines.by_ref().take(enough as usize) {
            take(line);
        }
        let until = Instant::now() + Duration::from_micros(random(8_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(take);
    }
    eprintln!("{} signatures left", signed.len());
    assert!(signed.len() as u64 > kills, "the signer got nowhere");
    // The log knows of every one, and more: those that were cut off.
    let (log, again) = open(dir.path());
    let taken = sign(&log, &again, b"the next").await.unwrap();
    assert!(signed.keys().all(|leaf| *leaf < taken));
    let mut reserved = Vec::new();
    let mut from = 0;
    while from < log.len() {
        for entry in log.read(from, 1000).await.unwrap() {
            from = entry.index + 1;
            if let Some(LmsEntry::Leaf { key: of, leaf }) = LmsEntry::decode(&entry.leaf) {
                assert_eq!(of, key.public_key().id());
                reserved.push(leaf);
            }
        }
    }
    assert_eq!(reserved, (0..=taken).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test]
async fn leaves_end_and_the_last_one_signs() {
    let dir = tempfile::tempdir().unwrap();
    let (log, key) = make(dir.path(), 5, false).await;
    for number in 0..32 {
        let tbs = Tbs::Message(vec![number]);
        let logged = Logged::append_for(&log, intent(&key, &tbs), key.public_key()).await.unwrap();
        let reserved = logged.leaf().unwrap().reserved();
        assert_eq!((reserved.left(), reserved.is_late()), (31 - u32::from(number), number > 27));
        assert_eq!(leaf(&key.sign(logged, tbs).await.unwrap()), u32::from(number));
    }
    let before = log.len();
    let Err(LogError::Leaf(error)) = sign(&log, &key, b"one more").await else { panic!() };
    assert_eq!(error, LeafError::Exhausted { key: key.public_key().id(), leaves: 32 });
    assert_eq!(log.len(), before, "nothing was logged for it");
    let shown = IntentLog::leaves_at(&dir.path().join("intents.log"), &key.public_key().id()).unwrap();
    assert_eq!(shown.map(|leaves| leaves.left()), Some(0), "seen while the log is open");
    // Nor after a start.
    drop(log);
    let (log, key) = open(dir.path());
    assert!(matches!(sign(&log, &key, b"x").await, Err(LogError::Leaf(LeafError::Exhausted { .. }))));
}

#[tokio::test]
async fn another_log_and_one_that_begins_anew_give_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, key) = make(dir.path(), 5, false).await;
    sign(&log, &key, b"a").await.unwrap();
    // A log that never saw the key.
    let other = IntentLog::open(&dir.path().join("other.log")).unwrap();
    let Err(LogError::Leaf(LeafError::Stranger(_))) = sign(&other, &key, b"b").await else { panic!() };
    assert_eq!(other.len(), 0);
    // One that was told of it by mistake: the key itself says no.
    let entry = LmsEntry::Key { key: key.public_key().id(), leaves: 32, watched: false };
    other.append(&entry.encode()).await.unwrap();
    let tbs = Tbs::Message(b"b".to_vec());
    let logged = Logged::append_for(&other, intent(&key, &tbs), key.public_key()).await.unwrap();
    assert!(matches!(key.sign(logged, tbs).await, Err(SignError::NoLeaf(_))));
    // The log's own key with nothing behind it: begun anew, it knows no key.
    drop(log);
    std::fs::remove_file(dir.path().join("intents.log")).unwrap();
    std::fs::remove_dir_all(dir.path().join("intents.tiles")).unwrap();
    let (log, key) = open(dir.path());
    assert!(matches!(sign(&log, &key, b"c").await, Err(LogError::Leaf(LeafError::Stranger(_)))));
}

#[tokio::test]
async fn of_two_processes_one_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, key) = make(dir.path(), 5, false).await;
    assert!(IntentLog::open(&dir.path().join("intents.log")).is_err(), "a second sequencer is refused");
    let first = sign(&log, &key, b"a").await.unwrap();
    drop(log);
    let path = dir.path().join("intents.log");
    let whole = std::fs::metadata(&path).unwrap().len();
    let (log, key) = open(dir.path());
    // Reserved, and the process ends before the key is asked.
    let tbs = Tbs::Message(b"b".to_vec());
    let logged = Logged::append_for(&log, intent(&key, &tbs), key.public_key()).await.unwrap();
    drop((logged, log));
    assert!(std::fs::metadata(&path).unwrap().len() > whole);
    let (log, key) = open(dir.path());
    assert_eq!(sign(&log, &key, b"c").await.unwrap(), first + 2, "the leaf between is lost");
}

#[tokio::test]
async fn a_key_for_witnesses_does_not_sign_without() {
    let dir = tempfile::tempdir().unwrap();
    let (log, key) = make(dir.path(), 5, true).await;
    let Err(LogError::Leaf(LeafError::Unwatched(_))) = sign(&log, &key, b"a").await else { panic!() };
    assert_eq!(log.len(), 1, "no leaf was spent");
}
