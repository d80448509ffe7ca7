//! A log with witnesses: what it takes before an entry counts, and that no
//! backup, copy or second process uses a key behind the witnesses' backs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};

use common::{Serving, add_keys};
use firmseal_core::Digest;
use firmseal_core::lms::Parameters;
use firmseal_keys::{FileKey, LeafError, Log, LogError, Logged, Secret, Signer};
use firmseal_manifest::{Intent, Purpose, Tbs};
use firmseal_sign::{ProofError, Proofs};
use firmseal_store::StoreError;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Checkpoint, Note, VerifierKey, verify_inclusion};
use firmseal_witness::{PublicLog, Quorum, QuorumSettings, Witness, WitnessSettings};

fn intent(number: u8) -> Intent {
    Intent {
        purpose: Purpose::Release,
        subject: Digest([number; 32]),
        keys: Vec::new(),
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    }
}

/// Three witnesses of one log, and where they are.
struct Stage {
    dir: tempfile::TempDir,
    homes: Vec<PathBuf>,
    keys: Vec<VerifierKey>,
    serving: Vec<Option<Serving>>,
}

impl Stage {
    async fn new() -> Stage {
        let dir = tempfile::tempdir().unwrap();
        // Every key that it has: a witness then asks for the signature of each.
        let log = IntentLog::open(&Stage::path_in(dir.path())).unwrap().verifiers().to_vec();
        let (mut homes, mut keys, mut serving) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            let home = dir.path().join(format!("w{number}"));
            keys.push(Witness::create(&home, &format!("w{number}.example")).unwrap());
            add_keys(&home, &log);
            serving.push(Some(Serving::start(&home).await));
            homes.push(home);
        }
        Stage { dir, homes, keys, serving }
    }

    fn path_in(dir: &Path) -> PathBuf {
        std::fs::create_dir_all(dir.join("log")).unwrap();
        dir.join("log/intents.log")
    }

    fn log(&self) -> IntentLog {
        IntentLog::open(&Stage::path_in(self.dir.path())).unwrap()
    }

    fn quorum(&self, addresses: &[std::net::SocketAddr], patience: u64) -> Quorum {
        self.quorum_of(2, addresses, patience)
    }

    fn quorum_of(&self, quorum: usize, addresses: &[std::net::SocketAddr], patience: u64) -> Quorum {
        let witness = self.keys.iter().zip(addresses).map(|(key, address)| WitnessSettings {
            key: key.to_string(),
            url: format!("http://{address}"),
            authority: None,
        });
        let witness = witness.collect();
        let settings = QuorumSettings { quorum, patience_seconds: patience, timeout_seconds: 5, witness };
        Quorum::new(&settings, Path::new("")).unwrap()
    }

    fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.serving.iter().map(|serving| serving.as_ref().unwrap().address).collect()
    }

    async fn stop(&mut self, number: usize) {
        self.serving[number].take().unwrap().stop().await;
    }

    async fn start(&mut self, number: usize, address: std::net::SocketAddr) {
        self.serving[number] = Some(Serving::start_on(&self.homes[number], address).await);
    }
}

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

