//! Two hosts that hold the same key, and what becomes of either.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firmseal_fleet::Environment;
use firmseal_keyhost::{ConnectError, HostFault, HostedKey};
use firmseal_keys::conformance::{covering, intent};
use firmseal_keys::{Log, SignError, Signer, verify};
use firmseal_manifest::{Purpose, Signature, Tbs};
use firmseal_store_local::IntentLog;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::ALL;
use crate::room::{Room, client_certificate, copy, open_at, server_certificate};

/// Half of it is one host's, and how often each is looked at. Machines that
/// stall for seconds take nobody for away.
const DEADLINE: Duration = Duration::from_secs(12);

fn message(number: usize) -> Tbs {
    Tbs::Message(format!("firmware {number}").into_bytes())
}

async fn sign(room: &Room, key: &HostedKey, tbs: &Tbs) -> Result<Signature, SignError> {
    let logged = covering(&room.log, key.public_key(), tbs).await;
    let signature = key.sign(logged, tbs.clone()).await?;
    verify(key.public_key(), tbs, &signature).unwrap();
    Ok(signature)
}

/// Which of the hosts are away, as their key has it.
fn away(key: &HostedKey) -> Vec<bool> {
    Signer::places(key).iter().map(|place| place.away.is_some()).collect()
}

async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A wire to a host, which can be cut in the middle of anything.
struct Wire {
    address: SocketAddr,
    carries: JoinHandle<()>,
}

