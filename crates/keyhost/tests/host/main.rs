//! A host and a server's side of it, over TLS, and whoever took the server
//! over.
#![allow(clippy::unwrap_used)]

mod pair;
mod room;

use std::path::Path;
use std::time::{Duration, SystemTime};

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{Environment, Time};
use firmseal_keyhost::service::{ROUTES, Route};
use firmseal_keyhost::{ConnectError, Connection, HostFault, Use};
use firmseal_keys::conformance::{covering, intent, run_under};
use firmseal_keys::{Log, Logged, SignError, Signer, verify};
use firmseal_keys_remote::Options;
use firmseal_manifest::{Purpose, Tbs};
use firmseal_outbound::Endpoint;
use firmseal_server::{create_client_certificate, create_device_ca};
use firmseal_store_local::IntentLog;
use firmseal_tlog::leaf_hash;
use serde_json::{Value, json};

use room::{Room, copy, open};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const ALL: [Use; 3] = [Use::Artifact, Use::Release, Use::Root];

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_key_is_a_signer_like_any_other() {
    let room = Room::new();
    let listener = room.serve(&ALL).await;
    let key = open(&room, listener.address(), &room.log).await.unwrap();
    run_under(&room.log, &key).await;
    listener.shutdown().await;
    // What was used stands in the host's own log as well: the conformance
    // suite's good requests, and none that was refused.
    let uses = IntentLog::open(&room.path("uses/log")).unwrap();
    assert!(uses.len() > 64, "{}", uses.len());
    let server: Vec<_> = room.log.read(0, 1000).await.unwrap().into_iter().map(|entry| entry.leaf).collect();
    for entry in uses.read(0, 1000).await.unwrap() {
        assert!(server.contains(&entry.leaf));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_host_is_not_noticed() {
    let room = Room::new();
    let tbs = Tbs::Message(b"firmware".to_vec());
    let mut listener = room.serve(&ALL).await;
    let port = listener.address().port();
    let key = open(&room, listener.address(), &room.log).await.unwrap();
    for _ in 0..3 {
        // Two that are announced before either is signed: the second proof
        // leads to a tree that the new process has not been shown.
        let first = covering(&room.log, key.public_key(), &tbs).await;
        let second = covering(&room.log, key.public_key(), &tbs).await;
        for intent in [first, second] {
            let signature = key.sign(intent, tbs.clone()).await.unwrap();
            verify(key.public_key(), &tbs, &signature).unwrap();
            listener.shutdown().await;
            listener = room.serve_on(port, &ALL).await;
        }
    }
    listener.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_log_announced_is_not_signed() {
    let room = Room::new();
    let listener = room.serve(&[Use::Release, Use::Artifact]).await;
    let address = listener.address();
    let key = open(&room, address, &room.log).await.unwrap();
    let public = key.public_key().clone();
    let tbs = Tbs::Message(b"firmware".to_vec());
    let good = covering(&room.log, &public, &tbs).await;
    let leaf = good.value().encode();
    key.sign(good, tbs.clone()).await.unwrap();
    let size = room.log.len();
    let base64 = |bytes: &[u8]| firmseal_api::Base64(bytes.to_vec());
    let body = |leaf: &[u8], index: u64, size: u64, message: &[u8], path: &[Vec<u8>]| {
        json!({
            "key": "release", "origin": room.log.verifier().name(), "intent": base64(leaf), "index": index,
            "size": size, "path": path.iter().map(|hash| base64(hash)).collect::<Vec<_>>(),
            "tbs": { "message": base64(message) },
        })
    };
    let refused = async |body: Value, status: u16, why: &str| {
        let answer = room.send(address, &body).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.status, status, "{text}");
        assert!(text.contains(why), "{why} is not in {text}");
    };
    let path: Vec<Vec<u8>> =
        room.log.proof(0, size).await.unwrap().iter().map(|hash| hash.as_bytes().to_vec()).collect();
    // The good one first, as it stands.
    let again = room.send(address, &body(&leaf, 0, size, b"firmware", &path)).await;
    assert_eq!(again.status, 200);
    // Other bytes under the same entry.
    refused(body(&leaf, 0, size, b"malware", &path), 403, "does not cover").await;
    // An entry that nobody made.
    let secret = Tbs::Message(b"malware".to_vec());
    let unlogged = intent(Purpose::Artifact, secret.fingerprint(), &public).encode();
    refused(body(&unlogged, 0, size, b"malware", &path), 403, "does not stand in the log").await;
    refused(body(&unlogged, 7, size, b"malware", &path), 403, "does not stand in the log").await;
    // The root of a tree of one's own, as one hash too many or a size that
    // the host never saw.
    let own = vec![leaf_hash(&unlogged).as_bytes().to_vec()];
    refused(body(&unlogged, 0, 2, b"malware", &own), 409, "unseen").await;
    refused(body(&unlogged, 0, size + 1, b"malware", &own), 409, "unseen").await;
    refused(body(&unlogged, 0, size, b"malware", &vec![vec![0; 32]; 64]), 400, "path").await;
    // Logged, and for something that this key is not for.
    let root = intent(Purpose::Root, firmseal_manifest::Digest([3; 32]), &public);
    let root = Logged::append(&room.log, root).await.unwrap();
    let answer = key.sign(root, Tbs::Message(b"x".to_vec())).await;
    assert!(matches!(answer, Err(SignError::NotCovered)), "{answer:?}");
    let metadata = intent(Purpose::Tuf, RustCrypto.digest(b"{}"), &public);
    let metadata = Logged::append(&room.log, metadata).await.unwrap();
    let answer = key.sign(metadata, Tbs::Message(b"{}".to_vec())).await;
    assert!(matches!(&answer, Err(SignError::Refused(why)) if why.contains("purpose")), "{answer:?}");
    // Nonsense.
    for nonsense in [json!({}), json!({ "key": "../x" }), json!([])] {
        refused(nonsense, 400, "malformed").await;
    }
    listener.shutdown().await;
    // Two signatures left the host, and two entries say so.
    assert_eq!(IntentLog::open(&room.path("uses/log")).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_forgot_or_another_one_opens_nothing() {
    let room = Room::new();
    let listener = room.serve(&ALL).await;
    let tbs = Tbs::Message(b"firmware".to_vec());
    let key = open(&room, listener.address(), &room.log).await.unwrap();
    let yesterday = covering(&room.log, key.public_key(), &tbs).await;
    key.sign(yesterday, tbs.clone()).await.unwrap();
    copy(&room.path("log"), &room.path("backup"));
    for _ in 0..3 {
        let intent = covering(&room.log, key.public_key(), &tbs).await;
        key.sign(intent, tbs.clone()).await.unwrap();
    }
    // The backup of yesterday has the same key, and what it appends is not
    // what the log had since.
    let restored = IntentLog::open(&room.path("backup/intents")).unwrap();
    let key = open(&room, listener.address(), &restored).await.unwrap();
    let entry = covering(&restored, key.public_key(), &Tbs::Message(b"another".to_vec())).await;
    let answer = key.sign(entry, Tbs::Message(b"another".to_vec())).await;
    assert!(matches!(&answer, Err(SignError::Unfit(why)) if why.contains("backup")), "{answer:?}");
    for number in 0..5u8 {
        let message = Tbs::Message(vec![number]);
        let intent = intent(Purpose::Artifact, message.fingerprint(), key.public_key());
        restored.append(&intent.encode()).await.unwrap();
        // Published at each size, as whoever forges would.
        restored.checkpoint().await.unwrap();
    }
    let entry = covering(&restored, key.public_key(), &Tbs::Message(b"another".to_vec())).await;
    let answer = key.sign(entry, Tbs::Message(b"another".to_vec())).await;
    assert!(matches!(&answer, Err(SignError::Unfit(why)) if why.contains("another history")), "{answer:?}");
    // Somebody else's log.
    std::fs::create_dir(room.path("other")).unwrap();
    let other = IntentLog::open(&room.path("other/intents")).unwrap();
    let key = open(&room, listener.address(), &other).await.unwrap();
    let entry = covering(&other, key.public_key(), &tbs).await;
    let answer = key.sign(entry, tbs.clone()).await;
    assert!(matches!(&answer, Err(SignError::Unfit(why)) if why.contains("does not watch")), "{answer:?}");
    listener.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_stay_outside_and_environments_apart() {
    let room = Room::new();
    let listener = room.serve(&ALL).await;
    let url = format!("https://localhost:{}", listener.address().port());
    let authority = room.server.certificate.as_bytes();
    let stranger = Endpoint::new(&url, Some(authority), DEADLINE).unwrap();
    assert!(stranger.get("keys/release", 1 << 16).await.is_err());
    let own = create_client_certificate("server", 7, Time::from(SystemTime::now())).unwrap();
    let identity = (own.certificate.as_bytes(), own.key.as_bytes());
    let named = Endpoint::with_identity(&url, Some(authority), Some(identity), DEADLINE).unwrap();
    assert!(named.get("keys/release", 1 << 16).await.is_err());
    let connection = room.connect(&[listener.address()], &room.log, DEADLINE);
    let open =
        move |key: &str, environment| firmseal_keyhost::open(&connection, &key.parse().unwrap(), environment);
    let (production, missing) = tokio::task::spawn_blocking(move || {
        (open("release", Environment::Production), open("another", Environment::Test))
    })
    .await
    .unwrap();
    assert!(matches!(
        production,
        Err(ConnectError::Host { fault: HostFault::Environment(Environment::Test), .. })
    ));
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains("https://localhost:") && missing.contains("no key `another`"), "{missing}");
    let identity = (room.client.certificate.as_bytes(), room.client.key.as_bytes());
    let to = |addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
        Connection::new(&addresses, authority, identity, room.log.clone(), Options::default())
    };
    assert!(matches!(to(&["http://localhost:1"]), Err(ConnectError::NotPrivate)));
    assert!(matches!(to(&[]), Err(ConnectError::NoAddress)));
    let twice = to(&["https://localhost:1", "https://localhost:2", "https://localhost:1/"]);
    assert!(matches!(twice, Err(ConnectError::Twice(address)) if address == "https://localhost:1"));
    listener.shutdown().await;
}

#[test]
fn the_committed_list_of_routes_is_complete() {
    let mut text = String::new();
    for Route { method, path, answer, .. } in &ROUTES {
        text.push_str(&format!("{method} {path}: {answer}\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/keyhost-routes.txt");
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "spec/keyhost-routes.txt is out of date; run the tests once with UPDATE=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_answers_whoever_must_not_get_in() {
    let room = Room::new();
    let listener = room.serve(&ALL).await;
    let url = format!("https://localhost:{}", listener.address().port());
    let authority = room.server.certificate.as_bytes();
    let now = Time::from(SystemTime::now());
    // A certificate of the same name that nobody chose, one of a device, which
    // another authority vouches for, and the host's own.
    let named = create_client_certificate("server", 7, now).unwrap();
    let devices = create_device_ca(now).unwrap();
    let key = rcgen::KeyPair::from_pem(&devices.key).unwrap();
    let ca = rcgen::Issuer::from_ca_cert_pem(&devices.certificate, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let device = (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem());
    let strangers = [
        None,
        Some((named.certificate.as_bytes(), named.key.as_bytes())),
        Some((device.0.as_bytes(), device.1.as_bytes())),
        Some((room.server.certificate.as_bytes(), room.server.key.as_bytes())),
    ];
    let vouched = Some((room.client.certificate.as_bytes(), room.client.key.as_bytes()));
    let call = async |identity: Option<(&[u8], &[u8])>, route: &Route| {
        let endpoint = Endpoint::with_identity(&url, Some(authority), identity, DEADLINE).unwrap();
        let path = route.path.trim_start_matches('/').replace("{name}", "release");
        match route.method {
            "GET" => endpoint.get(&path, 1 << 20).await,
            _ => endpoint.post(&path, "{}".into(), 1 << 20).await,
        }
    };
    for route in &ROUTES {
        for (number, identity) in strangers.into_iter().enumerate() {
            let answer = call(identity, route).await;
            assert!(answer.is_err(), "{} {} as stranger {number}: {answer:?}", route.method, route.path);
        }
        // Whoever is vouched for is answered, and told what is wrong.
        let status = call(vouched, route).await.unwrap().status;
        let expected = match route.method {
            "GET" => 200..=204,
            _ => 400..=400,
        };
        assert!(expected.contains(&status), "{} {}: {status}", route.method, route.path);
    }
    listener.shutdown().await;
}