#[tokio::test]
async fn an_entry_counts_once_a_quorum_has_seen_it() {
    let mut stage = Stage::new().await;
    let addresses = stage.addresses();
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    public.stand().await.unwrap();
    for number in 0..3 {
        let logged = Logged::append(&public, intent(number)).await.unwrap();
        let proof = public.prove(logged.index()).await.unwrap();
        let leaf = logged.value().leaf_hash();
        let checkpoint = &proof.checkpoint;
        verify_inclusion(&leaf, proof.index, checkpoint.size, &proof.path, &checkpoint.hash).unwrap();
        assert!(checkpoint.cosignatures.len() >= 2 && checkpoint.size > logged.index());
        // What is published has the quorum.
        let newest = public.newest().unwrap();
        let note = Note::parse(newest.note().to_string().as_bytes()).unwrap();
        assert!(note.verify(&stage.keys).unwrap().len() >= 2);
        let (published, _) =
            Checkpoint::open(note.to_string().as_bytes(), public.verifier(), public.verifier().name())
                .unwrap();
        assert!(published.size > logged.index());
    }
    // Many at once are witnessed together.
    let appended = futures_util::future::join_all((10..90).map(|n| Logged::append(&public, intent(n)))).await;
    assert_eq!(appended.into_iter().map(|logged| logged.unwrap().index()).max(), Some(82));
    // One of three may be away.
    stage.stop(1).await;
    let logged = Logged::append(&public, intent(100)).await.unwrap();
    public.prove(logged.index()).await.unwrap();
    assert!(public.freshness(&public.newest().unwrap(), 7).await.unwrap().len() < 4096);
    // A proof for an entry of before is still there; one that is not there
    // is none.
    assert_eq!(public.prove(0).await.unwrap().index, 0);
    public.close().await;
}

#[tokio::test]
async fn without_a_quorum_nothing_counts_and_it_recovers_alone() {
    let mut stage = Stage::new().await;
    let addresses = stage.addresses();
    stage.stop(0).await;
    stage.stop(2).await;
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 3));
    let Err(ProofError::NoQuorum { have, need: 2, why }) = public.stand().await else { panic!() };
    assert!(have <= 1 && why.contains("w0.example") && why.contains("w2.example"), "{why}");
    let refused = Logged::append(&public, intent(0)).await.unwrap_err().to_string();
    assert!(refused.contains("so nothing was signed"), "{refused}");
    assert_eq!(public.status().size, 0, "the log did not grow");
    assert!(public.status().stands.is_err() && public.newest().is_none());
    // It comes back, and nobody restarts anything.
    stage.start(0, addresses[0]).await;
    while public.stand().await.is_err() {}
    while Logged::append(&public, intent(0)).await.is_err() {}
    assert!(public.status().stands.is_ok());
    // What was gathered is shown again after a start, before anybody was
    // asked; it opens nothing.
    let newest = public.newest().unwrap();
    public.close().await;
    drop(public);
    stage.stop(0).await;
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 3));
    assert_eq!(public.newest().unwrap().checkpoint(), newest.checkpoint());
    assert!(public.stand().await.is_err());
    public.close().await;
}

#[tokio::test]
async fn a_restored_backup_uses_no_key() {
    let stage = Stage::new().await;
    let addresses = stage.addresses();
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    Logged::append(&public, intent(0)).await.unwrap();
    public.close().await;
    drop(public);
    let (log, backup) = (stage.dir.path().join("log"), stage.dir.path().join("backup"));
    copy(&log, &backup);
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    Logged::append(&public, intent(1)).await.unwrap();
    let newest = public.newest().unwrap().size();
    public.close().await;
    drop(public);
    // The disk is lost, yesterday's backup is put back.
    std::fs::remove_dir_all(&log).unwrap();
    copy(&backup, &log);
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    let Err(ProofError::Forked { seen, .. }) = public.stand().await else { panic!() };
    assert_eq!(seen, newest);
    assert!(Logged::append(&public, intent(2)).await.is_err());
    assert_eq!(public.status().size, 1, "the log did not grow");
    assert!(public.status().stands.is_err());
    public.close().await;
    // Nor when it has grown to the same size some other way.
    drop(public);
    let bare = stage.log();
    bare.append(b"another history").await.unwrap();
    let public = PublicLog::watched(bare, stage.quorum(&addresses, 30));
    assert!(matches!(public.stand().await, Err(ProofError::Forked { .. })));
    public.close().await;
}

