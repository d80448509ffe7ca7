//! The published intent log: what lies in its directory, what it proves,
//! and that neither a kill nor half a backup makes it fork.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firmseal_keys::Log;
use firmseal_manifest::Digest;
use firmseal_store::StoreError;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{
    Checkpoint, Edge, Tile, VerifierKey, decode_bundle, leaf_hash, verify_consistency, verify_inclusion,
    written,
};

const INTO: &str = "FIRMSEAL_LOG_INTO";

fn leaf(number: u64) -> Vec<u8> {
    format!("intent {number} {}", "x".repeat(number as usize % 97)).into_bytes()
}

fn root(leaves: impl Iterator<Item = Vec<u8>>) -> Digest {
    let mut edge = Edge::new();
    leaves.for_each(|leaf| edge.push(leaf_hash(&leaf)));
    edge.root()
}

async fn grow(log: &IntentLog, to: u64) {
    let first = log.len();
    let appended = futures_util::future::join_all((first..to).map(|number| async move {
        assert_eq!(log.append(&leaf(number)).await.unwrap(), number);
    }));
    appended.await;
}

fn read_checkpoint(bytes: &[u8], key: &VerifierKey) -> Checkpoint {
    Checkpoint::open(bytes, key, key.name()).unwrap().0
}

/// Reads the log as a client does that has nothing but the directory.
fn fetched(tiles: &Path, key: &VerifierKey) -> (Checkpoint, Vec<Vec<u8>>) {
    let checkpoint = read_checkpoint(&std::fs::read(tiles.join("checkpoint")).unwrap(), key);
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    let mut edge = Edge::new();
    for tile in written(0, checkpoint.size).filter(|tile| tile.level == 0) {
        let bundle = std::fs::read(tiles.join(tile.entries_path())).unwrap();
        let entries = decode_bundle(&bundle).unwrap();
        assert_eq!(entries.len() as u64, tile.width);
        for entry in entries {
            edge.push(leaf_hash(entry));
            leaves.push(entry.to_vec());
        }
    }
    assert_eq!((edge.size(), edge.root()), (checkpoint.size, checkpoint.root));
    for (tile, bytes) in edge.take() {
        assert_eq!(std::fs::read(tiles.join(tile.path())).unwrap(), bytes, "{}", tile.path());
    }
    (checkpoint, leaves)
}

#[tokio::test]
async fn the_directory_is_a_log_that_anybody_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let mut sizes = Vec::new();
    for size in [0, 1, 2, 255, 256, 257, 700] {
        let log = IntentLog::open(&path).unwrap();
        grow(&log, size).await;
        let bytes = log.checkpoint().await.unwrap();
        let (checkpoint, leaves) = fetched(log.tiles(), log.verifier());
        assert_eq!(checkpoint, read_checkpoint(&bytes, log.verifier()));
        assert_eq!(checkpoint.size, size);
        assert!(leaves.into_iter().eq((0..size).map(leaf)));
        sizes.push((size, checkpoint.root));
        for (old, old_root) in &sizes {
            let proof = log.consistency(*old, size).await.unwrap();
            verify_consistency(*old, size, &proof, old_root, &checkpoint.root).unwrap();
            for index in [0, old / 2, old.saturating_sub(1)].into_iter().filter(|index| index < old) {
                let proof = log.proof(index, *old).await.unwrap();
                verify_inclusion(&leaf_hash(&leaf(index)), index, *old, &proof, old_root).unwrap();
            }
        }
        for (index, beyond) in [(size, size), (0, size + 1), (0, u64::MAX), (u64::MAX, size)] {
            assert!(matches!(log.proof(index, beyond).await, Err(StoreError::NotFound { .. })));
        }
        assert!(matches!(log.consistency(size + 1, size).await, Err(StoreError::NotFound { .. })));
    }
    // Partial tiles are gone where the full one is there.
    let tiles = dir.path().join("intents.tiles");
    for (full, partial) in [("tile/0/000", true), ("tile/0/001", true), ("tile/0/002", false)] {
        assert_eq!(tiles.join(full).is_file(), partial);
        assert_eq!(tiles.join(format!("{full}.p")).exists(), !partial);
    }
    assert!(tiles.join("tile/1/000.p/2").is_file() && tiles.join("tile/entries/002.p/188").is_file());
}

