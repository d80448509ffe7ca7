//! Responses and tokens (RFC 3161 §2.4.2, RFC 5652 §5), and whether they hold.

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{Any, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Tag, Tagged};
use firmseal_fleet::Time;
use firmseal_manifest::Digest;
use x509_cert::Certificate;
use x509_cert::attr::Attributes;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use crate::asn1::{
    CONTENT_TYPE, MESSAGE_DIGEST, SHA256, SIGNED_DATA, SIGNING_CERTIFICATE_V2, SigningCertificateV2,
    TST_INFO, TimeStampResp, TstInfo,
};
use crate::certificate::{check_signer, subject};
use crate::chain::Authorities;
use crate::error::TimestampError;
use crate::hash::Hash;
use crate::request::Nonce;
use crate::{TOKEN_MAX, Verify, scheme, time};

/// Most certificates in a token.
const CERTIFICATES_MAX: usize = 16;

/// What a token must be about.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// SHA-256 of what existed.
    pub digest: &'a Digest,
    /// The nonce of the request that it answers, where it is fresh.
    pub nonce: Option<Nonce>,
    /// The policy that was asked for.
    pub policy: Option<&'a str>,
}

/// A token that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// When, as the authority says.
    pub time: Time,
    /// How far off it may be, in milliseconds.
    pub accuracy: u64,
    /// The policy under which it was made.
    pub policy: String,
    /// Its number with the authority, in hexadecimal digits.
    pub serial: String,
    /// The signer's name, from its certificate.
    pub signer: String,
}

impl Stamp {
    /// Checks a fresh stamp against the clock here: they may differ by
    /// `leeway` milliseconds beyond the accuracy. Of that no more counts than
    /// the leeway: with an accuracy of years a stamp would say any time.
    pub fn check_clock(&self, now: Time, leeway: u64) -> Result<(), TimestampError> {
        let beyond = self.accuracy.min(leeway);
        match self.time.millis().abs_diff(now.millis()) > leeway.saturating_add(beyond) {
            true => Err(TimestampError::Clock { told: self.time.to_string(), here: now.to_string() }),
            false => Ok(()),
        }
    }
}

/// Takes the token out of a response.
pub fn response(bytes: &[u8]) -> Result<Vec<u8>, TimestampError> {
    if bytes.len() > TOKEN_MAX {
        return Err(TimestampError::Long);
    }
    let malformed = |_| TimestampError::Malformed("it is no response");
    let response = TimeStampResp::from_der(bytes).map_err(malformed)?;
    // granted, grantedWithMods: "the token MUST be present"; otherwise it
    // must not.
    match (response.status.status, response.token) {
        (0 | 1, Some(token)) => token.to_der().map_err(malformed),
        (0 | 1, None) => Err(TimestampError::Malformed("it is granted and holds no token")),
        (status, _) => {
            let said = response.status.status_string.unwrap_or_default().join("; ");
            let text = said.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(TimestampError::Refused { status, text })
        }
    }
}

/// Whether a token holds: it is about what is wanted, and somebody signed it
/// behind whom a configured authority stands *at the time that it tells*.
/// Tokens outlive certificates; what they are worth after that is how well
/// the authority kept its keys.
pub fn verify(
    token: &[u8],
    wanted: Wanted<'_>,
    authorities: &Authorities,
    verify: Verify<'_>,
) -> Result<Stamp, TimestampError> {
    if token.len() > TOKEN_MAX {
        return Err(TimestampError::Long);
    }
    let malformed = |what: &'static str| move |_: der::Error| TimestampError::Malformed(what);
    let outer = ContentInfo::from_der(token).map_err(malformed("it is no CMS"))?;
    if outer.content_type != SIGNED_DATA {
        return Err(TimestampError::Malformed("it is not signed"));
    }
    let signed: SignedData = outer.content.decode_as().map_err(malformed("its signed data"))?;
    if signed.encap_content_info.econtent_type != TST_INFO {
        return Err(TimestampError::Malformed("it is something else, signed"));
    }
    let content = signed.encap_content_info.econtent.as_ref();
    let content = content.filter(|content| content.tag() == Tag::OctetString);
    let content = content.ok_or(TimestampError::Malformed("it has no content"))?.value();
    let info = TstInfo::from_der(content).map_err(malformed("its content"))?;
    let stamp = told(&info, wanted)?;

    // "the time-stamp token MUST NOT contain any signatures other than the
    // signature of the TSA" (§2.4.2).
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err(TimestampError::Malformed("it has not exactly one signer"));
    };
    let mut certificates = Vec::new();
    for choice in signed.certificates.iter().flat_map(|set| set.0.iter()) {
        match choice {
            CertificateChoices::Certificate(certificate) => certificates.push(certificate.clone()),
            CertificateChoices::Other(_) => {
                return Err(TimestampError::Malformed("it has strange certificates"));
            }
        }
        if certificates.len() > CERTIFICATES_MAX {
            return Err(TimestampError::Malformed("it has too many certificates"));
        }
    }
    // An authority's own signer may be configured, and need not be sent.
    let known = certificates.iter().chain(authorities.listed());
    let own = known.filter(|certificate| is_of(&signer.sid, certificate)).find(|certificate| {
        // The identifier is the sender's choice; the attribute is signed.
        named(signer, certificate)
    });
    let own = own.ok_or(TimestampError::Certificate("is missing"))?;
    check_signer(own)?;
    check_signature(signer, own, content, verify)?;
    match authorities.stand_behind(own, &certificates, stamp.time, verify) {
        true => Ok(Stamp { signer: subject(own), ..stamp }),
        false => Err(TimestampError::Untrusted(subject(own))),
    }
}

