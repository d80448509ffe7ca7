//! TLS 1.3, and nothing older: who is let in on which listener.
//!
//! A listener has one of three doors. *Encrypted only* asks for no client
//! certificate. *Operators* demands one that an authority file vouches for.
//! *Devices* accepts certificates of the server's own device CA, expired
//! ones too, because an expired device must still reach its renewal; what
//! an expired certificate opens is decided per request, by type.

mod authority;
mod device;
mod names;
mod reload;
mod verifier;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_keys::KeysError;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version;

pub use authority::Authority;
pub(crate) use names::sha256;
pub use names::{HostRule, PeerCertificate};
pub(crate) use reload::{Reload, ReloadingTls};

/// Why TLS settings cannot be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A private key is readable by others, or cannot be read.
    #[error(transparent)]
    Key(#[from] KeysError),
    /// A file does not hold what it should.
    #[error("{path} holds {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not belong together, or rustls refuses them.
    #[error("the certificate {certificate} cannot be used with its key: {why}")]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// What rustls said.
        why: String,
    },
    /// A host rule is not a name.
    #[error("`{rule}` in check_remote_host is not a host or domain: {why}")]
    HostRule {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Whom a listener lets in.
#[derive(Clone, Debug)]
pub enum Door {
    /// Anybody; the connection is encrypted and the server authenticated.
    EncryptedOnly,
    /// Holders of client certificates that the authority file vouches for,
    /// and of these only the named hosts, where there are names.
    Operators {
        /// PEM: certificate authorities and single client certificates.
        authority: PathBuf,
        /// Admitted names; empty admits every name.
        hosts: Vec<HostRule>,
    },
    /// Devices with a certificate of the device CA, and strangers who come
    /// to enrol.
    Devices {
        /// The device CA's certificates, PEM.
        authority: PathBuf,
    },
}

/// The files and rules of one listener.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Whom it lets in.
    pub door: Door,
}

impl TlsSettings {
    /// The files that a change of settings can arrive in.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let mut files = vec![self.certificate.as_path(), self.key.as_path()];
        match &self.door {
            Door::EncryptedOnly => {}
            Door::Operators { authority, .. } | Door::Devices { authority } => files.push(authority),
        }
        files
    }

    /// Reads the files and builds the configuration.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&firmseal_keys::private::read(&self.key)?).map_err(|_| {
            TlsError::Unusable {
                path: self.key.clone(),
                why: "no private key in PEM; `firmseal tls import` converts other forms".to_owned(),
            }
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mismatch = |why: rustls::Error| TlsError::Mismatch {
            certificate: self.certificate.clone(),
            why: why.to_string(),
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(mismatch)?;
        let builder = match &self.door {
            Door::EncryptedOnly => builder.with_no_client_auth(),
            Door::Operators { authority, hosts } => {
                let authority = Authority::read(authority)?;
                builder.with_client_cert_verifier(Arc::new(verifier::OperatorVerifier::new(
                    authority,
                    hosts.clone(),
                    provider,
                )?))
            }
            Door::Devices { authority } => builder.with_client_cert_verifier(Arc::new(
                device::DeviceVerifier::new(&Authority::read(authority)?, provider)?,
            )),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
        // HTTP/1.1 only: callers are machines that keep one connection
        // alive, and one request at a time on each is a bound that needs no
        // counting. HTTP/2's floods (CVE-2023-44487 and kin) have no door.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if !matches!(self.door, Door::EncryptedOnly) {
            // A resumed session repeats the verdict of an earlier handshake:
            // it would outlive an authority file that was replaced since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|err| TlsError::Unreadable { path: path.to_owned(), why: err.to_string() })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |why: String| TlsError::Unusable { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| unusable(format!("no readable PEM ({err})")))?;
    if certificates.is_empty() {
        return Err(unusable("no certificate in PEM; `firmseal tls import` converts other forms".to_owned()));
    }
    Ok(certificates)
}
