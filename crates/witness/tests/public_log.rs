//! A log with witnesses: what it takes before an entry counts, and that no
//! backup, copy or second process uses a key behind the witnesses' backs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};

use common::{Serving, add_key};
use firmseal_core::Digest;
use firmseal_keys::{Log, Logged};
use firmseal_manifest::{Intent, Purpose};
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
        let log = IntentLog::open(&Stage::path_in(dir.path())).unwrap().verifier().clone();
        let (mut homes, mut keys, mut serving) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            let home = dir.path().join(format!("w{number}"));
            keys.push(Witness::create(&home, &format!("w{number}.example")).unwrap());
            add_key(&home, &log);
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
        let witness = self.keys.iter().zip(addresses).map(|(key, address)| WitnessSettings {
            key: key.to_string(),
            url: format!("http://{address}"),
            authority: None,
        });
        let witness = witness.collect();
        let settings = QuorumSettings { quorum: 2, patience_seconds: patience, timeout_seconds: 5, witness };
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
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 1));
    let Err(ProofError::NoQuorum { have, need: 2, why }) = public.stand().await else { panic!() };
    assert!(have <= 1 && why.contains("w0.example") && why.contains("w2.example"), "{why}");
    let refused = Logged::append(&public, intent(0)).await.unwrap_err().to_string();
    assert!(refused.contains("so nothing was signed"), "{refused}");
    assert_eq!(public.status().size, 0, "the log did not grow");
    assert!(public.status().stands.is_err() && public.newest().is_none());
    // It comes back, and nobody restarts anything.
    stage.start(0, addresses[0]).await;
    while public.stand().await.is_err() {}
    Logged::append(&public, intent(0)).await.unwrap();
    assert!(public.status().stands.is_ok());
    // What was gathered is shown again after a start, before anybody was
    // asked; it opens nothing.
    let newest = public.newest().unwrap();
    public.close().await;
    drop(public);
    stage.stop(0).await;
    let public = PublicLog::watched(stage.log(), stage.quorum(&addresses, 1));
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
