//! A server that can lie.
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use firmseal_agent::{Config, Deps, Enrolment, Error, ServerEnrolment, enrol};
use firmseal_api::updates::{Poll, Report, Reports};
use firmseal_core::crypto::{Crypto, RustCrypto};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::*;

/// How the server lies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lie {
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
    /// Nobody polls, and nobody renews: the certificate has expired and the
    /// server will not have it.
    Locked,
    /// Has nothing but noise for a root document.
    NoiseForRoots,
    /// Sends a root document without an end.
    EndlessRoot,
    /// Sends the first root document, whichever is asked for.
    SameRoot,
}

#[derive(Default)]
pub struct Seen {
    pub reports: Vec<Report>,
    pub polls: Vec<Poll>,
    pub renewals: usize,
    pub sent: u64,
    /// Every path that was asked for.
    pub paths: Vec<String>,
}

/// The trust documents that the server has.
#[derive(Default)]
pub struct Served {
    /// From version 1 on.
    pub roots: Vec<Vec<u8>>,
    /// The newest, by its own word, where that is another.
    pub claims: Option<u64>,
    /// With its number.
    pub revocation: Option<(u64, Vec<u8>)>,
    pub freshness: Option<Vec<u8>>,
}

pub struct Server {
    pub url: String,
    pub authority: Vec<u8>,
    pub seen: Arc<Mutex<Seen>>,
    pub lie: Arc<Mutex<Lie>>,
    pub offer: Arc<Mutex<Option<Release>>>,
    pub trust: Arc<Mutex<Served>>,
    pub task: tokio::task::JoinHandle<()>,
}

pub struct Authority {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

pub fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

impl Authority {
    /// A device certificate that is valid from 2000 to 2030.
    pub fn certify(&self, csr: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        request.params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

pub async fn serve(authority: Arc<Authority>) -> Server {
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
    let trust = Arc::new(Mutex::new(Served::default()));
    let shared = (seen.clone(), lie.clone(), offer.clone(), trust.clone());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, authority, shared) = (acceptor.clone(), authority.clone(), shared.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                while let Some((head, body)) = request(&mut stream).await {
                    if *shared.1.lock().unwrap() == Lie::Gone {
                        return;
                    }
                    let answer = answer(
                        &head,
                        &body,
                        &authority,
                        &shared.0,
                        *shared.1.lock().unwrap(),
                        &shared.2,
                        &shared.3,
                    );
                    shared.0.lock().unwrap().sent += answer.0.len() as u64;
                    if stream.write_all(&answer.0).await.is_err() || !answer.1 {
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            });
        }
    });
    Server { url, authority: pem, seen, lie, offer, trust, task }
}

pub async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<(String, Vec<u8>)> {
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

pub fn plain(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    out.extend(body);
    out
}

/// A body in chunks, of which there is always one more.
fn endless() -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..200 {
        out.extend(b"2710\r\n");
        out.extend(vec![0xd8; 10_000]);
        out.extend(b"\r\n");
    }
    out
}

/// An answer, and whether the connection lives on.
pub fn answer(
    head: &str,
    body: &[u8],
    authority: &Authority,
    seen: &Mutex<Seen>,
    lie: Lie,
    offer: &Mutex<Option<Release>>,
    trust: &Mutex<Served>,
) -> (Vec<u8>, bool) {
    let json = |value: serde_json::Value| {
        (plain("200 OK", "content-type: application/json\r\n", &serde_json::to_vec(&value).unwrap()), true)
    };
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (offer, trust) = (offer.lock().unwrap(), trust.lock().unwrap());
    seen.lock().unwrap().paths.push(path.to_owned());
    let document = |document: Option<&Vec<u8>>| match document {
        Some(document) => (plain("200 OK", "", document), true),
        None => (plain("404 Not Found", "", b""), true),
    };
    match path {
        "/v1/poll" | "/v1/renew" if lie == Lie::Locked => (plain("401 Unauthorized", "", b""), true),
        "/v1/revocation" => document(trust.revocation.as_ref().map(|(_, document)| document)),
        "/v1/freshness" => document(trust.freshness.as_ref()),
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
        "/v1/roots/1" if trust.roots.is_empty() => (plain("200 OK", "", b"root"), true),
        _ if path.starts_with("/v1/roots/") => match lie {
            Lie::NoiseForRoots => (plain("200 OK", "", &noise(5000, 1)), true),
            Lie::SameRoot => document(trust.roots.first()),
            Lie::EndlessRoot => (endless(), false),
            _ => document(trust.roots.get(path[10..].parse::<usize>().unwrap() - 1)),
        },
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
            json(json!({
                "offer": offer,
                "root_version": trust.claims.unwrap_or(trust.roots.len().max(1) as u64),
                "revocation_version": trust.revocation.as_ref().map_or(0, |(version, _)| *version),
                "poll_after": 60,
            }))
        }
        "/v1/releases/x/envelope" => {
            let envelope = &offer.as_ref().unwrap().envelope;
            match lie {
                Lie::LongEnvelope => {
                    let mut out = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec();
                    out.extend(vec![0x41; 200_000]);
                    (out, false)
                }
                Lie::EndlessEnvelope => (endless(), false),
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

pub async fn enrolled(dir: &Path, server: &Server) -> (Config, Deps) {
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