impl Wire {
    async fn to(host: SocketAddr) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let carries = tokio::spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                pairs.spawn(async move {
                    let mut far = TcpStream::connect(host).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Wire { address, carries }
    }

    /// A port where nothing is ever answered.
    async fn dead() -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let carries = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(accepted) = listener.accept().await {
                held.push(accepted);
            }
        });
        Wire { address, carries }
    }

    fn cut(self) {
        self.carries.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_lost_under_load_and_each_request_ends_in_a_signature() {
    let one = Arc::new(Room::new());
    let other = one.beside();
    let (first, second) = (one.serve(&ALL).await, other.serve(&ALL).await);
    let wire = Wire::to(first.address()).await;
    let key = open_at(&one, &[wire.address, second.address()], &one.log, DEADLINE).await.unwrap();
    let key = Arc::new(key);
    let mut asked = JoinSet::new();
    let ask = |asked: &mut JoinSet<()>, number| {
        let (room, key) = (one.clone(), key.clone());
        asked.spawn(async move {
            let mut attempts = 1;
            // Under another entry each time, as jobs are.
            while let Err(error) = sign(&room, &key, &message(number)).await {
                assert!(matches!(error, SignError::Unavailable(_)), "{error}");
                attempts += 1;
                assert!(attempts < 4, "{error}");
            }
        });
    };
    // The first of them are signed, others are on their way, and more come.
    (0..20).for_each(|number| ask(&mut asked, number));
    for _ in 0..10 {
        asked.join_next().await.unwrap().unwrap();
    }
    wire.cut();
    for number in 20..60 {
        ask(&mut asked, number);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    soon("the first is missed", || away(&key) == [true, false]).await;
    first.shutdown().await;
    second.shutdown().await;
    // Nothing was asked for twice under one entry of the log.
    let mut entries: HashMap<Vec<u8>, i64> = HashMap::new();
    for entry in one.log.read(0, 1000).await.unwrap() {
        *entries.entry(entry.leaf).or_default() += 1;
    }
    let mut used = Vec::new();
    for room in [&*one, &other] {
        let uses = IntentLog::open(&room.path("uses/log")).unwrap();
        used.push(uses.len());
        for entry in uses.read(0, 1000).await.unwrap() {
            *entries.get_mut(&entry.leaf).unwrap() -= 1;
        }
    }
    assert!(entries.values().all(|left| *left >= 0), "{entries:?}");
    assert!(used.iter().all(|uses| *uses > 0) && used.iter().sum::<u64>() >= 60, "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_while_both_are_away_and_go_on_with_whichever_is_back() {
    let one = Room::new();
    let other = one.beside();
    let (first, second) = (one.serve(&ALL).await, other.serve(&ALL).await);
    let (here, there) = (first.address(), second.address());
    let key = open_at(&one, &[here, there], &one.log, DEADLINE).await.unwrap();
    sign(&one, &key, &message(0)).await.unwrap();
    first.shutdown().await;
    // The very first that finds nobody there is signed by the other.
    sign(&one, &key, &message(1)).await.unwrap();
    assert_eq!(away(&key), [true, false]);
    key.ready().await.unwrap();
    second.shutdown().await;
    let error = sign(&one, &key, &message(2)).await.unwrap_err();
    let named = [here, there].iter().all(|address| error.to_string().contains(&address.port().to_string()));
    assert!(matches!(error, SignError::Unavailable(_)) && named, "{error}");
    assert!(matches!(key.ready().await, Err(SignError::Unavailable(_))));
    let second = other.serve_on(there.port(), &ALL).await;
    sign(&one, &key, &message(3)).await.unwrap();
    // Nobody asks for anything, and the one that is back is found all the same.
    let first = one.serve_on(here.port(), &ALL).await;
    soon("the first is back", || away(&key) == [false, false]).await;
    second.shutdown().await;
    sign(&one, &key, &message(4)).await.unwrap();
    soon("nobody needs the second, and it is missed", || away(&key) == [false, true]).await;
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_leaves_time_for_the_other() {
    let one = Room::new();
    let listener = one.serve(&ALL).await;
    let dead = Wire::dead().await;
    let key = open_at(&one, &[dead.address, listener.address()], &one.log, DEADLINE).await.unwrap();
    assert_eq!(away(&key), [true, false]);
    sign(&one, &key, &message(0)).await.unwrap();
    listener.shutdown().await;
    let nobody = open_at(&one, &[dead.address], &one.log, DEADLINE).await.unwrap_err();
    assert!(matches!(nobody, ConnectError::NoAnswer(_)), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_different_keys_or_environments_are_no_pair() {
    let one = Room::new();
    let mut other = one.beside();
    let first = one.serve(&ALL).await;
    other.new_key();
    let second = other.serve(&ALL).await;
    let both = [first.address(), second.address()];
    let error = open_at(&one, &both, &one.log, DEADLINE).await.unwrap_err();
    assert!(matches!(error, ConnectError::Different { .. }), "{error}");
    let named = both.iter().all(|address| error.to_string().contains(&address.port().to_string()));
    assert!(named && error.to_string().contains("`release`"), "{error}");
    second.shutdown().await;

    std::fs::copy(one.path("key.pem"), other.path("key.pem")).unwrap();
    other.environment = Environment::Production;
    let second = other.serve(&ALL).await;
    let error = open_at(&one, &[both[0], second.address()], &one.log, DEADLINE).await.unwrap_err();
    let production = HostFault::Environment(Environment::Production);
    assert_eq!(
        error.to_string(),
        format!("the key host https://localhost:{} {production}", second.address().port())
    );
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_with_another_key_is_not_asked() {
    let one = Room::new();
    let other = one.beside();
    let (first, second) = (one.serve(&ALL).await, other.serve(&ALL).await);
    let (here, there) = (first.address(), second.address());
    let key = open_at(&one, &[here, there], &one.log, DEADLINE).await.unwrap();
    first.shutdown().await;
    sign(&one, &key, &message(0)).await.unwrap();
    one.new_key();
    let first = one.serve_on(here.port(), &ALL).await;
    second.shutdown().await;
    let error = sign(&one, &key, &message(1)).await.unwrap_err();
    let why = error.to_string();
    assert!(matches!(error, SignError::Unavailable(_)) && why.contains("another key"), "{why}");
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_on_either_side_makes_a_host_away_for_good() {
    let one = Room::new();
    let first = one.serve(&ALL).await;
    // One that shows a certificate of its own, and one that lets another
    // server in.
    let impostor = one.beside_with(server_certificate(), client_certificate());
    let mut stranger = one.beside_with(server_certificate(), client_certificate());
    stranger.server =
        firmseal_server::Pair { certificate: one.server.certificate.clone(), key: one.server.key.clone() };
    for (name, text) in [("server.pem", &one.server.certificate), ("server.key", &one.server.key)] {
        std::fs::write(stranger.path(name), text).unwrap();
    }
    let (second, third) = (impostor.serve(&ALL).await, stranger.serve(&ALL).await);
    let all = [second.address(), third.address(), first.address()];
    let key = open_at(&one, &all, &one.log, DEADLINE).await.unwrap();
    assert_eq!(away(&key), [true, true, false]);
    sign(&one, &key, &message(0)).await.unwrap();
    first.shutdown().await;
    let error = sign(&one, &key, &message(1)).await.unwrap_err();
    assert!(matches!(error, SignError::Unavailable(_)), "{error}");
    second.shutdown().await;
    third.shutdown().await;
    for room in [&impostor, &stranger] {
        assert_eq!(IntentLog::open(&room.path("uses/log")).unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_asked_when_one_knows_another_history() {
    let one = Room::new();
    let other = one.beside();
    let (first, second) = (one.serve(&ALL).await, other.serve(&ALL).await);
    // Somebody shows the first what the log never had.
    copy(&one.path("log"), &one.path("backup"));
    let forged = IntentLog::open(&one.path("backup/intents")).unwrap();
    let key = open_at(&one, &[first.address()], &forged, DEADLINE).await.unwrap();
    let logged = covering(&forged, key.public_key(), &message(7)).await;
    key.sign(logged, message(7)).await.unwrap();

    let key = open_at(&one, &[first.address(), second.address()], &one.log, DEADLINE).await.unwrap();
    let announced = intent(Purpose::Artifact, message(1).fingerprint(), key.public_key());
    one.log.append(&announced.encode()).await.unwrap();
    one.log.checkpoint().await.unwrap();
    for number in 1..3 {
        let error = sign(&one, &key, &message(number)).await.unwrap_err();
        let why = error.to_string();
        assert!(matches!(error, SignError::Unfit(_)) && why.contains("another history"), "{why}");
    }
    assert!(matches!(key.ready().await, Err(SignError::Unfit(_))));
    first.shutdown().await;
    // It being away does not make it untrue.
    let error = sign(&one, &key, &message(3)).await.unwrap_err();
    assert!(matches!(error, SignError::Unavailable(_)), "{error}");
    second.shutdown().await;
    assert_eq!(IntentLog::open(&other.path("uses/log")).unwrap().len(), 0);
}
