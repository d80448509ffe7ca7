//! Against a server that is honest, gone, moved, or hostile.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::*;
use firmseal_agent::{Agent, Config, Deps, Enrolment, Error, Event, ServerEnrolment, enrol};
use firmseal_api::updates::{Poll, Report, Reports};
use firmseal_core::Environment;
use firmseal_core::crypto::{Crypto, RustCrypto};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// How the server lies.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Lie {
    None,
    /// Announces ten gigabytes and sends some.
    LongEnvelope,
    /// An envelope without an end, in chunks.
    EndlessEnvelope,
    /// Announces more than it sends.
    ShortEnvelope,
    /// Ignores ranges.
    NoRanges,
    /// Sends another range than it was asked for.
    OtherRange,
    /// Closes every connection.
    Gone,
    /// Breaks every payload transfer off half way.
    Breaks,
    /// Certifies another key than it was asked to.
    OtherKey,
    /// Lets nobody in with a renewed certificate.
    NoEntry,
}

#[derive(Default)]
struct Seen {
    reports: Vec<Report>,
    polls: Vec<Poll>,
    renewals: usize,
    sent: u64,
}

struct Server {
    url: String,
    authority: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
    lie: Arc<Mutex<Lie>>,
    offer: Arc<Mutex<Option<Release>>>,
    task: tokio::task::JoinHandle<()>,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

impl Authority {
    /// A device certificate that is valid from 2000 to 2030.
    fn certify(&self, csr: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        request.params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

async fn serve(authority: Arc<Authority>) -> Server {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (seen, lie, offer) =
        (Arc::new(Mutex::new(Seen::default())), Arc::new(Mutex::new(Lie::None)), Arc::new(Mutex::new(None)));
    let pem = authority.pem.clone().into_bytes();
    let shared = (seen.clone(), lie.clone(), offer.clone());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, authority, shared) = (acceptor.clone(), authority.clone(), shared.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                while let Some((head, body)) = request(&mut stream).await {
                    if *shared.1.lock().unwrap() == Lie::Gone {
                        return;
                    }
                    let answer =
                        answer(&head, &body, &authority, &shared.0, *shared.1.lock().unwrap(), &shared.2);
                    shared.0.lock().unwrap().sent += answer.0.len() as u64;
                    if stream.write_all(&answer.0).await.is_err() || !answer.1 {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            });
        }
    });
    Server { url, authority: pem, seen, lie, offer, task }
}

async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        let mut one = [0; 4096];
        let count = stream.read(&mut one).await.ok().filter(|count| *count > 0)?;
        bytes.extend(&one[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let len: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |len| len.trim().parse().unwrap());
    let mut body = bytes.split_off(head);
    while body.len() < len {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).await.ok().filter(|count| *count > 0)?;
        body.extend(&more[..count]);
    }
    Some((text, body))
}

fn plain(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    out.extend(body);
    out
}

