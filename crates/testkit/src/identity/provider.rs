//! A provider with an address: discovery, keys, and sign-in by device code
//! (OpenID Connect Discovery 1.0, RFC 7517, RFC 8628), over TLS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::token::{Mint, Trick};

/// What the person at the browser does about a sign-in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Agrees, after the command line has asked once in vain.
    Agree,
    /// Says no.
    Deny,
    /// Lets the code run out.
    Wait,
}

/// An identity provider on a free port of this machine.
pub struct Provider {
    url: String,
    authority: String,
    state: Arc<Mutex<State>>,
}

struct State {
    url: String,
    keys: Vec<Mint>,
    down: bool,
    hits: BTreeMap<String, usize>,
    answer: Answer,
    polls: usize,
    person: Value,
    job: Value,
    tokens: usize,
}

impl Provider {
    /// Starts one, with a key that signs with `RS256`.
    pub async fn start() -> Provider {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", socket.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            url: url.clone(),
            keys: vec![Mint::new("first", "RS256")],
            down: false,
            hits: BTreeMap::new(),
            answer: Answer::Agree,
            polls: 0,
            person: json!({}),
            job: json!({}),
            tokens: 0,
        }));
        let (acceptor, shared) = (TlsAcceptor::from(Arc::new(config)), state.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, shared.clone()));
            }
        });
        Provider { url, authority: certified.cert.pem(), state }
    }

    /// Its issuer.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate to trust for its address, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What a person's token says: valid for five minutes from now.
    pub fn human(&self, client: &str, subject: &str, email: &str) -> Value {
        let mut claims = self.claims(client, subject);
        (claims["email"], claims["email_verified"]) = (json!(email), json!(true));
        claims
    }

    /// What a CI job's token says: valid for five minutes from now.
    pub fn job(&self, id: &str, repository: &str, branch: &str) -> Value {
        let mut claims = self.claims("firmseal", &format!("repo:{repository}:ref:{branch}"));
        (claims["jti"], claims["repository"], claims["ref"]) = (json!(id), json!(repository), json!(branch));
        claims
    }

    fn claims(&self, audience: &str, subject: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        json!({ "iss": self.url, "aud": audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 300 })
    }

    /// A token with these claims, signed with the newest key.
    pub fn token(&self, claims: &Value) -> String {
        self.state.lock().unwrap().keys.last().unwrap().token(claims)
    }

    /// A token with something wrong. A thief's keys are at `/thief` here,
    /// where nobody may look.
    pub fn trick(&self, claims: &Value, trick: Trick) -> String {
        let elsewhere = format!("{}/thief", self.url);
        self.state.lock().unwrap().keys.last().unwrap().trick(claims, trick, &elsewhere)
    }

    /// Signs with another key from now on; the old ones stay published if
    /// they are to overlap.
    pub fn rotate(&self, kid: &str, overlap: bool) {
        let mut state = self.state.lock().unwrap();
        if !overlap {
            state.keys.clear();
        }
        state.keys.push(Mint::new(kid, "RS256"));
    }

    /// Answers nothing but errors, or works again.
    pub fn down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// What the person who signs in does, and what their token says.
    pub fn person(&self, answer: Answer, claims: Value) {
        let mut state = self.state.lock().unwrap();
        (state.answer, state.person, state.polls) = (answer, claims, 0);
    }

    /// What the token of a job says that asks for it at [`Provider::job_url`]:
    /// each time a fresh one, for whom the job names.
    pub fn runs(&self, claims: Value) {
        self.state.lock().unwrap().job = claims;
    }

    /// Where a job asks for its token: GitHub's
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub fn job_url(&self) -> String {
        format!("{}/job/token?api-version=2.0", self.url)
    }

    /// How often a path was asked for.
    pub fn hits(&self, path: &str) -> usize {
        self.state.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        seen.extend_from_slice(&piece[..count]);
        while let Some((head, body, length)) = request(&seen) {
            let mut line = head.split(' ');
            let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
            let (status, answer) = state.lock().unwrap().answer(method, path, &body);
            let answer = answer.to_string();
            let size = answer.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
            );
            seen.drain(..length);
            if stream.write_all(format!("{head}{answer}").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The first request in these bytes: its head, its body, its length.
fn request(seen: &[u8]) -> Option<(String, String, usize)> {
    let end = seen.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(seen[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + length.unwrap_or_default();
    let body = String::from_utf8(seen.get(end..whole)?.to_vec()).ok()?;
    Some((head, body, whole))
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        *self.hits.entry(path.to_owned()).or_default() += 1;
        if self.down {
            return (503, json!({}));
        }
        let url = &self.url;
        if let ("GET", Some(("/job/token", query))) = (method, path.split_once('?')) {
            let audience = query.split('&').find_map(|pair| pair.strip_prefix("audience="));
            self.tokens += 1;
            let mut claims = self.job.clone();
            (claims["aud"], claims["jti"]) = (json!(audience), json!(format!("job-{}", self.tokens)));
            return (200, json!({ "value": self.keys.last().unwrap().token(&claims) }));
        }
        match (method, path) {
            ("GET", "/.well-known/openid-configuration") => {
                let answer = json!({
                    "issuer": url,
                    "jwks_uri": format!("{url}/jwks"),
                    "device_authorization_endpoint": format!("{url}/device"),
                    "token_endpoint": format!("{url}/token"),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                });
                (200, answer)
            }
            ("GET", "/jwks") => {
                let keys: Vec<Value> = self.keys.iter().map(Mint::jwk).collect();
                (200, json!({ "keys": keys }))
            }
            ("POST", "/device") if body.contains("client_id=") => {
                let answer = json!({
                    "device_code": "device-1", "user_code": "WDJB-MJHT",
                    "verification_uri": format!("{url}/activate"), "expires_in": 60, "interval": 1,
                });
                (200, answer)
            }
            ("POST", "/token") if body.contains("device_code=device-1") && body.contains("grant_type=") => {
                self.polls += 1;
                match (self.answer, self.polls) {
                    (Answer::Deny, _) => (400, json!({ "error": "access_denied" })),
                    (Answer::Wait, 2..) => (400, json!({ "error": "expired_token" })),
                    (_, 1) => (400, json!({ "error": "authorization_pending" })),
                    _ => {
                        let token = self.keys.last().unwrap().token(&self.person);
                        (200, json!({ "token_type": "Bearer", "access_token": "opaque", "id_token": token }))
                    }
                }
            }
            _ => (404, json!({})),
        }
    }
}
