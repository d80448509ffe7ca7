//! The devices' door: certificates of the device CA, in date or not.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::TlsError;
use super::authority::Authority;

/// Most dates tried for one chain: each certificate can name one.
const TRIES: usize = 8;

#[derive(Debug)]
pub(super) struct DeviceVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl DeviceVerifier {
    pub(super) fn new(
        authority: &Authority,
        provider: Arc<CryptoProvider>,
    ) -> Result<DeviceVerifier, TlsError> {
        let unusable = |why| TlsError::Unusable { path: authority.path.clone(), why };
        if authority.roots.is_empty() {
            return Err(unusable(
                "no certificate authority (CA:TRUE and keyCertSign); the device CA is one".to_owned(),
            ));
        }
        let roots = Arc::new(authority.roots.clone());
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|err| unusable(err.to_string()))?;
        Ok(DeviceVerifier { chains, provider })
    }
}

impl ClientCertVerifier for DeviceVerifier {
    /// A device that has no certificate yet comes to enrol; it finds every
    /// other route closed.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    /// Chain, usage and signatures as webpki checks them. If the only thing
    /// wrong is a date, the whole check is repeated at that date: whatever
    /// succeeds was verified by webpki, no error is turned into a success.
    /// What an expired certificate opens is decided per request.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        mut now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        for _ in 0..TRIES {
            match self.chains.verify_client_cert(end_entity, intermediates, now) {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                    now = not_after;
                }
                verdict => return verdict,
            }
        }
        Err(CertificateError::Expired.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("tls 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
