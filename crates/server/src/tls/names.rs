//! Names in certificates, and rules about them.

use std::net::IpAddr;
use std::str::FromStr;

use firmseal_fleet::Time;
use firmseal_manifest::Digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::TlsError;

/// What handlers may know about the certificate of a connection. It was
/// verified in the handshake, its key included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of the DER certificate.
    pub fingerprint: Digest,
    /// Names of hosts: common names, and alternative names that are DNS names
    /// or IP addresses. Mail addresses and URIs are left out: who issues
    /// them checks something else, and text that looks like a host can
    /// stand in either.
    pub names: Vec<String>,
    /// End of its validity.
    pub not_after: Time,
}

impl PeerCertificate {
    /// Whether it is for this host; names of hosts have no case.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Reads a verified certificate.
    pub(crate) fn read(der: &[u8]) -> Option<PeerCertificate> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Some(PeerCertificate {
            fingerprint: sha256(der),
            names: names_of(&parsed),
            not_after: Time::from_millis(seconds.saturating_mul(1000)),
        })
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let value = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Digest::from_slice(value.as_ref()).unwrap_or(Digest([0; 32]))
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return names };
    for name in &alternatives.value.general_names {
        let text = match name {
            GeneralName::DNSName(text) => (*text).to_owned(),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => address.to_string(),
                None => continue,
            },
            _ => continue,
        };
        if !names.contains(&text) {
            names.push(text);
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// One entry of `check_remote_host`: a name as it stands, or
/// `*.example.com` for every host below a domain, however deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    name: String,
    domain: bool,
}

impl HostRule {
    /// Whether a name from a certificate is admitted.
    pub fn admits(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !self.domain {
            return name == self.name;
        }
        // The dot before the suffix is part of the comparison, so that
        // `evilexample.com` is not below `example.com`; and a certificate
        // for `*.example.com` itself names no host.
        name.strip_suffix(&self.name)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|host| !host.is_empty() && !host.contains('*') && !host.starts_with('.'))
    }
}

impl FromStr for HostRule {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<HostRule, TlsError> {
        let fail = |why| Err(TlsError::HostRule { rule: text.chars().take(80).collect(), why });
        let (domain, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // An address has many spellings; certificates carry it in bytes.
        let name = name.parse::<IpAddr>().map_or(name, |address| address.to_string());
        if name.is_empty() {
            return fail("it is empty");
        }
        if name.contains('*') {
            return fail("`*` stands only at the beginning, as in `*.example.com`");
        }
        if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return fail("it has spaces or control characters");
        }
        Ok(HostRule { name, domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_admits_what_is_below_it_only() -> Result<(), TlsError> {
        for (rule, name, want) in [
            ("ci.example.com", "ci.example.com", true),
            ("ci.example.com", "CI.Example.COM", true),
            ("ci.example.com", "ci.example.com.", true),
            ("ci.example.com", "a.ci.example.com", false),
            ("*.example.com", "ci.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", "ci.example.com.evil.org", false),
            ("*.example.com", "*.example.com", false),
            ("build-7", "build-7", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("2001:DB8:0:0::1", "2001:db8::1", true),
            ("127.0.0.1", "localhost", false),
        ] {
            assert_eq!(rule.parse::<HostRule>()?.admits(name), want, "{rule} {name}");
        }
        for bad in ["", "*.", "*", "a.*.com", "a b", "*.*.com"] {
            assert!(bad.parse::<HostRule>().is_err(), "{bad:?}");
        }
        Ok(())
    }
}