#[tokio::test]
async fn whoever_waits_for_a_proof_has_it_published() {
    let dir = tempfile::tempdir().unwrap();
    let log = IntentLog::open(&dir.path().join("intents.log")).unwrap();
    grow(&log, 300).await;
    let mut waiting = tokio::task::JoinSet::new();
    for index in (0..300).rev() {
        let log = log.clone();
        waiting.spawn(async move { (index, log.prove(index).await.unwrap().unwrap()) });
    }
    for (index, proven) in waiting.join_all().await {
        let checkpoint = read_checkpoint(&proven.checkpoint, log.verifier());
        assert_eq!(checkpoint.size, proven.size);
        let leaf = leaf_hash(&leaf(index));
        verify_inclusion(&leaf, index, proven.size, &proven.path, &checkpoint.root).unwrap();
        // It is not only told to whoever asked.
        assert!(fetched(log.tiles(), log.verifier()).0.size >= proven.size);
    }
    assert_eq!(log.prove(300).await.unwrap(), None, "there is no such entry");
}

#[tokio::test]
async fn entries_are_published_when_the_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let log = IntentLog::open(&path).unwrap();
    grow(&log, 20).await;
    let (tiles, key) = (log.tiles().to_owned(), log.verifier().clone());
    drop(log);
    assert_eq!(fetched(&tiles, &key).0.size, 20);
}

/// The files of a log, to be put somewhere else.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

async fn published(size: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let log = IntentLog::open(&path).unwrap();
    grow(&log, size).await;
    log.checkpoint().await.unwrap();
    (dir, path)
}

#[tokio::test]
async fn a_log_without_tiles_gets_them() {
    let (dir, path) = published(600).await;
    let key = IntentLog::open(&path).unwrap().verifier().clone();
    std::fs::remove_dir_all(path.with_extension("tiles")).unwrap();
    // As left by a version that knew the file alone.
    let old = tempfile::tempdir().unwrap();
    std::fs::copy(&path, old.path().join("intents.log")).unwrap();
    let log = IntentLog::open(&old.path().join("intents.log")).unwrap();
    assert_ne!(log.verifier(), &key, "it has a key of its own");
    log.checkpoint().await.unwrap();
    let (checkpoint, leaves) = fetched(log.tiles(), log.verifier());
    assert_eq!((checkpoint.size, leaves.len()), (600, 600));
    // Lost tiles are made again, by the same key.
    let log = IntentLog::open(&path).unwrap();
    log.checkpoint().await.unwrap();
    assert_eq!(fetched(log.tiles(), &key).0.root, checkpoint.root);
    drop(dir);
}

#[tokio::test]
async fn half_a_backup_never_forks_the_log() {
    let (dir, path) = published(300).await;
    let refused = |why: &str| {
        let Err(StoreError::Corrupt { what }) = IntentLog::open(&path).map(drop) else { panic!("{why}") };
        assert!(what.contains(why), "{what}");
    };
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    let log = IntentLog::open(&path).unwrap();
    grow(&log, 310).await;
    drop(log);
    // The ledger of the backup beside the newer checkpoint.
    let newer = std::fs::read(&path).unwrap();
    std::fs::copy(before.path().join("intents.log"), &path).unwrap();
    refused("where its checkpoint names 310");
    // Another ledger, as long.
    std::fs::remove_file(&path).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = IntentLog::open(&elsewhere.path().join("intents.log")).unwrap();
    for number in 0..310 {
        other.append(&leaf(number + 1)).await.unwrap();
    }
    drop(other);
    std::fs::copy(elsewhere.path().join("intents.log"), &path).unwrap();
    refused("not the one that its checkpoint was made from");
    // The older checkpoint beside the newer ledger is how a kill leaves it.
    std::fs::write(&path, newer).unwrap();
    let tiles = path.with_extension("tiles");
    std::fs::copy(before.path().join("intents.tiles/checkpoint"), tiles.join("checkpoint")).unwrap();
    let log = IntentLog::open(&path).unwrap();
    log.checkpoint().await.unwrap();
    assert_eq!(fetched(log.tiles(), log.verifier()).0.root, root((0..310).map(leaf)));
    // A checkpoint by another key, and no key.
    drop(log);
    let own = std::fs::read(tiles.join("checkpoint")).unwrap();
    std::fs::copy(elsewhere.path().join("intents.tiles/checkpoint"), tiles.join("checkpoint")).unwrap();
    refused("no trusted key signed");
    std::fs::write(tiles.join("checkpoint"), own).unwrap();
    std::fs::remove_file(path.with_extension("key")).unwrap();
    refused("key");
}

