//! The device CA: certificates that say which device, of which product.
//!
//! A certificate is a name tag. What it opens is looked up in the store for
//! every request, so a certificate that leaked out of a backup, or that
//! nobody recorded, opens nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use firmseal_fleet::{Certificate as Record, Time};
use firmseal_keys::private;
use firmseal_manifest::{DeviceId, ProductId, PublicKey};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::OffsetDateTime;

use crate::config::DeviceCaFiles;
use crate::tls::sha256;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA's files cannot be used.
    #[error("the device CA cannot be used: {0}")]
    Files(String),
    /// The request is not PKCS#10, or its signature does not verify: nobody
    /// proved possession of the key.
    #[error("the certificate request is not PKCS#10 in PEM signed by its own key")]
    Request,
    /// The request's key is of a kind that is not accepted.
    #[error("the certificate request's key is not accepted: {0}")]
    Key(String),
    /// Making the certificate failed.
    #[error("a certificate could not be made: {0}")]
    Issuing(String),
}

/// A certificate and its key, both PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: zeroize::Zeroizing<String>,
}

/// A device certificate that was just made.
pub(crate) struct Issued {
    /// The certificate and the CA's, PEM.
    pub(crate) chain: String,
    /// What the store keeps.
    pub(crate) record: Record,
}

/// The device CA.
pub struct DeviceCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    valid: Duration,
}

/// Longest request, in bytes of PEM: an RSA key of 4096 bits takes 2 kB.
const REQUEST_MAX: usize = 16 * 1024;
/// Devices' clocks and ours differ: certificates begin a little early.
const LEEWAY: Duration = Duration::from_secs(3600);
const YEAR: u64 = 365 * 24 * 3600;

impl DeviceCa {
    /// Reads the CA's files.
    pub fn read(files: &DeviceCaFiles) -> Result<DeviceCa, CaError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|err| CaError::Files(format!("{}: {err}", path.display())))
        };
        let certificate = read(&files.certificate)?;
        let key = private::read(&files.key).map_err(|err| CaError::Files(err.to_string()))?;
        let key = std::str::from_utf8(&key)
            .map_err(|_| CaError::Files(format!("{} holds no key in PEM", files.key.display())))?;
        let valid = Duration::from_secs(u64::from(files.valid_days.max(1)) * 24 * 3600);
        let named = |path: &Path, err: rcgen::Error| CaError::Files(format!("{}: {err}", path.display()));
        let key = KeyPair::from_pem(key).map_err(|err| named(&files.key, err))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).map_err(|err| named(&files.certificate, err))?;
        Ok(DeviceCa { issuer, certificate, valid })
    }

    /// Issues a certificate for the key of a request. Names and extensions
    /// in the request are ignored: the server says who a device is.
    pub(crate) fn issue(
        &self,
        request: &str,
        device: DeviceId,
        product: &ProductId,
        now: Time,
    ) -> Result<Issued, CaError> {
        if request.len() > REQUEST_MAX {
            return Err(CaError::Request);
        }
        // Verifies the request's signature under its own key (RFC 2986 §3).
        let request = CertificateSigningRequestParams::from_pem(request).map_err(|_| CaError::Request)?;
        let spki = request.public_key.subject_public_key_info();
        PublicKey::from_spki(&spki).map_err(|err| CaError::Key(err.to_string()))?;

        let issuing = |err: &dyn std::fmt::Display| CaError::Issuing(err.to_string());
        let mut serial = [0u8; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|err| issuing(&err))?;
        // Positive and without a leading zero byte (RFC 5280 §4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, device.to_string());
        params.distinguished_name.push(DnType::OrganizationalUnitName, product.as_str());
        let urn = Ia5String::try_from(format!("urn:uuid:{}", device.uuid())).map_err(|err| issuing(&err))?;
        params.subject_alt_names = vec![SanType::URI(urn)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let not_after = seconds(now).saturating_add(self.valid.as_secs());
        params.not_before = date(seconds(now).saturating_sub(LEEWAY.as_secs()))?;
        params.not_after = date(not_after)?;
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(|err| issuing(&err))?;
        Ok(Issued {
            chain: format!("{}{}", certificate.pem(), self.certificate),
            record: Record {
                fingerprint: sha256(certificate.der()),
                spki: sha256(&spki),
                serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
                not_after: Time::from_millis(not_after.saturating_mul(1000)),
            },
        })
    }
}

fn seconds(time: Time) -> u64 {
    time.millis() / 1000
}

fn date(seconds: u64) -> Result<OffsetDateTime, CaError> {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| CaError::Issuing("a date beyond the year 9999".to_owned()))
}

/// Makes a device CA: for `init`, tests and the demo.
pub fn create_device_ca(now: Time) -> Result<Pair, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "firmseal device CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    finish(params, now, 20 * YEAR)
}

/// Makes a self-signed certificate for a server of these names and
/// addresses: clients trust exactly this file. It is no authority: whoever
/// steals its key must not mint other names.
pub fn create_server_certificate(names: &[String], valid_days: u32, now: Time) -> Result<Pair, CaError> {
    self_signed(names, ExtendedKeyUsagePurpose::ServerAuth, valid_days, now)
}

/// The same for a client: whoever it calls lets in exactly this file.
pub fn create_client_certificate(name: &str, valid_days: u32, now: Time) -> Result<Pair, CaError> {
    self_signed(&[name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, valid_days, now)
}

fn self_signed(
    names: &[String],
    usage: ExtendedKeyUsagePurpose,
    valid_days: u32,
    now: Time,
) -> Result<Pair, CaError> {
    let mut params =
        CertificateParams::new(names.to_vec()).map_err(|err| CaError::Issuing(err.to_string()))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("firmseal", String::as_str));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    finish(params, now, u64::from(valid_days) * 86_400)
}

fn finish(mut params: CertificateParams, now: Time, valid: u64) -> Result<Pair, CaError> {
    let issuing = |err: rcgen::Error| CaError::Issuing(err.to_string());
    params.not_before = date(seconds(now).saturating_sub(LEEWAY.as_secs()))?;
    params.not_after = date(seconds(now).saturating_add(valid))?;
    let key = KeyPair::generate().map_err(issuing)?;
    let certificate = params.self_signed(&key).map_err(issuing)?;
    Ok(Pair { certificate: certificate.pem(), key: zeroize::Zeroizing::new(key.serialize_pem()) })
}
