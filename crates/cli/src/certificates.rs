//! Certificates: what they say of themselves, and self-signed ones.

use std::net::IpAddr;

use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Time;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::error::{CliError, Kind, Result};

/// A certificate as it is printed.
#[derive(Serialize, Debug)]
pub struct Shown {
    /// Who it is for.
    pub subject: String,
    /// Common names: what `check_remote_host` is compared with, together
    /// with `alternative_names`.
    pub common_names: Vec<String>,
    /// Subject alternative names: hosts, addresses, URIs, mail addresses.
    pub alternative_names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Whether subject and issuer are the same.
    pub self_issued: bool,
    /// Whether it may sign certificates.
    pub authority: bool,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Beginning of its validity.
    pub not_before: Time,
    /// End of its validity.
    pub not_after: Time,
    /// SHA-256 of the certificate.
    pub sha256: Digest256,
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key_sha256: Digest256,
}

/// A digest that serialises as hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest256(pub Digest);

impl Serialize for Digest256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Shown {
    /// Reads a certificate. Nothing about it is verified.
    pub fn read(der: &[u8]) -> Result<Shown> {
        let certificate = parse(der)?;
        let time = |seconds: i64| Time::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        Ok(Shown {
            subject: certificate.subject().to_string(),
            common_names: certificate
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
            alternative_names: alternative_names(&certificate),
            issuer: certificate.issuer().to_string(),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            authority: certificate.is_ca(),
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
            sha256: Digest256(RustCrypto.digest(der)),
            key_sha256: Digest256(RustCrypto.digest(certificate.public_key().raw)),
        })
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => Some(v4.into()),
        Err(_) => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// Reads a certificate. Nothing about it is verified.
pub fn parse(der: &[u8]) -> Result<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => {
            Err(CliError::new(Kind::Refused, format_args!("a certificate that is not X.509: {error}")))
        }
    }
}