#[tokio::test]
async fn a_second_sequencer_is_noticed_before_it_forks() {
    let (_dir, path) = published(5).await;
    let log = IntentLog::open(&path).unwrap();
    let own = log.checkpoint().await.unwrap();
    let file = path.with_extension("tiles").join("checkpoint");
    std::fs::write(&file, b"somebody else's").unwrap();
    log.append(b"next").await.unwrap();
    assert!(matches!(log.checkpoint().await, Err(StoreError::Conflict { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"somebody else's", "it was not written over");
    std::fs::write(&file, own).unwrap();
    assert_eq!(read_checkpoint(&log.checkpoint().await.unwrap(), log.verifier()).size, 6);
}

#[tokio::test]
async fn damaged_tiles_prove_nothing() {
    let (_dir, path) = published(300).await;
    let log = IntentLog::open(&path).unwrap();
    assert!(log.proof(3, 300).await.is_ok());
    let (first, above) = (Tile { level: 0, index: 0, width: 256 }, Tile { level: 1, index: 0, width: 1 });
    for (tile, index) in [(first, 3), (above, 270)] {
        let file = log.tiles().join(tile.path());
        let good = std::fs::read(&file).unwrap();
        for bad in [vec![0; good.len()], good[1..].to_vec(), Vec::new(), vec![0; 9000]] {
            std::fs::write(&file, bad).unwrap();
            assert!(
                matches!(log.proof(index, 300).await, Err(StoreError::Corrupt { .. })),
                "{}",
                tile.path()
            );
        }
        std::fs::write(&file, good).unwrap();
    }
    assert!(log.proof(270, 300).await.is_ok());
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = published(1).await;
    let key = path.with_extension("key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(matches!(IntentLog::open(&path).map(drop), Err(StoreError::Unavailable { .. })));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.starts_with("PRIVATE+KEY+firmseal.invalid/"), "as sumdb/note writes it");
    for bad in [text.replace("KEY+f", "KEY+g"), text.replacen('+', "-", 1), String::new(), "\u{e9}".repeat(9)]
    {
        std::fs::write(&key, &bad).unwrap();
        let Err(StoreError::Corrupt { what }) = IntentLog::open(&path).map(drop) else { panic!("{bad}") };
        assert!(!what.contains("PRIVATE"), "the secret is not in the error");
    }
}

/// What the child does until it is killed: appends, now and then asks for a
/// checkpoint, and says what it was told.
#[tokio::test]
async fn writer() {
    let Some(path) = std::env::var_os(INTO).map(PathBuf::from) else { return };
    let most: u64 = std::env::var("FIRMSEAL_LOG_MOST").unwrap().parse().unwrap();
    println!();
    let log = IntentLog::open(&path).unwrap();
    for number in 0..most {
        let leaf = format!("{}-{number}", log.len());
        let indexes =
            futures_util::future::join_all((0..1 + number % 5).map(|_| log.append(leaf.as_bytes())));
        for index in indexes.await {
            println!("ack {} {leaf}", index.unwrap());
        }
        if number % 3 == 0 {
            let checkpoint = read_checkpoint(&log.checkpoint().await.unwrap(), log.verifier());
            println!("checkpoint {} {}", checkpoint.size, checkpoint.root);
        }
    }
}

/// Everything that was said to anybody, of one log.
#[derive(Default)]
struct Told {
    acks: BTreeMap<u64, String>,
    checkpoints: BTreeMap<u64, String>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (kind, map) = match words[..] {
            ["ack", index, leaf] => ((index, leaf), &mut self.acks),
            // A kill in the middle of a line leaves one that says less.
            ["checkpoint", size, root] if root.len() == 64 => ((size, root), &mut self.checkpoints),
            _ => return,
        };
        let old = map.insert(kind.0.parse().unwrap(), kind.1.to_owned());
        assert!(old.is_none_or(|old| old == kind.1), "two answers for {}", kind.0);
    }

    /// Opens the log again, and checks it against all that was said.
    async fn check(&mut self, path: &Path) {
        let tiles = path.with_extension("tiles");
        let left = std::fs::read(tiles.join("checkpoint")).ok();
        let log = IntentLog::open(path).unwrap();
        // What a client could have fetched at the moment of the kill.
        if let Some(left) = left {
            let checkpoint = read_checkpoint(&left, log.verifier());
            self.hear(&format!("checkpoint {} {}", checkpoint.size, checkpoint.root));
        }
        log.checkpoint().await.unwrap();
        let (last, leaves) = fetched(log.tiles(), log.verifier());
        assert_eq!(last.size, log.len());
        for (index, leaf) in &self.acks {
            assert_eq!(leaves[*index as usize], leaf.as_bytes(), "entry {index} is lost");
        }
        // One pass over the leaves gives every root there ever was.
        let (mut edge, mut own) = (Edge::new(), BTreeMap::from([(0, Edge::new().root())]));
        for leaf in &leaves {
            edge.push(leaf_hash(leaf));
            if self.checkpoints.contains_key(&edge.size()) {
                own.insert(edge.size(), edge.root());
            }
        }
        for (size, old) in &self.checkpoints {
            assert_eq!(own[size].to_string(), *old, "the log forked at {size}");
        }
        // The proofs of a few, spread over all.
        for size in self.checkpoints.keys().step_by(1 + self.checkpoints.len() / 16) {
            let proof = log.consistency(*size, last.size).await.unwrap();
            verify_consistency(*size, last.size, &proof, &own[size], &last.root).unwrap();
        }
    }
}

fn child(mut command: Command, path: &Path, most: u64) -> std::process::Child {
    command.args(["--exact", "writer", "--nocapture", "--test-threads", "1"]);
    command.env(INTO, path).env("FIRMSEAL_LOG_MOST", most.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_and_forks_nothing() {
    let kills: u64 = std::env::var("FIRMSEAL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let mut told = Told::default();
    for round in 0..kills {
        let mut writer = child(Command::new(std::env::current_exe().unwrap()), &path, u64::MAX);
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // So many answers, then a kill wherever the child happens to be.
        for line in lines.by_ref().map_while(Result::ok).take(1 + (round * 37 % 60) as usize) {
            told.hear(&line);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // The last line may have been cut short: it was not said.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        rest[..whole].iter().for_each(|line| told.hear(line));
        told.check(&path).await;
    }
    assert!(told.acks.len() as u64 > kills, "the writer got nowhere");
    eprintln!("{} acknowledged, {} checkpoints, all there", told.acks.len(), told.checkpoints.len());
}

/// The same, at every system call that changes the disk, one after the
/// other. Without strace, or leave to trace, it says so and proves nothing.
#[tokio::test]
async fn a_kill_at_every_change_of_the_disk_forks_nothing() {
    let can_trace = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !can_trace.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: strace is missing or may not trace here");
    }
    let mut killed = 0;
    let calls = ["mkdir", "rename", "fsync", "fdatasync", "pwrite64", "write"];
    // Once each run begins a log; once it finds what the kill before left.
    for (call, fresh) in calls.iter().flat_map(|call| [(call, true), (call, false)]) {
        let (mut told, mut dir) = (Told::default(), tempfile::tempdir().unwrap());
        // strace counts the calls of each thread by itself.
        for at in 1.. {
            if fresh {
                (told, dir) = (Told::default(), tempfile::tempdir().unwrap());
            }
            let path = dir.path().join("intents.log");
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={at}")]);
            strace.arg(std::env::current_exe().unwrap());
            let output = child(strace, &path, 4).wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // Only lines that have their end.
            let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            lines.for_each(|line| told.hear(line));
            told.check(&path).await;
            if output.status.success() {
                break;
            }
            assert!(at < 200, "the writer never ends");
            killed += 1;
        }
    }
    assert!(killed > 30, "only {killed} kills");
    eprintln!("killed at {killed} changes of the disk");
}
