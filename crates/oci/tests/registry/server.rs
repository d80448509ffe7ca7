//! A registry in memory that lists referrers, as the specification has it; and
//! what a hostile one would do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use firmseal_formats::BlobDigest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a registry does besides.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    /// Lists referrers, two on a page.
    pub(crate) lists: bool,
    /// Keeps entity tags: writes over something else than was read fail.
    pub(crate) tags: bool,
    /// Wants `name:pass`, or a token that it has from there.
    pub(crate) basic: bool,
    pub(crate) bearer: Option<String>,
    /// Sends whoever wants a blob to another host.
    pub(crate) elsewhere: Option<String>,
    /// Sends uploads to another host.
    pub(crate) uploads: Option<String>,
    /// Answers one path as if it had been another.
    pub(crate) swapped: Vec<(String, String)>,
    /// Says this digest of every manifest.
    pub(crate) says: Option<String>,
}

#[derive(Default)]
struct State {
    manner: Manner,
    blobs: BTreeMap<String, Vec<u8>>,
    /// By repository and tag or digest: media type, bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    seen: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Server {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = socket.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { manner, ..State::default() }));
        let server = Server { host, state };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        server
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// Requests so far, each with its credentials.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let end = loop {
                if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                match stream.read(&mut piece).await {
                    Ok(count @ 1..) => seen.extend_from_slice(&piece[..count]),
                    _ => return,
                }
            };
            let head = String::from_utf8(seen.drain(..end).collect()).unwrap();
            let header = |name: &str| {
                let own = |line: &str| {
                    line.split_once(": ").map(|(own, value)| (own.to_lowercase(), value.to_owned()))
                };
                head.lines().filter_map(own).find(|(own, _)| own == name).map(|(_, value)| value)
            };
            let len: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
            while seen.len() < len {
                let count = stream.read(&mut piece).await.unwrap();
                seen.extend_from_slice(&piece[..count]);
            }
            let body: Vec<u8> = seen.drain(..len).collect();
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            let (status, headers, answer) = self.answer(&method, &path, &header, &body);
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} x\r\n{lines}content-length: {}\r\n\r\n", answer.len());
            let body = if method == "HEAD" { &[][..] } else { &answer };
            if stream.write_all(&[head.as_bytes(), body].concat()).await.is_err() {
                return;
            }
        }
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        header: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let authorization = header("authorization");
        state.seen.push(format!("{method} {path} {}", authorization.clone().unwrap_or_default()));
        let manner = state.manner.clone();
        let basic = format!("Basic {}", Base64::encode_string(b"name:pass"));
        if path.starts_with("/token") {
            let is_known = authorization.as_deref() == Some(&basic);
            let token = if is_known { "known" } else { "anybody" };
            return (200, vec![], json!({ "token": token }).to_string().into_bytes());
        }
        // Who keeps blobs elsewhere knows nobody by name.
        let is_elsewhere = path.starts_with("/cdn/");
        if manner.basic && !is_elsewhere && authorization.as_deref() != Some(&basic) {
            return (401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], vec![]);
        }
        if let Some(realm) = &manner.bearer
            && authorization.as_deref() != Some("Bearer known")
        {
            let value =
                format!("Bearer realm=\"{realm}\",service=\"r\",scope=\"repository:nodes/worker:pull\"");
            return (401, vec![("www-authenticate", value)], vec![]);
        }
        let mut path = path.to_owned();
        for (from, to) in &manner.swapped {
            path = path.replace(from, to);
        }
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let Some(rest) = path.strip_prefix("/v2/nodes/worker/") else {
            return match path.strip_prefix("/cdn/").and_then(|digest| state.blobs.get(digest)) {
                Some(blob) => (200, vec![], blob.clone()),
                None => (404, vec![], vec![]),
            };
        };
        let (kind, name) = rest.split_once('/').unwrap();
        let bytes_digest = BlobDigest::sha256(body).to_string();
        match (method, kind) {
            ("GET" | "HEAD", "blobs") => match (state.blobs.get(name), &manner.elsewhere) {
                (None, _) => (404, vec![], vec![]),
                (Some(_), Some(host)) if method == "GET" => {
                    (307, vec![("location", format!("{host}/cdn/{name}"))], vec![])
                }
                (Some(blob), _) => (200, vec![], blob.clone()),
            },
            ("POST", "blobs") => {
                let to = manner.uploads.unwrap_or_default();
                (202, vec![("location", format!("{to}/v2/nodes/worker/blobs/uploads/1?state=x"))], vec![])
            }
            ("PUT", "blobs") => {
                let wanted = query.rsplit_once("digest=").unwrap().1;
                assert_eq!(wanted, bytes_digest);
                state.blobs.insert(bytes_digest, body.to_vec());
                (201, vec![], vec![])
            }
            ("PUT", "manifests") => {
                let now = state.manifests.get(name).map(|(_, bytes)| BlobDigest::sha256(bytes).to_string());
                let fails = match (header("if-match"), header("if-none-match")) {
                    (Some(wanted), _) => now.as_ref() != Some(&wanted),
                    (None, Some(_)) => now.is_some(),
                    _ => false,
                };
                if fails && manner.tags {
                    return (412, vec![], vec![]);
                }
                let kind = header("content-type").unwrap();
                state.manifests.insert(name.to_owned(), (kind.clone(), body.to_vec()));
                state.manifests.insert(bytes_digest, (kind, body.to_vec()));
                let document: Value = serde_json::from_slice(body).unwrap();
                match document["subject"]["digest"].as_str().filter(|_| manner.lists) {
                    Some(subject) => (201, vec![("oci-subject", subject.to_owned())], vec![]),
                    None => (201, vec![], vec![]),
                }
            }
            (_, "manifests") => match state.manifests.get(name) {
                None => (404, vec![], vec![]),
                Some((kind, bytes)) => {
                    let digest = BlobDigest::sha256(bytes).to_string();
                    let said = manner.says.unwrap_or_else(|| digest.clone());
                    let mut headers = vec![("content-type", kind.clone()), ("docker-content-digest", said)];
                    if manner.tags {
                        headers.push(("etag", digest));
                    }
                    (200, headers, bytes.clone())
                }
            },
            (_, "referrers") if manner.lists => state.referrers(name, query),
            _ => (404, vec![], vec![]),
        }
    }
}

impl State {
    fn referrers(&self, subject: &str, query: &str) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        let own = self.manifests.iter().filter(|(name, _)| name.starts_with("sha256:"));
        let all: Vec<Value> = own
            .filter_map(|(digest, (kind, bytes))| {
                let document: Value = serde_json::from_slice(bytes).unwrap();
                let is_about = document["subject"]["digest"].as_str() == Some(subject);
                is_about.then(|| {
                    json!({ "mediaType": kind, "digest": digest, "size": bytes.len(),
                        "artifactType": document["artifactType"] })
                })
            })
            .collect();
        let from: usize = query.strip_prefix("from=").map_or(0, |text| text.parse().unwrap());
        let page: Vec<&Value> = all.iter().skip(from).take(2).collect();
        let index = "application/vnd.oci.image.index.v1+json";
        let document = json!({ "schemaVersion": 2, "mediaType": index, "manifests": page });
        let mut headers = vec![("content-type", index.to_owned())];
        if from + 2 < all.len() {
            headers.push(("link", format!("</v2/x?from={}>; rel=\"next\"", from + 2)));
        }
        (200, headers, document.to_string().into_bytes())
    }
}
