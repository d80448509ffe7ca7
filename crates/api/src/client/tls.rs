//! The client's side of TLS 1.3: whom it trusts and who it is.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};

use super::error::ClientError;

pub(super) fn config(
    authorities: &[u8],
    identity: Option<(&[u8], &[u8])>,
    ignore_dates: bool,
) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(authorities, provider.clone(), ignore_dates)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|err| ClientError::Authority(err.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates(chain).map_err(ClientError::Identity)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| ClientError::Identity("the key file holds no private key in PEM".to_owned()))?;
            builder.with_client_auth_cert(chain, key).map_err(|err| ClientError::Identity(err.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|err| format!("not PEM: {err}"))?;
    if found.is_empty() { Err("it holds no certificate in PEM".to_owned()) } else { Ok(found) }
}

fn verifier(
    authorities: &[u8],
    provider: Arc<CryptoProvider>,
    ignore_dates: bool,
) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    if authorities.is_empty() {
        return Err(ClientError::NoAuthority);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities).map_err(ClientError::Authority)? {
        roots.add(certificate).map_err(|err| ClientError::Authority(err.to_string()))?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|err| ClientError::Authority(err.to_string()))?;
    if ignore_dates { Ok(Arc::new(Dateless(inner))) } else { Ok(inner) }
}

/// Everything that webpki checks, except the dates: for a device without a
/// clock.
///
/// The check is repeated at the moment that the first one named as the end
/// (or the beginning) of validity, so name, chain, usage and signatures are
/// always verified by webpki itself; no error is turned into a success.
#[derive(Debug)]
struct Dateless(Arc<WebPkiServerVerifier>);

/// Dates tried: every certificate of a chain can name one.
const TRIES: usize = 8;

impl ServerCertVerifier for Dateless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        mut now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        for _ in 0..TRIES {
            match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                    now = not_after;
                }
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) => now = not_before,
                verdict => return verdict,
            }
        }
        Err(Error::InvalidCertificate(CertificateError::Expired))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
