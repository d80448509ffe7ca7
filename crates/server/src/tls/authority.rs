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
    /// Certificates that may sign client certificates, and say so.
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
            match standing(path, certificate)? {
                Standing::Authority => {
                    roots.add(certificate.clone()).map_err(|err| unusable(path, &err.to_string()))?;
                }
                Standing::Unclear => {
                    tracing::warn!(
                        file = %path.display(),
                        "a certificate says that it is an authority, but not that its key may sign \
                         certificates (keyCertSign): it stands for itself alone"
                    );
                }
                Standing::Leaf => {}
            }
            chosen.insert(sha256(certificate));
        }
        Ok(Authority { path: path.to_owned(), roots, chosen })
    }
}

/// What a listed certificate may vouch for.
enum Standing {
    /// Itself, and certificates that it signed.
    Authority,
    /// Itself: it says half of what an authority says.
    Unclear,
    /// Itself.
    Leaf,
}

/// Only what says in both places that it is an authority becomes one (RFC
/// 5280 §4.2.1.9: "If the basic constraints extension is not present [...]
/// or the extension is present but the cA boolean is not asserted, then the
/// certified public key MUST NOT be used to verify certificate
/// signatures"). Common tools write `CA:TRUE` into any self-signed
/// certificate, a client's own one too, and leave the key usage out; whoever
/// lists such a client must not have appointed an authority by it.
fn standing(path: &Path, certificate: &CertificateDer<'_>) -> Result<Standing, TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|err| unusable(path, &format!("a certificate that cannot be read ({err})")))?;
    let constraints = parsed
        .basic_constraints()
        .map_err(|_| unusable(path, "a certificate with basic constraints twice"))?;
    let usage = parsed.key_usage().map_err(|_| unusable(path, "a certificate with its key usage twice"))?;
    let says = constraints.is_some_and(|constraints| constraints.value.ca);
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign());
    Ok(match (says, signs) {
        (true, true) => Standing::Authority,
        (true, false) => Standing::Unclear,
        (false, _) => Standing::Leaf,
    })
}

fn unusable(path: &Path, why: &str) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), why: why.to_owned() }
}