/// An answer, and whether the connection lives on.
fn answer(
    head: &str,
    body: &[u8],
    authority: &Authority,
    seen: &Mutex<Seen>,
    lie: Lie,
    offer: &Mutex<Option<Release>>,
) -> (Vec<u8>, bool) {
    let json = |value: serde_json::Value| {
        (plain("200 OK", "content-type: application/json\r\n", &serde_json::to_vec(&value).unwrap()), true)
    };
    let path = head.split(' ').nth(1).unwrap_or_default();
    let offer = offer.lock().unwrap();
    match path {
        "/v1/enrol" => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(body["token"], "one-time");
            json(json!({
                "device": format!("dev-{}", Uuid::nil()),
                "product": "gateway",
                "certificate": authority.certify(body["csr"].as_str().unwrap()),
                "root": "",
                "root_version": 1,
            }))
        }
        "/v1/renew" => {
            seen.lock().unwrap().renewals += 1;
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            let mut csr = body["csr"].as_str().unwrap().to_owned();
            if lie == Lie::OtherKey {
                let params = CertificateParams::new(vec![]).unwrap();
                csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
            }
            json(json!({ "certificate": authority.certify(&csr) }))
        }
        "/v1/roots/1" if lie == Lie::NoEntry => (plain("401 Unauthorized", "", b""), true),
        "/v1/roots/1" => (plain("200 OK", "", b"root"), true),
        "/v1/reports" => {
            let reports: Reports = serde_json::from_slice(body).unwrap();
            let stored = reports.reports.len();
            seen.lock().unwrap().reports.extend(reports.reports);
            json(json!({ "stored": stored }))
        }
        "/v1/poll" => {
            let poll: Poll = serde_json::from_slice(body).unwrap();
            let mut seen = seen.lock().unwrap();
            seen.reports.extend(poll.reports.iter().cloned());
            seen.polls.push(poll);
            let offer = offer.as_ref().map(|release| {
                json!({
                    "release": format!("rel-{}", Uuid::from_u128(7)),
                    "rollout": format!("rol-{}", Uuid::from_u128(8)),
                    "version": "2.0.0",
                    "sequence": 2,
                    "epoch": 0,
                    "envelope": "/v1/releases/x/envelope",
                    "envelope_sha256": RustCrypto.digest(&release.envelope).to_string(),
                    "envelope_size": release.envelope.len(),
                    "build": "build-17",
                    "commit": "c0ffee",
                    "request": format!("req-{}", Uuid::from_u128(9)),
                })
            });
            json(json!({ "offer": offer, "root_version": 1, "poll_after": 60 }))
        }
        "/v1/releases/x/envelope" => {
            let envelope = &offer.as_ref().unwrap().envelope;
            match lie {
                Lie::LongEnvelope => {
                    let mut out = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec();
                    out.extend(vec![0x41; 200_000]);
                    (out, false)
                }
                Lie::EndlessEnvelope => {
                    let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
                    for _ in 0..200 {
                        out.extend(b"2710\r\n");
                        out.extend(vec![0xd8; 10_000]);
                        out.extend(b"\r\n");
                    }
                    (out, false)
                }
                Lie::ShortEnvelope => {
                    let mut out =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", envelope.len()).into_bytes();
                    out.extend(&envelope[..envelope.len() / 2]);
                    (out, false)
                }
                _ => (plain("200 OK", "", envelope), true),
            }
        }
        blob => {
            let blobs: HashMap<String, Vec<u8>> = offer.as_ref().unwrap().source().blobs;
            let Some(bytes) = blob.strip_prefix("/").and_then(|name| blobs.get(name)) else {
                return (plain("404 Not Found", "", b""), true);
            };
            let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let (mut from, to) = match range.and_then(|range| range.trim().split_once('-')) {
                Some((from, to)) => {
                    (from.parse().unwrap(), to.parse::<usize>().map_or(bytes.len(), |to| to + 1))
                }
                None => (0, bytes.len()),
            };
            if lie == Lie::NoRanges || range.is_none() {
                return (plain("200 OK", "", bytes), true);
            }
            if lie == Lie::OtherRange {
                from += 1;
            }
            let content = &bytes[from..to];
            let head = format!("content-range: bytes {from}-{}/{}\r\n", to - 1, bytes.len());
            let mut out = plain("206 Partial Content", &head, content);
            if lie == Lie::Breaks && content.len() > 8192 {
                out.truncate(out.len() - content.len() / 2);
                return (out, false);
            }
            (out, true)
        }
    }
}

async fn enrolled(dir: &Path, server: &Server) -> (Config, Deps) {
    let config = config(dir, &["rootfs"], 64 << 20);
    let clock = Arc::new(TestClock::default());
    *clock.0.lock().unwrap() = 1_700_000_000_000;
    let deps = Deps { clock, ..deps(&config) };
    let anchor = root(Environment::Test, 0);
    let by_server = ServerEnrolment { url: &server.url, token: "one-time", authority: &server.authority };
    let enrolment = Enrolment { anchor: &anchor, server: Some(by_server) };
    enrol(&config, &deps, &enrolment).await.unwrap().unwrap();
    assert!(matches!(enrol(&config, &deps, &enrolment).await, Err(Error::AlreadyEnrolled)));
    (config, deps)
}

#[tokio::test]
async fn an_offer_becomes_a_confirmed_image_and_every_step_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let key = std::fs::metadata(dir.path().join("state/device.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    let agent = Agent::new(config, deps).unwrap();
    assert_eq!(agent.poll_once().await.unwrap(), Event::Idle { poll_after: 60 });
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(5 << 20, 1)).make());
    for lie in [Lie::None, Lie::NoRanges] {
        *server.lie.lock().unwrap() = lie;
        let release = server.offer.lock().unwrap().clone().unwrap();
        let event = agent.poll_once().await.unwrap();
        assert!(matches!(&event, Event::Installed(_)), "{event:?}");
        assert_eq!(agent.poll_once().await.unwrap(), Event::RebootNeeded);
        assert!(agent.boot_stage().unwrap().trial);
        assert_eq!(agent.poll_once().await.unwrap(), Event::Confirmed);
        assert_eq!(agent.reports().unwrap(), []);
        assert!(!release.payloads.is_empty());
        *server.offer.lock().unwrap() = Some(Recipe::new(3, noise(3 << 20, 2)).make());
    }
    let seen = server.seen.lock().unwrap();
    let phases: Vec<&str> = seen.reports.iter().map(|report| report.phase.as_str()).collect();
    assert_eq!(phases, ["downloading", "installed", "trial", "confirmed"].repeat(2));
    for report in &seen.reports {
        assert_eq!(report.build.as_deref(), Some("build-17"));
        assert_eq!(report.release.unwrap().uuid(), Uuid::from_u128(7));
        assert_eq!(report.rollout.unwrap().uuid(), Uuid::from_u128(8));
        assert_eq!(report.request.unwrap().uuid(), Uuid::from_u128(9));
    }
    server.task.abort();
}

