//! The wire: bytes of a test's own over TLS, and whatever comes back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::device::Device;

/// Connections to one server.
pub struct Wire {
    connector: TlsConnector,
    runtime: Runtime,
}

/// How long a server may think about nonsense.
const PATIENCE: Duration = Duration::from_secs(120);

impl Wire {
    /// Trusts the server of a place, and has no certificate.
    pub fn new(place: &Path) -> Wire {
        Wire::with(place, |config| config.with_no_client_auth())
    }

    /// Trusts the server of a place, and has the certificate of a device.
    pub fn of_device(place: &Path, device: &Device) -> Wire {
        let state = device.home().join("state");
        let chain = certificates(&state.join("device.crt"));
        let key = PrivateKeyDer::from_pem_file(state.join("device.key")).unwrap();
        Wire::with(place, |config| config.with_client_auth_cert(chain, key).unwrap())
    }

    fn with(
        place: &Path,
        identity: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Wire {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&place.join("tls/server.pem")) {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = Arc::new(identity(config));
        Wire { connector: TlsConnector::from(config), runtime: Runtime::new().unwrap() }
    }

    /// Sends bytes inside TLS, and reads what comes back until the server
    /// closes or an answer is complete.
    pub fn ask(&self, url: &str, bytes: &[u8]) -> String {
        self.runtime.block_on(async {
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(authority(url)).await.unwrap();
            let mut stream = self.connector.connect(name, stream).await.unwrap();
            // A server that has read enough closes before we are done.
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            read(&mut stream).await
        })
    }

    /// Sends bytes without TLS.
    pub fn ask_plainly(&self, url: &str, bytes: &[u8]) -> String {
        self.runtime.block_on(async {
            let mut stream = TcpStream::connect(authority(url)).await.unwrap();
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            read(&mut stream).await
        })
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn authority(url: &str) -> String {
    url.replace("https://localhost", "127.0.0.1")
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await;
        match read.expect("the server answers or closes") {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend(&piece[..count]),
        }
        if complete(&answer) {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}