#[tokio::test]
async fn of_two_sequencers_one_signs() {
    let stage = Stage::new().await;
    let addresses = stage.addresses();
    // Two on one directory: the second does not get it.
    let log = stage.log();
    let second = IntentLog::open(&Stage::path_in(stage.dir.path())).map(drop);
    assert!(matches!(second, Err(StoreError::InUse { .. })));
    drop(log);
    // A copy of the directory, key and all, on another machine: both have
    // a quorum behind them when they begin.
    let copied = stage.dir.path().join("copy");
    copy(&stage.dir.path().join("log"), &copied);
    let one = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    let other = IntentLog::open(&copied.join("intents.log")).unwrap();
    let other = PublicLog::watched(other, stage.quorum(&addresses, 30));
    one.stand().await.unwrap();
    other.stand().await.unwrap();
    let (first, second) = tokio::join!(Logged::append(&one, intent(1)), Logged::append(&other, intent(2)));
    assert!(first.is_err() || second.is_err(), "both may use a key");
    // Whoever lost never gets one, and says why.
    let loser = if first.is_err() { &one } else { &other };
    assert!(matches!(loser.prove(0).await, Err(ProofError::Forked { .. })), "{:?}", loser.status());
    assert!(Logged::append(loser, intent(3)).await.is_err());
    one.close().await;
    other.close().await;
}

fn secret() -> Secret {
    Secret::new(b"correct horse".to_vec())
}

/// An LMS key that signs under witnesses only, in the log's directory.
async fn lms_key(log: &PublicLog, dir: &Path) -> FileKey {
    let set = Parameters::from_codes(10, 6).unwrap();
    FileKey::generate_lms(&dir.join("key.pem"), set, &secret(), log, true).await.unwrap()
}

/// Signs messages one after the other, and notes which leaf signed what of
/// those signatures that left.
async fn signing(log: &PublicLog, key: &FileKey, name: &str, left: &mut Vec<(u32, String)>) {
    for number in 0..3 {
        let message = format!("{name} {number}");
        let tbs = Tbs::Message(message.clone().into_bytes());
        let keys = vec![key.public_key().id()];
        let intent = Intent { purpose: Purpose::Artifact, subject: tbs.fingerprint(), keys, ..intent(0) };
        let Ok(logged) = Logged::append_for(log, intent, key.public_key()).await else { continue };
        let signature = key.sign(logged, tbs).await.unwrap();
        left.push((u32::from_be_bytes(signature.0[4..8].try_into().unwrap()), message));
    }
}

/// Sorted, and whether no leaf is there twice.
fn each_once(left: &mut [(u32, String)]) -> bool {
    left.sort();
    left.windows(2).all(|pair| pair[0].0 != pair[1].0)
}

#[tokio::test]
async fn a_restored_backup_repeats_no_lms_leaf() {
    let stage = Stage::new().await;
    let addresses = stage.addresses();
    let (log, backup) = (stage.dir.path().join("log"), stage.dir.path().join("backup"));
    let mut left = Vec::new();
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    let key = lms_key(&public, &log).await;
    signing(&public, &key, "before the backup", &mut left).await;
    public.close().await;
    drop(public);
    copy(&log, &backup);
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    signing(&public, &key, "after the backup", &mut left).await;
    assert_eq!(left.len(), 6);
    public.close().await;
    drop((public, key));
    // Log and key are put back as they were.
    std::fs::remove_dir_all(&log).unwrap();
    copy(&backup, &log);
    let key = FileKey::open(&log.join("key.pem"), &secret()).unwrap();
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    signing(&public, &key, "restored", &mut left).await;
    assert_eq!(left.len(), 6, "nothing is signed");
    public.close().await;
    drop(public);
    // Nor by leaving the witnesses out.
    let alone = PublicLog::alone(stage.log());
    signing(&alone, &key, "alone", &mut left).await;
    assert_eq!(left.len(), 6, "nothing is signed");
    assert!(each_once(&mut left), "{left:?}");
}

