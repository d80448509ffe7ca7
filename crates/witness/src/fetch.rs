//! HTTP as logs and witnesses need it: one request, one bounded answer.
//!
//! `http://` is allowed: what comes back is signed, and whoever sits in
//! between can only be in the way. `https://` needs an authority file; public
//! authorities are not assumed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be used, whatever is tried.
    #[error("`{url}` cannot be used: {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No answer; trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// Its content type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Where requests go: a base address, with a path below which everything is.
#[derive(Clone)]
pub struct Endpoint {
    base: String,
    authority: String,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl Endpoint {
    /// An endpoint at `http://...` or `https://...`; for the latter with the
    /// authorities in this PEM text.
    pub fn new(url: &str, authorities: Option<&[u8]>, timeout: Duration) -> Result<Endpoint, FetchError> {
        let bad = |why: &str| FetchError::Address { url: url.to_owned(), why: why.to_owned() };
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| bad("it is no address"))?;
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(bad("it has a query or a name before the host"));
        }
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let pem = authorities.ok_or_else(|| bad("https needs a file of certificate authorities"))?;
                (Some(connector(pem).map_err(|why| bad(&why))?), 443)
            }
            _ => return Err(bad("it begins with http:// or https://")),
        };
        Ok(Endpoint {
            base: uri.path().trim_end_matches('/').to_owned(),
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(port),
            tls,
            timeout,
        })
    }

    /// Gets a path below the base; an answer of more than `max` bytes is an
    /// error.
    pub async fn get(&self, path: &str, max: usize) -> Result<Fetched, FetchError> {
        self.request(Method::GET, path, Bytes::new(), max).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: Bytes, max: usize) -> Result<Fetched, FetchError> {
        self.request(Method::POST, path, body, max).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        max: usize,
    ) -> Result<Fetched, FetchError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.base))
            .header(header::HOST, &self.authority)
            .body(Full::new(body))
            .map_err(|error| FetchError::Address { url: path.to_owned(), why: error.to_string() })?;
        let exchange = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
            // Small requests leave at once; a failure costs latency only.
            let _ = tcp.set_nodelay(true);
            match &self.tls {
                None => exchange(tcp, request, max).await,
                Some(tls) => {
                    let name = ServerName::try_from(self.host.clone()).map_err(unreachable)?;
                    let stream = tls.connect(name, tcp).await.map_err(unreachable)?;
                    exchange(stream, request, max).await
                }
            }
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout),
        }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}{})", self.authority, self.base)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    max: usize,
) -> Result<Fetched, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(unreachable)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, max).collect().await.map_err(unreachable)?.to_bytes();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Fetched { status: head.status.as_u16(), content_type: kind.map(str::to_owned), body })
    };
    // Both in one future: when it is dropped, nothing stays behind.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            // The other side may close once it has answered.
            Ok(()) => answer.await,
            Err(error) => Err(unreachable(error)),
        },
    }
}

fn unreachable(error: impl std::fmt::Display) -> FetchError {
    FetchError::Unreachable(error.to_string())
}

fn connector(pem: &[u8]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the authority file is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("the authority file holds no certificate".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