/// Checks what the content says.
fn told(info: &TstInfo, wanted: Wanted<'_>) -> Result<Stamp, TimestampError> {
    if info.version != 1 {
        return Err(TimestampError::Malformed("its version"));
    }
    let imprint = &info.message_imprint;
    if imprint.hash_algorithm.oid != SHA256 || imprint.hashed_message.as_bytes() != wanted.digest.0 {
        return Err(TimestampError::OtherBytes);
    }
    if let Some(nonce) = wanted.nonce
        && !info.nonce.as_ref().is_some_and(|told| nonce.is(told))
    {
        return Err(TimestampError::Nonce);
    }
    let policy = info.policy.to_string();
    if wanted.policy.is_some_and(|wanted| wanted != policy) {
        return Err(TimestampError::Policy(policy));
    }
    let listed = info.extensions.as_deref().unwrap_or_default();
    if listed.iter().any(|extension| extension.critical) {
        return Err(TimestampError::Malformed("it has a critical extension that is not understood"));
    }
    let time = Some(&info.gen_time).filter(|time| time.tag() == Tag::GeneralizedTime);
    let time = time.and_then(|text| time::parse(text.value()));
    let accuracy = info.accuracy.as_ref().map_or(0, |accuracy| {
        let millis =
            u64::from(accuracy.millis.unwrap_or(0)) + u64::from(accuracy.micros.unwrap_or(0).div_ceil(1000));
        u64::from(accuracy.seconds.unwrap_or(0)) * 1000 + millis
    });
    Ok(Stamp {
        time: time.ok_or(TimestampError::Malformed("its time"))?,
        accuracy,
        policy,
        serial: info.serial_number.as_bytes().iter().take(32).map(|byte| format!("{byte:02x}")).collect(),
        signer: String::new(),
    })
}

/// Whether a signer's identifier is a certificate's.
fn is_of(id: &SignerIdentifier, certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    match id {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            id.issuer == *tbs.issuer() && id.serial_number == *tbs.serial_number()
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            matches!(tbs.get_extension::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *id)
        }
    }
}

/// Whether the signed attributes name exactly this certificate (RFC 5816
/// §2.2.1: ESSCertIDv2 "MUST be included"; the old one hashes with SHA-1 and
/// does not count).
fn named(signer: &SignerInfo, certificate: &Certificate) -> bool {
    let attribute = signer.signed_attrs.as_ref().and_then(|all| attribute(all, SIGNING_CERTIFICATE_V2));
    let Some(Ok(names)) = attribute.map(Any::decode_as::<SigningCertificateV2>) else { return false };
    // "The first certificate identified in the sequence of certificate
    // identifiers MUST be the certificate used to verify the signature"
    // (RFC 5035 §3).
    let Some(first) = names.certs.first() else { return false };
    let hash = first.hash_algorithm.as_ref().map_or(Some(Hash::Sha256), |algorithm| Hash::of(&algorithm.oid));
    let Ok(der) = certificate.to_der() else { return false };
    hash.is_some_and(|hash| hash.digest(&der) == first.cert_hash.as_bytes())
}

/// Checks the signature over the signed attributes, and that these are over
/// the content.
fn check_signature(
    signer: &SignerInfo,
    certificate: &Certificate,
    content: &[u8],
    verify: Verify<'_>,
) -> Result<(), TimestampError> {
    let attributes = signer.signed_attrs.as_ref().ok_or(TimestampError::Signature)?;
    let digest = Hash::of(&signer.digest_alg.oid).ok_or(TimestampError::Malformed("its hash function"))?;
    let kind = attribute(attributes, CONTENT_TYPE).map(Any::decode_as::<ObjectIdentifier>);
    let over = attribute(attributes, MESSAGE_DIGEST).map(Any::decode_as::<OctetString>);
    let (Some(Ok(TST_INFO)), Some(Ok(over))) = (kind, over) else { return Err(TimestampError::Signature) };
    if over.as_bytes() != digest.digest(content) {
        return Err(TimestampError::Signature);
    }
    let scheme = scheme::of(&signer.signature_algorithm, Some(digest));
    let scheme = scheme.ok_or(TimestampError::Malformed("its signature algorithm"))?;
    let key = certificate.tbs_certificate().subject_public_key_info().to_der();
    // "the DER encoding of the SET OF", not of the tagged member (RFC 5652
    // §5.4).
    let (Ok(key), Ok(message)) = (key, attributes.to_der()) else { return Err(TimestampError::Signature) };
    match verify(scheme, &key, &message, signer.signature.as_bytes()) {
        true => Ok(()),
        false => Err(TimestampError::Signature),
    }
}

/// The one value of an attribute that stands once.
fn attribute(all: &Attributes, oid: ObjectIdentifier) -> Option<&Any> {
    let mut found = all.iter().filter(|attribute| attribute.oid == oid);
    let (only, None) = (found.next()?, found.next()) else { return None };
    match only.values.as_slice() {
        [value] => Some(value),
        _ => None,
    }
}
