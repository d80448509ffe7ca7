//! Certificate chains (RFC 5280 §6), as far as timestamps need them.

use der::Encode;
use firmseal_fleet::Time;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use crate::Verify;
use crate::certificate::{ANY_PURPOSE, TIME_STAMPING, understood};
use crate::error::TimestampError;
use crate::scheme;

/// Longest path, the signer and the authority included.
const PATH_MAX: usize = 6;
/// Most signatures that are checked: certificates that all name each other
/// as issuers are not walked in every order.
const CHECKS_MAX: usize = 24;
/// Most certificates that are configured.
const AUTHORITIES_MAX: usize = 64;

/// Authorities that are believed: their certificates, from a configuration.
/// A signer's own certificate may be one.
#[derive(Clone, Default, Debug)]
pub struct Authorities(Vec<Certificate>);

impl Authorities {
    /// Reads certificates in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Authorities, TimestampError> {
        let read = Certificate::load_pem_chain(pem)
            .map_err(|_| TimestampError::Authority("is no certificate in PEM"))?;
        match read.len() {
            0 => Err(TimestampError::Authority("is no certificate in PEM")),
            1..=AUTHORITIES_MAX => Ok(Authorities(read)),
            _ => Err(TimestampError::Authority("stands among more than 64")),
        }
    }

    /// Every one.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Certificate> {
        self.0.iter()
    }

    /// Whether an authority of these stands behind a signer's certificate at
    /// a time. `between` are the certificates that came with the token.
    pub(crate) fn stand_behind(
        &self,
        signer: &Certificate,
        between: &[Certificate],
        at: Time,
        verify: Verify<'_>,
    ) -> bool {
        let mut walk = Walk { anchors: &self.0, between, at, verify, left: CHECKS_MAX };
        walk.reaches(signer, 0)
    }
}

struct Walk<'a> {
    anchors: &'a [Certificate],
    between: &'a [Certificate],
    at: Time,
    verify: Verify<'a>,
    left: usize,
}

impl Walk<'_> {
    /// Whether a path leads from here to an anchor. `below` is how
    /// many certificates stand below this one.
    fn reaches(&mut self, certificate: &Certificate, below: usize) -> bool {
        if below >= PATH_MAX || !self.is_valid(certificate) || (below > 0 && !may_issue(certificate, below)) {
            return false;
        }
        if self.anchors.contains(certificate) {
            return true;
        }
        let tbs = certificate.tbs_certificate();
        // Anchors first: a configured certificate ends the search.
        let (anchors, between) = (self.anchors, self.between);
        for issuer in anchors.iter().chain(between) {
            if issuer.tbs_certificate().subject() != tbs.issuer() || issuer == certificate {
                continue;
            }
            let Some(left) = self.left.checked_sub(1) else { return false };
            self.left = left;
            if self.signed(certificate, issuer) && self.reaches(issuer, below + 1) {
                return true;
            }
        }
        false
    }

    fn signed(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let tbs = certificate.tbs_certificate();
        if certificate.signature_algorithm() != tbs.signature() {
            return false;
        }
        let key = issuer.tbs_certificate().subject_public_key_info().to_der();
        let (Some(scheme), Ok(key), Ok(message), Some(signature)) = (
            scheme::of(certificate.signature_algorithm(), None),
            key,
            tbs.to_der(),
            certificate.signature().as_bytes(),
        ) else {
            return false;
        };
        (self.verify)(scheme, &key, &message, signature)
    }

    /// Whether it is in date, and says nothing critical that is not
    /// understood here.
    fn is_valid(&self, certificate: &Certificate) -> bool {
        let validity = certificate.tbs_certificate().validity();
        let seconds = self.at.millis() / 1000;
        let not_before = validity.not_before.to_unix_duration().as_secs();
        let not_after = validity.not_after.to_unix_duration().as_secs();
        not_before <= seconds && seconds <= not_after && understood(certificate)
    }
}

/// Whether a certificate may issue others, with this many below it.
fn may_issue(certificate: &Certificate, below: usize) -> bool {
    let tbs = certificate.tbs_certificate();
    let Ok(Some((_, constraints))) = tbs.get_extension::<BasicConstraints>() else { return false };
    // The path length counts certificates between, without the last.
    let path = constraints.path_len_constraint.is_none_or(|most| below - 1 <= usize::from(most));
    let usage = match tbs.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    let extended = match tbs.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((_, usage))) => usage.0.iter().any(|oid| [TIME_STAMPING, ANY_PURPOSE].contains(oid)),
        Ok(None) => true,
        Err(_) => false,
    };
    constraints.ca && path && usage && extended
}
