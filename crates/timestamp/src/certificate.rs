//! Certificates of timestamp signers: what they must say, and how a small
//! authority gets one.

use std::str::FromStr;
use std::time::Duration;

use der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString, UtcTime};
use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem, Sequence};
use firmseal_fleet::Time;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, ecdsa};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time as When, Validity};

use crate::error::TimestampError;
use crate::scheme::{ECDSA_SHA256, ECDSA_SHA384};

/// `id-kp-timeStamping`.
pub(crate) const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// `anyExtendedKeyUsage`.
pub(crate) const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Whether everything critical in a certificate is understood (RFC 5280
/// §4.2: "MUST reject the certificate if it encounters a critical extension
/// it does not recognize"). Names and policies are read by nobody here and
/// forbid nothing; name constraints would, and are not among these.
pub(crate) fn understood(certificate: &Certificate) -> bool {
    const KNOWN: [ObjectIdentifier; 5] =
        [KEY_USAGE, EXTENDED_KEY_USAGE, BASIC_CONSTRAINTS, CERTIFICATE_POLICIES, SUBJECT_ALT_NAME];
    let listed = certificate.tbs_certificate().extensions();
    let listed: &[Extension] = listed.map(Vec::as_slice).unwrap_or_default();
    let known = listed.iter().all(|one| !one.critical || KNOWN.contains(&one.extn_id));
    // One that stands twice says two things.
    let twice = |at: usize, one: &Extension| listed[..at].iter().any(|other| other.extn_id == one.extn_id);
    known && !listed.iter().enumerate().any(|(at, one)| twice(at, one))
}

/// Checks that a certificate is for timestamps and nothing else (RFC 3161
/// §2.3): "The corresponding certificate MUST contain only one instance of
/// the extended key usage field extension [...] with KeyPurposeID having
/// value: id-kp-timeStamping. This extension MUST be critical."
pub(crate) fn check_signer(certificate: &Certificate) -> Result<(), TimestampError> {
    let tbs = certificate.tbs_certificate();
    match tbs.get_extension::<ExtendedKeyUsage>() {
        Ok(Some((true, usage))) if usage.0 == [TIME_STAMPING] => {}
        _ => {
            return Err(TimestampError::Certificate(
                "is not for timestamps alone, or does not say so as critical",
            ));
        }
    }
    match tbs.get_extension::<KeyUsage>() {
        Ok(None) => {}
        Ok(Some((_, usage))) => {
            let others = [KeyUsages::DigitalSignature, KeyUsages::NonRepudiation];
            if usage.0.into_iter().any(|one| !others.contains(&one)) {
                return Err(TimestampError::Certificate("allows its key other uses than signatures"));
            }
        }
        Err(_) => return Err(TimestampError::Certificate("has a malformed key usage")),
    }
    match understood(certificate) {
        true => Ok(()),
        false => Err(TimestampError::Certificate("has a critical extension that is not understood")),
    }
}

/// What a signer's name is, for people.
pub(crate) fn subject(certificate: &Certificate) -> String {
    let name = certificate.tbs_certificate().subject().to_string();
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).take(256).collect()
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

#[derive(Sequence)]
struct Sealed {
    tbs: Tbs,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// A certificate of a small authority over its own key, not signed yet.
pub struct Unsigned {
    tbs: Tbs,
    key: PublicKey,
}

impl Unsigned {
    /// For a key with a name of letters, digits, spaces and `.-_`, from a
    /// time on and for so long. `serial` is random.
    pub fn new(
        key: &PublicKey,
        name: &str,
        serial: [u8; 16],
        from: Time,
        valid_for: Duration,
    ) -> Result<Unsigned, TimestampError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || " .-_".contains(c);
        if name.is_empty() || name.len() > 64 || name.trim() != name || !name.chars().all(plain) {
            return Err(TimestampError::Authority("needs a name of letters, digits, spaces and .-_"));
        }
        let malformed = |_: der::Error| TimestampError::Authority("cannot be written");
        let named = Name::from_str(&format!("CN={name}")).map_err(malformed)?;
        // "through the year 2049 as UTCTime" (RFC 5280 §4.1.2.5).
        let when = |seconds: u64| match Duration::from_secs(seconds) {
            time if seconds < 2_524_608_000 => UtcTime::from_unix_duration(time).map(When::UtcTime),
            time => GeneralizedTime::from_unix_duration(time).map(When::GeneralTime),
        };
        let from = from.millis() / 1000;
        let mut serial = serial;
        serial[0] = serial[0] >> 1 | 0x40;
        let extension = |id: ObjectIdentifier, value: der::Result<Vec<u8>>| {
            let value = value.and_then(OctetString::new).map_err(malformed)?;
            Ok(Extension { extn_id: id, critical: true, extn_value: value })
        };
        let usage = KeyUsage(KeyUsages::DigitalSignature.into());
        let tbs = Tbs {
            version: Version::V3,
            serial: SerialNumber::new(&serial).map_err(malformed)?,
            signature: algorithm(key)?,
            issuer: named.clone(),
            validity: Validity::new(
                when(from).map_err(malformed)?,
                when(from.saturating_add(valid_for.as_secs())).map_err(malformed)?,
            ),
            subject: named,
            key: SubjectPublicKeyInfoOwned::from_der(key.spki()).map_err(malformed)?,
            extensions: vec![
                extension(KEY_USAGE, usage.to_der())?,
                extension(EXTENDED_KEY_USAGE, ExtendedKeyUsage(vec![TIME_STAMPING]).to_der())?,
            ],
        };
        Ok(Unsigned { tbs, key: key.clone() })
    }

    /// What the key signs.
    pub fn to_be_signed(&self) -> Result<Vec<u8>, TimestampError> {
        self.tbs.to_der().map_err(|_| TimestampError::Authority("cannot be written"))
    }

    /// The certificate in PEM.
    pub fn seal(self, signature: &Signature) -> Result<String, TimestampError> {
        let malformed = TimestampError::Authority("cannot be written");
        let sealed = Sealed {
            algorithm: algorithm(&self.key)?,
            signature: ecdsa::to_der(&signature.0)
                .and_then(|der| BitString::from_bytes(&der).ok())
                .ok_or(malformed.clone())?,
            tbs: self.tbs,
        };
        let der = sealed.to_der().map_err(|_| malformed.clone())?;
        // Read back: what is handed out is a certificate.
        let certificate = Certificate::from_der(&der).map_err(|_| malformed.clone())?;
        certificate.to_pem(LineEnding::LF).map_err(|_| malformed)
    }
}

/// The algorithm under which an authority's key signs.
pub(crate) fn algorithm(key: &PublicKey) -> Result<AlgorithmIdentifierOwned, TimestampError> {
    let oid = match key.algorithm() {
        KeyAlgorithm::P256 => ECDSA_SHA256,
        KeyAlgorithm::P384 => ECDSA_SHA384,
        _ => return Err(TimestampError::Authority("needs a key on P-256 or P-384")),
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters: None })
}
