//! The operators' door: an authority file, and a list of admitted names.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::TlsError;
use super::authority::Authority;
use super::names::{HostRule, PeerCertificate, sha256};

#[derive(Debug)]
pub(super) struct OperatorVerifier {
    authority: Authority,
    /// Absent when the file lists chosen certificates only.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    hosts: Vec<HostRule>,
    provider: Arc<CryptoProvider>,
}

impl OperatorVerifier {
    pub(super) fn new(
        authority: Authority,
        hosts: Vec<HostRule>,
        provider: Arc<CryptoProvider>,
    ) -> Result<OperatorVerifier, TlsError> {
        let chains = if authority.roots.is_empty() {
            None
        } else {
            let roots = Arc::new(authority.roots.clone());
            let inner = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|err| TlsError::Unusable { path: authority.path.clone(), why: err.to_string() })?;
            Some(inner)
        };
        Ok(OperatorVerifier { authority, chains, hosts, provider })
    }

    fn admit_names(&self, end_entity: &CertificateDer<'_>) -> Result<(), Error> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let peer = PeerCertificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
        let admitted = peer.names.iter().any(|name| self.hosts.iter().any(|rule| rule.admits(name)));
        // rustls sends this one as the alert access_denied.
        if admitted { Ok(()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
    }
}

/// A chosen certificate stands for itself: no chain, but its dates and its
/// usage hold as they would anywhere.
fn admit_chosen(end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(end_entity).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if seconds < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(())
}

impl ClientCertVerifier for OperatorVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: with chosen certificates in the file they would steer
        // clients away from certificates that are welcome.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.authority.chosen.contains(&sha256(end_entity)) {
            admit_chosen(end_entity, now)?;
        } else {
            let chains = self.chains.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            chains.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.admit_names(end_entity)?;
        Ok(ClientCertVerified::assertion())
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
