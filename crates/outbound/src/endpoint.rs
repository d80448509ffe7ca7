//! Endpoints: where requests go, and what comes back.
//!
//! Connections are kept for the next request: a key service behind TLS would
//! otherwise spend most of its time on handshakes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::tls;

/// Connections that are kept while nobody uses them, and for how long: less
/// than servers do, so that a request seldom meets one that is just closed.
const IDLE_MAX: usize = 16;
const IDLE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address cannot be used, whatever is tried.
    #[error("`{url}` cannot be used: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody took the request: nothing of it was sent. Trying again may
    /// help.
    #[error("{0}")]
    NotSent(String),
    /// No answer; trying again may help. The request may have been carried
    /// out.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time. The request may have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// More than was asked for.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    max: usize,
}

impl Request {
    /// Gets a path below the endpoint's; an answer of more than `max` bytes
    /// is an error.
    pub fn get(path: impl Into<String>, max: usize) -> Request {
        Request { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), max }
    }

    /// Posts a body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>, max: usize) -> Request {
        Request { method: Method::POST, body: body.into(), ..Request::get(path, max) }
    }

    /// Puts a body.
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>, max: usize) -> Request {
        Request { method: Method::PUT, body: body.into(), ..Request::get(path, max) }
    }

    /// Deletes what is at a path.
    pub fn delete(path: impl Into<String>, max: usize) -> Request {
        Request { method: Method::DELETE, ..Request::get(path, max) }
    }

    /// Asks whether something is there.
    pub fn head(path: impl Into<String>) -> Request {
        Request { method: Method::HEAD, ..Request::get(path, 0) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Request {
        self.headers.append(name, value);
        self
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Fetched {
    /// Its content type, as it was sent.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }
}

/// Where requests go: a base address, with a path below which everything is.
/// Clones share connections.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    base: String,
    authority: String,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    timeout: Duration,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

/// A connection, and the task that drives it: with the one goes the other.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Endpoint {
    /// An endpoint at `http://...` or `https://...`; for the latter with the
    /// authorities in this PEM text. `http://` is for answers that prove
    /// themselves, where whoever sits in between can only be in the way;
    /// whoever sends a secret asks [`Endpoint::is_private`] first.
    pub fn new(url: &str, authorities: Option<&[u8]>, timeout: Duration) -> Result<Endpoint, OutboundError> {
        Endpoint::with_identity(url, authorities, None, timeout)
    }

    /// The same, and shows a client certificate: chain and key, PEM.
    pub fn with_identity(
        url: &str,
        authorities: Option<&[u8]>,
        identity: Option<(&[u8], &[u8])>,
        timeout: Duration,
    ) -> Result<Endpoint, OutboundError> {
        let bad = |why: &str| OutboundError::Address { url: url.to_owned(), why: why.to_owned() };
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| bad("it is no address"))?;
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(bad("it has a query or a name before the host"));
        }
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let pem = authorities.ok_or_else(|| bad("https needs a file of certificate authorities"))?;
                (Some(tls::connector(pem, identity).map_err(|why| bad(&why))?), 443)
            }
            _ => return Err(bad("it begins with http:// or https://")),
        };
        let inner = Inner {
            base: uri.path().trim_end_matches('/').to_owned(),
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(port),
            tls,
            timeout,
            idle: Mutex::default(),
        };
        Ok(Endpoint { inner: Arc::new(inner) })
    }

    /// Whether nobody in between reads along.
    pub fn is_private(&self) -> bool {
        self.inner.tls.is_some()
    }

    /// Gets a path below the base; an answer of more than `max` bytes is an
    /// error.
    pub async fn get(&self, path: &str, max: usize) -> Result<Fetched, OutboundError> {
        self.send(Request::get(path, max)).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: Bytes, max: usize) -> Result<Fetched, OutboundError> {
        self.send(Request::post(path, body, max)).await
    }

    /// Sends a request. It is sent once: what was lost on the way may have
    /// been carried out, and whether it may be repeated only the caller
    /// knows.
    pub async fn send(&self, request: Request) -> Result<Fetched, OutboundError> {
        match tokio::time::timeout(self.inner.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(OutboundError::Timeout),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Fetched, OutboundError> {
        let Request { method, path, headers, body, max } = request;
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = method;
        *message.uri_mut() = format!("{}/{path}", self.inner.base)
            .parse()
            .map_err(|_| OutboundError::Address { url: path, why: "not a path".to_owned() })?;
        *message.headers_mut() = headers;
        let host = HeaderValue::try_from(&self.inner.authority).map_err(unreachable)?;
        message.headers_mut().insert(header::HOST, host);

        let (connection, answer) = self.inner.begin(message).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, max).collect().await.map_err(|error| {
            match error.is::<LengthLimitError>() {
                true => OutboundError::TooLong(max),
                false => unreachable(error),
            }
        })?;
        // Only one whose answer was read to its end serves again.
        self.inner.keep(connection);
        Ok(Fetched { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }
}

impl Inner {
    /// Sends a message on a kept connection or a new one.
    async fn begin(
        &self,
        mut message: http::Request<Full<Bytes>>,
    ) -> Result<(Connection, http::Response<Incoming>), OutboundError> {
        while let Some(mut connection) = self.kept() {
            match connection.sender.try_send_request(message).await {
                Ok(answer) => return Ok((connection, answer)),
                // Nothing of it was sent: the other side had closed.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => message = unsent,
                    None => return Err(unreachable(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let answer = connection.sender.send_request(message).await.map_err(unreachable)?;
        Ok((connection, answer))
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, connection)| since.elapsed() < IDLE && !connection.sender.is_closed());
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push((Instant::now(), connection));
        }
    }

    async fn connect(&self) -> Result<Connection, OutboundError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(not_sent)?;
        // Small requests leave at once; a failure costs latency only.
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            None => drive(tcp).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(not_sent)?;
                drive(tls.connect(name, tcp).await.map_err(not_sent)?).await
            }
        }
    }
}

async fn drive(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, OutboundError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(not_sent)?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer hears of it.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver: driver.abort_handle() })
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}{})", self.inner.authority, self.inner.base)
    }
}

fn not_sent(error: impl std::fmt::Display) -> OutboundError {
    OutboundError::NotSent(error.to_string())
}

fn unreachable(error: impl std::fmt::Display) -> OutboundError {
    OutboundError::Unreachable(error.to_string())
}
