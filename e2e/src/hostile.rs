//! A hostile server: it has the honest one's certificate and key, and so the
//! trust of every connection, and says whatever a test wants it to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use firmseal_api::updates::{Offer, Poll, Report, Reports};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::spy::Captured;

/// What a device asks for.
pub struct Asked<'a> {
    /// The path.
    pub path: &'a str,
    /// Bytes of the blob that it wants, the end exclusive.
    pub range: Option<(usize, usize)>,
    /// What an honest server would answer with: the whole blob.
    pub blob: &'a [u8],
}

/// Everything the server writes instead of an honest answer, before it
/// closes the connection; `None` to be honest this time.
pub type Lie = fn(&Asked<'_>) -> Option<Vec<u8>>;

/// What the server serves.
#[derive(Clone)]
pub struct Script {
    /// Its offer, to whoever asks.
    pub offer: Offer,
    /// The envelope of it.
    pub envelope: Vec<u8>,
    /// Payloads and trees by their path.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// How it lies.
    pub lie: Lie,
}

impl From<Captured> for Script {
    /// A server that replays what a spy was given.
    fn from(captured: Captured) -> Script {
        let Captured { offer, envelope, blobs } = captured;
        Script { offer, envelope, blobs, lie: honest }
    }
}

/// No lie at all.
pub fn honest(_: &Asked<'_>) -> Option<Vec<u8>> {
    None
}

#[derive(Default)]
struct State {
    script: Option<Script>,
    reports: Vec<Report>,
    sent: BTreeMap<String, u64>,
}

/// The server. It stops when this is dropped.
pub struct Hostile {
    url: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl Hostile {
    /// Takes over from the server of a place: its certificate, its key, and
    /// its demand for device certificates.
    pub fn start(place: &Path) -> Hostile {
        let tls = place.join("tls");
        let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(tls.join(name)).unwrap().map(Result::unwrap).collect()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("device-ca.pem"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let devices =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(devices)
            .with_single_cert(
                certificates("server.pem"),
                PrivateKeyDer::from_pem_file(tls.join("server.key")).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    while let Some((head, body)) = request(&mut stream).await {
                        let (bytes, goes_on) = answer(&state, &head, &body);
                        if stream.write_all(&bytes).await.is_err() || !goes_on {
                            let _ = stream.shutdown().await;
                            return;
                        }
                    }
                });
            }
        });
        Hostile { url, state, _runtime: runtime }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves something else from now on.
    pub fn serve(&self, script: Script) {
        let mut state = self.state.lock().unwrap();
        state.script = Some(script);
        state.sent.clear();
    }

    /// The reports that devices sent here since this was last asked.
    pub fn reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.state.lock().unwrap().reports)
    }

    /// Bytes of blobs that devices took, by path, of what is served now.
    pub fn sent(&self) -> BTreeMap<String, u64> {
        self.state.lock().unwrap().sent.clone()
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut more = [0; 4096];
    let end = loop {
        let count = stream.read(&mut more).await.ok().filter(|count| *count > 0)?;
        bytes.extend(&more[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let len = field(&head, "content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = bytes.split_off(end);
    while body.len() < len {
        let count = stream.read(&mut more).await.ok().filter(|count| *count > 0)?;
        body.extend(&more[..count]);
    }
    Some((head, body))
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// An answer, and whether the connection lives on.
fn answer(state: &Mutex<State>, head: &str, body: &[u8]) -> (Vec<u8>, bool) {
    let json = |value: serde_json::Value| {
        (whole("200 OK", "content-type: application/json\r\n", value.to_string().as_bytes()), true)
    };
    let path = head.split(' ').nth(1).unwrap_or_default();
    let mut state = state.lock().unwrap();
    match path {
        "/v1/poll" => {
            let poll: Poll = serde_json::from_slice(body).unwrap();
            state.reports.extend(poll.reports);
            let offer = state.script.as_ref().map(|script| &script.offer);
            json(json!({ "offer": offer, "root_version": 1, "poll_after": 1 }))
        }
        "/v1/reports" => {
            let reports: Reports = serde_json::from_slice(body).unwrap();
            let stored = reports.reports.len();
            state.reports.extend(reports.reports);
            json(json!({ "stored": stored }))
        }
        path => {
            let Some(script) = state.script.clone() else { return (whole("404 Not Found", "", b""), true) };
            let blob = match script.blobs.get(&path[1..]) {
                Some(blob) => blob,
                None if path.ends_with("/envelope") => &script.envelope,
                None => return (whole("404 Not Found", "", b""), true),
            };
            let range = field(head, "range").and_then(|range| {
                let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
                let last: usize = to.parse().map_or(blob.len(), |last: usize| last + 1);
                Some((from.parse().ok()?, last.min(blob.len())))
            });
            let asked = Asked { path, range, blob };
            let (bytes, goes_on) = match (script.lie)(&asked) {
                Some(lie) => (lie, false),
                None => (asked.honestly(), true),
            };
            *state.sent.entry(path[1..].to_owned()).or_default() += bytes.len() as u64;
            (bytes, goes_on)
        }
    }
}

/// An answer with the right length.
pub fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    announced(status, &format!("content-length: {}\r\n{headers}", body.len()), body)
}

/// An answer with the headers and the body that are given, whether they fit
/// together or not.
pub fn announced(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes();
    out.extend(body);
    out
}

impl Asked<'_> {
    /// Whether a payload is asked for.
    pub fn is_payload(&self) -> bool {
        self.path.starts_with("/payloads/") && !self.is_tree()
    }

    /// Whether a tree is asked for.
    pub fn is_tree(&self) -> bool {
        self.path.ends_with(".tree")
    }

    /// Whether an envelope is asked for.
    pub fn is_envelope(&self) -> bool {
        self.path.ends_with("/envelope")
    }

    /// The bytes that are asked for.
    pub fn wanted(&self) -> &[u8] {
        let (from, to) = self.range.unwrap_or((0, self.blob.len()));
        &self.blob[from.min(to)..to]
    }

    /// The honest answer.
    pub fn honestly(&self) -> Vec<u8> {
        match self.range {
            None => whole("200 OK", "", self.blob),
            Some((from, to)) => {
                let range = format!("content-range: bytes {from}-{}/{}\r\n", to - 1, self.blob.len());
                whole("206 Partial Content", &range, self.wanted())
            }
        }
    }
}
