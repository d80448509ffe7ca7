//! The client: one TLS configuration, one pool of kept-alive connections,
//! and typed calls for operators and devices.
//!
//! The server is authenticated against the given authority file and nothing
//! else: a certificate that some public authority would sign for an
//! attacker is worth nothing here. reqwest was tried on paper and lost: it
//! brings a resolver, a cookie jar and a redirect policy that this client
//! would have to switch off again.

mod connector;
pub mod danger;
mod device;
mod error;
mod keys;
mod operator;
mod policies;
mod public;
mod signatures;
mod tls;
mod transfer;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use connector::Connector;

pub use device::DeviceClient;
pub use error::ClientError;
pub use operator::OperatorClient;
pub use public::PublicClient;
pub use transfer::Download;

/// Longest JSON answer that is read, in bytes.
pub const JSON_MAX: usize = 8 * 1024 * 1024;
/// Longest envelope or root document that is read, in bytes.
pub const DOCUMENT_MAX: usize = 1024 * 1024;

/// Connections that are kept for the next request. A handshake costs both
/// sides more than what most requests ask for: whoever asks for many things
/// at once keeps as many.
const IDLE: usize = 64;

/// How to reach a server, step by step.
pub struct Builder {
    base: String,
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    token: Option<String>,
    timeout: Duration,
    ignore_dates: bool,
}

impl Builder {
    /// Trusts the certificates in this PEM file; without any, `build` fails.
    #[must_use]
    pub fn authorities(mut self, pem: &[u8]) -> Builder {
        self.authorities = Some(pem.to_vec());
        self
    }

    /// Presents this certificate chain and private key, both PEM.
    #[must_use]
    pub fn identity(mut self, chain: &[u8], key: &[u8]) -> Builder {
        self.identity = Some((chain.to_vec(), key.to_vec()));
        self
    }

    /// Sends this operator token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Builder {
        self.token = Some(token.to_owned());
        self
    }

    /// Longest wait for a connection, for an answer to begin, and between
    /// two pieces of it. 30 seconds unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.timeout = timeout;
        self
    }

    /// Options that can hurt.
    pub fn dangerous(self) -> danger::DangerousBuilder {
        danger::DangerousBuilder(self)
    }

    /// The client. No connection is made yet.
    pub fn build(self) -> Result<Client, ClientError> {
        let base: Uri = self
            .base
            .trim_end_matches('/')
            .parse()
            .map_err(|_| ClientError::Address(self.base.clone(), "not a URL"))?;
        if base.scheme_str() != Some("https") {
            return Err(ClientError::Address(self.base, "it begins with https://"));
        }
        if base.host().is_none_or(str::is_empty) || !matches!(base.path(), "" | "/") {
            return Err(ClientError::Address(self.base, "it is https://host:port without a path"));
        }
        let authorization = match &self.token {
            None => None,
            Some(token) => {
                let mut value =
                    HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let config = tls::config(
            self.authorities.as_deref().unwrap_or_default(),
            self.identity.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice())),
            self.ignore_dates,
        )?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE)
            .build(Connector::new(config, self.timeout));
        Ok(Client { http, base, authorization, timeout: self.timeout })
    }
}

/// A client. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    base: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// A client for `https://host:port`.
    pub fn builder(base: &str) -> Builder {
        Builder {
            base: base.to_owned(),
            authorities: None,
            identity: None,
            token: None,
            timeout: Duration::from_secs(30),
            ignore_dates: false,
        }
    }

    /// The calls of operators.
    pub fn operator(&self) -> OperatorClient<'_> {
        OperatorClient(self)
    }

    /// The calls of devices.
    pub fn device(&self) -> DeviceClient<'_> {
        DeviceClient(self)
    }

    /// The calls of anybody.
    pub fn public(&self) -> PublicClient<'_> {
        PublicClient(self)
    }

    /// Sends one request and waits for the head of the answer. An error
    /// status becomes [`ClientError::Refused`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = self.exchange(method, path, headers, body).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let authority = self.base.authority().map(|a| a.as_str()).unwrap_or_default();
        let uri = Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|_| ClientError::Address(path.chars().take(200).collect(), "not a path"))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Err(_) => Err(ClientError::Timeout(self.base.to_string())),
            Ok(Err(err)) => Err(ClientError::unreachable(&self.base, &err)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    async fn refusal(&self, answer: Response<Incoming>) -> ClientError {
        let status = answer.status();
        match self.read(answer, 64 * 1024).await {
            Ok(body) => match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => ClientError::Refused(Box::new(problem)),
                Err(_) => ClientError::Status(status),
            },
            Err(_) => ClientError::Status(status),
        }
    }

    /// Reads a whole body of at most `max` bytes.
    async fn read(&self, answer: Response<Incoming>, max: usize) -> Result<Bytes, ClientError> {
        let collected = Limited::new(answer.into_body(), max).collect();
        match tokio::time::timeout(self.timeout, collected).await {
            Err(_) => Err(ClientError::Timeout(self.base.to_string())),
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(err)) if err.is::<http_body_util::LengthLimitError>() => Err(ClientError::TooLong(max)),
            Ok(Err(err)) => Err(ClientError::Broken(err.to_string())),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        self.call_with(method, path, HeaderMap::new(), body).await
    }

    async fn call_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = match body {
            None => Bytes::new(),
            Some(body) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                serde_json::to_vec(body).map_err(|err| ClientError::Broken(err.to_string()))?.into()
            }
        };
        let answer = self.send(method, path, headers, body).await?;
        // An empty answer stands for `null`, so calls without an answer
        // decode into `()`.
        let bytes = match answer.status() {
            StatusCode::NO_CONTENT => Bytes::from_static(b"null"),
            _ => self.read(answer, JSON_MAX).await?,
        };
        serde_json::from_slice(&bytes).map_err(|err| ClientError::Answer(err.to_string()))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn document(&self, path: &str) -> Result<Bytes, ClientError> {
        let answer = self.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await?;
        self.read(answer, DOCUMENT_MAX).await
    }
}

/// `path?after=…&limit=…`. Cursors are ids or digests; anything else is
/// percent-encoded.
fn paged(path: &str, page: &crate::encoding::PageQuery) -> String {
    let mut out = path.to_owned();
    let mut separator = if path.contains('?') { '&' } else { '?' };
    if let Some(after) = &page.after {
        out.push(separator);
        out.push_str("after=");
        escape(after, &mut out);
        separator = '&';
    }
    if let Some(limit) = page.limit {
        out.push(separator);
        out.push_str(&format!("limit={limit}"));
    }
    out
}

/// `path?name=value&…`, for the members of a query that are there.
fn queried(path: &str, query: &impl Serialize) -> Result<String, ClientError> {
    let members = serde_json::to_value(query).map_err(|err| ClientError::Broken(err.to_string()))?;
    let mut out = path.to_owned();
    let mut separator = '?';
    for (name, value) in members.as_object().into_iter().flatten() {
        out.push(separator);
        out.push_str(name);
        out.push('=');
        match value.as_str() {
            Some(text) => escape(text, &mut out),
            None => escape(&value.to_string(), &mut out),
        }
        separator = '&';
    }
    Ok(out)
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}
