//! Authority files: certificate authorities, chosen client certificates, or
//! both in one PEM file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use firmseal_manifest::Digest;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::names::sha256;
use super::{TlsError, read_certificates};

/// What an authority file vouches for.
#[derive(Debug)]
pub struct Authority {
    pub(super) path: PathBuf,
    /// Certificates that may sign client certificates.
    pub(super) roots: RootCertStore,
    /// Every listed certificate by digest: whoever presents exactly one of
    /// these, and holds its key, was chosen by name.
    pub(super) chosen: HashSet<Digest>,
}

impl Authority {
    /// Reads a PEM file.
    pub fn read(path: &Path) -> Result<Authority, TlsError> {
        Authority::from_certificates(path, &read_certificates(path)?)
    }

    fn from_certificates(path: &Path, listed: &[CertificateDer<'static>]) -> Result<Authority, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut chosen = HashSet::new();
        for certificate in listed {
            chosen.insert(sha256(certificate));
            // Only what says that it is an authority becomes one: a chosen
            // client certificate must not be able to sign others.
            if is_authority(path, certificate)? {
                roots.add(certificate.clone()).map_err(|err| unusable(path, &err.to_string()))?;
            }
        }
        Ok(Authority { path: path.to_owned(), roots, chosen })
    }
}

fn is_authority(path: &Path, certificate: &CertificateDer<'_>) -> Result<bool, TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|err| unusable(path, &format!("a certificate that cannot be read ({err})")))?;
    let constraints = parsed
        .basic_constraints()
        .map_err(|_| unusable(path, "a certificate with basic constraints twice"))?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn unusable(path: &Path, why: &str) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), why: why.to_owned() }
}