#[tokio::test]
async fn two_sequencers_by_mistake_repeat_no_lms_leaf() {
    let stage = Stage::new().await;
    let addresses = stage.addresses();
    let (log, copied) = (stage.dir.path().join("log"), stage.dir.path().join("copy"));
    let mut left = Vec::new();
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    let key = lms_key(&public, &log).await;
    signing(&public, &key, "before", &mut left).await;
    public.close().await;
    drop(public);
    copy(&log, &copied);
    let other_key = FileKey::open(&copied.join("key.pem"), &secret()).unwrap();
    let one = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    let other = IntentLog::open(&copied.join("intents.log")).unwrap();
    let other = PublicLog::watched(other, stage.quorum(&addresses, 30));
    let (mut by_one, mut by_other) = (Vec::new(), Vec::new());
    tokio::join!(
        signing(&one, &key, "one", &mut by_one),
        signing(&other, &other_key, "other", &mut by_other)
    );
    assert!(by_one.is_empty() || by_other.is_empty(), "{by_one:?} {by_other:?}");
    left.extend(by_one);
    left.extend(by_other);
    assert!(left.len() >= 3 && each_once(&mut left), "{left:?}");
    one.close().await;
    other.close().await;
}

/// Two quorums of one witness each may never meet: two copies of the log
/// could both find one.
#[tokio::test]
async fn where_no_majority_stands_behind_the_log_lms_does_not_sign() {
    let stage = Stage::new().await;
    let addresses = stage.addresses();
    let public = PublicLog::watched(stage.log(), stage.quorum_of(1, &addresses, 30));
    assert!(!public.has_majority());
    let key = lms_key(&public, &stage.dir.path().join("log")).await;
    let answer = Logged::append_for(&public, intent(0), key.public_key()).await;
    assert!(matches!(answer, Err(LogError::Leaf(LeafError::Unwatched(_)))), "{answer:?}");
    Logged::append(&public, intent(0)).await.unwrap();
    public.close().await;
}

#[tokio::test]
async fn a_witness_that_lies_stops_nobody() {
    use axum::routing::{get, post};
    let mut stage = Stage::new().await;
    let mut addresses = stage.addresses();
    // It says that it has seen more, and shows a checkpoint by a key of its
    // own.
    let forged = common::FakeLog::new("example.com/log", 9, "a").note(4000);
    let liar = axum::Router::new()
        .route(
            "/add-checkpoint",
            post(async || (http::StatusCode::CONFLICT, [("content-type", "text/x.tlog.size")], "4000\n")),
        )
        .route("/{log}/checkpoint", get(async move || forged.clone()));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    addresses[2] = socket.local_addr().unwrap();
    let lying = tokio::spawn(async move { axum::serve(socket, liar).await });
    stage.stop(2).await;
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 30));
    Logged::append(&public, intent(0)).await.unwrap();
    assert!(public.status().stands.is_ok());
    assert!(public.status().witnesses.iter().any(|(name, why)| name == "w2.example" && why.is_some()));
    public.close().await;
    lying.abort();
}

#[test]
fn quorums_that_cannot_be_met_are_refused() {
    let key = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        Witness::create(&dir.path().join("w"), name).unwrap().to_string()
    };
    let witness =
        |key: &str, url: &str| WitnessSettings { key: key.to_owned(), url: url.to_owned(), authority: None };
    let (a, b) = (key("a"), key("b"));
    let url = "http://127.0.0.1:1";
    for (quorum, witness, fine) in [
        (1, vec![witness(&a, url)], true),
        (2, vec![witness(&a, url), witness(&b, url)], true),
        (0, vec![witness(&a, url)], false),
        (2, vec![witness(&a, url)], false),
        (1, vec![witness(&a, url), witness(&a, url)], false),
        (1, vec![witness("x", url)], false),
        (1, vec![witness(&a, "ftp://x")], false),
        (1, vec![witness(&a, "https://x")], false),
        (1, Vec::new(), false),
    ] {
        let settings = QuorumSettings { quorum, patience_seconds: 1, timeout_seconds: 1, witness };
        assert_eq!(Quorum::new(&settings, Path::new("")).is_ok(), fine, "{settings:?}");
    }
}