#[tokio::test]
async fn a_server_that_lies_about_lengths_gets_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config, deps).unwrap();
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(5 << 20, 1)).make());
    *server.lie.lock().unwrap() = Lie::LongEnvelope;
    let event = agent.poll_once().await.unwrap();
    assert!(matches!(event, Event::Refused { code: 101, .. }), "{event:?}");
    for lie in [Lie::EndlessEnvelope, Lie::ShortEnvelope, Lie::OtherRange] {
        *server.lie.lock().unwrap() = lie;
        let err = agent.poll_once().await.unwrap_err();
        assert!(matches!(err, Error::Server(_) | Error::Carrier { .. }), "{lie:?}: {err}");
    }
    // Half of every range arrives: it comes to its end all the same.
    *server.lie.lock().unwrap() = Lie::Breaks;
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Installed(_)));
    assert!(agent.boot_stage().unwrap().trial);
    server.task.abort();
}

#[tokio::test]
async fn reports_wait_while_the_server_is_gone_and_find_its_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Arc::new(authority());
    let server = serve(authority.clone()).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config.clone(), deps.clone()).unwrap();
    let release = Recipe::new(2, noise(1 << 20, 1)).make();
    *server.offer.lock().unwrap() = Some(release.clone());
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Installed(_)));
    *server.lie.lock().unwrap() = Lie::Gone;
    server.task.abort();
    agent.boot_stage().unwrap();
    assert_eq!(agent.poll_once().await.unwrap(), Event::Confirmed);
    let waiting = agent.reports().unwrap();
    assert!(waiting.iter().any(|report| report.phase.as_str() == "confirmed"));
    let err = agent.poll_once().await.unwrap_err();
    assert_eq!(err.exit_code(), firmseal_agent::exit::UNREACHABLE, "{err}");
    assert_eq!(agent.reports().unwrap(), waiting);
    drop(agent);

    let moved = serve(authority).await;
    config.server = Some(moved.url.clone());
    let agent = Agent::new(config, deps).unwrap();
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Idle { .. }));
    assert_eq!(moved.seen.lock().unwrap().reports, waiting);
    assert_eq!(agent.reports().unwrap(), []);
    let polls = &moved.seen.lock().unwrap().polls;
    let running = polls[0].state.running.as_ref().unwrap();
    assert_eq!((running.sequence, running.confirmed), (2, true));
    moved.task.abort();
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_expires_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    for (seconds, renewals) in [(1_500_000_000, 0), (1_800_000_000, 1), (1_999_999_999, 2)] {
        let clock = Arc::new(TestClock::default());
        *clock.0.lock().unwrap() = seconds * 1000;
        let agent = Agent::new(config.clone(), Deps { clock, ..deps.clone() }).unwrap();
        agent.poll_once().await.unwrap();
        assert_eq!(server.seen.lock().unwrap().renewals, renewals);
    }
    server.task.abort();
}

#[tokio::test]
async fn a_certificate_that_does_not_serve_the_device_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let path = config.state.join("device.crt");
    let before = std::fs::read(&path).unwrap();
    for (lie, seconds) in [(Lie::OtherKey, 1_800_000_000), (Lie::NoEntry, 1_800_000_000)] {
        *server.lie.lock().unwrap() = lie;
        let clock = Arc::new(TestClock::default());
        *clock.0.lock().unwrap() = seconds * 1000;
        let agent = Agent::new(config.clone(), Deps { clock, ..deps.clone() }).unwrap();
        // The old one still works, so the poll goes on with it.
        agent.poll_once().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(server.seen.lock().unwrap().renewals, 2);
    server.task.abort();
}

#[tokio::test]
async fn another_server_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    let other = serve(Arc::new(authority())).await;
    config.server = Some(other.url.clone());
    let agent = Agent::new(config, deps).unwrap();
    let err = agent.poll_once().await.unwrap_err();
    assert_eq!(err.exit_code(), firmseal_agent::exit::SERVER, "{err}");
    assert_eq!(other.seen.lock().unwrap().polls.len(), 0);
    server.task.abort();
    other.task.abort();
}

#[tokio::test]
async fn the_daemon_polls_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    config.poll.interval = 1;
    config.poll.jitter = 0;
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(1 << 20, 1)).make());
    let agent = Agent::new(config, deps).unwrap();
    let installed = async {
        while agent.boot_state().unwrap().trial.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    agent.run(installed).await.unwrap();
    assert!(agent.boot_stage().unwrap().trial);
    let confirmed = async {
        while agent.boot_state().unwrap().confirmed.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    agent.run(confirmed).await.unwrap();
    server.task.abort();
}

#[tokio::test]
async fn an_unreadable_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config, deps).unwrap();
    for (name, junk) in [("device.key", &b"junk"[..]), ("device.crt", b""), ("authority.crt", b"junk")] {
        let path = dir.path().join("state").join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, junk).unwrap();
        let err = agent.poll_once().await.unwrap_err();
        assert_eq!(err.exit_code(), firmseal_agent::exit::IDENTITY, "{name}: {err}");
        std::fs::write(&path, good).unwrap();
    }
    agent.poll_once().await.unwrap();
    server.task.abort();
}
