//! A small authority: what it signs. For tests, and for sites without a
//! network; its clock is the machine's.

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, BitString, Int, ObjectIdentifier, OctetString, SetOfVec};
use der::{Encode, Tag};
use firmseal_fleet::Time;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs, ecdsa};
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::asn1::{
    Accuracy, CONTENT_TYPE, EssCertIdV2, MESSAGE_DIGEST, PkiStatusInfo, SIGNED_DATA, SIGNING_CERTIFICATE_V2,
    SigningCertificateV2, TST_INFO, TimeStampResp, TstInfo, sha256,
};
use crate::certificate::{algorithm, check_signer};
use crate::chain::Authorities;
use crate::error::TimestampError;
use crate::hash::Hash;
use crate::request::{self, Failure};
use crate::{time, token};

const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");

/// An authority with a key somewhere.
#[derive(Clone, Debug)]
pub struct Authority {
    certificate: Certificate,
    key: PublicKey,
    policy: ObjectIdentifier,
    /// How far its clock may be off, in milliseconds.
    accuracy: u64,
}

/// An answer, not signed yet.
pub struct Answer {
    info: Vec<u8>,
    attributes: Attributes,
    with_certificate: bool,
}

impl Authority {
    /// An authority with this certificate (PEM) and key (P-256 or P-384), under a
    /// policy in dotted numbers.
    pub fn new(
        pem: &[u8],
        key: &PublicKey,
        policy: &str,
        accuracy: u64,
    ) -> Result<Authority, TimestampError> {
        let listed = Authorities::from_pem(pem)?;
        let certificate = listed.listed().next().ok_or(TimestampError::Authority("is missing"))?.clone();
        check_signer(&certificate)?;
        algorithm(key)?;
        let own = certificate.tbs_certificate().subject_public_key_info().to_der();
        if !own.is_ok_and(|own| own == key.spki()) {
            return Err(TimestampError::Authority("is another key's"));
        }
        let policy = ObjectIdentifier::new(policy)
            .map_err(|_| TimestampError::Authority("needs a policy in dotted numbers"))?;
        Ok(Authority { certificate, key: key.clone(), policy, accuracy })
    }

    /// Prepares an answer to a request. `serial` is a number that it gives
    /// only once: a random one. What cannot be answered gets a response that
    /// says why, as the error.
    pub fn prepare(&self, request: &[u8], serial: [u8; 16], now: Time) -> Result<Answer, Vec<u8>> {
        let request = request::read(request).map_err(refusal)?;
        if request.req_policy.is_some_and(|policy| policy != self.policy) {
            return Err(refusal(Failure::Policy));
        }
        let mut serial = serial;
        serial[0] = serial[0] >> 1 | 0x40;
        let written = || -> der::Result<(Vec<u8>, Attributes)> {
            let info = TstInfo {
                version: 1,
                policy: self.policy,
                message_imprint: request.message_imprint.clone(),
                serial_number: Int::new(&serial)?,
                gen_time: Any::new(Tag::GeneralizedTime, time::write(now).into_bytes())?,
                accuracy: self.accuracy(),
                ordering: false,
                nonce: request.nonce.clone(),
                tsa: None,
                extensions: None,
            };
            let info = info.to_der()?;
            let attributes = self.attributes(&info)?;
            Ok((info, attributes))
        };
        let (info, attributes) = written().map_err(|_| refusal(Failure::Request))?;
        Ok(Answer { info, attributes, with_certificate: request.cert_req })
    }

    fn accuracy(&self) -> Option<Accuracy> {
        let whole = u32::try_from(self.accuracy / 1000).unwrap_or(u32::MAX);
        let rest = (self.accuracy % 1000) as u16;
        (self.accuracy > 0).then_some(Accuracy {
            seconds: (whole > 0).then_some(whole),
            millis: (rest > 0).then_some(rest),
            micros: None,
        })
    }

    fn hash(&self) -> (Hash, AlgorithmIdentifierOwned) {
        match self.key.algorithm() {
            KeyAlgorithm::P384 => (Hash::Sha384, AlgorithmIdentifierOwned { oid: SHA384, parameters: None }),
            _ => (Hash::Sha256, sha256()),
        }
    }

    fn attributes(&self, info: &[u8]) -> der::Result<Attributes> {
        let one = |oid: ObjectIdentifier, value: Any| -> der::Result<Attribute> {
            Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
        };
        let certificate = EssCertIdV2 {
            hash_algorithm: None,
            cert_hash: OctetString::new(Hash::Sha256.digest(&self.certificate.to_der()?))?,
            issuer_serial: None,
        };
        let names = SigningCertificateV2 { certs: vec![certificate], policies: None };
        let digest = OctetString::new(self.hash().0.digest(info))?;
        Attributes::try_from(vec![
            one(CONTENT_TYPE, Any::encode_from(&TST_INFO)?)?,
            one(MESSAGE_DIGEST, Any::encode_from(&digest)?)?,
            one(SIGNING_CERTIFICATE_V2, Any::encode_from(&names)?)?,
        ])
    }

    /// What the key signs.
    pub fn to_be_signed(&self, answer: &Answer) -> Result<Tbs, TimestampError> {
        let message = answer.attributes.to_der();
        message.map(Tbs::Message).map_err(|_| TimestampError::Malformed("the answer"))
    }

    /// The response.
    pub fn seal(&self, answer: Answer, signature: &Signature) -> Result<Vec<u8>, TimestampError> {
        let signature = ecdsa::to_der(&signature.0).ok_or(TimestampError::Signature)?;
        let sealed = || -> der::Result<Vec<u8>> {
            let tbs = self.certificate.tbs_certificate();
            let (_, digest) = self.hash();
            let signer = SignerInfo {
                version: CmsVersion::V1,
                sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                    issuer: tbs.issuer().clone(),
                    serial_number: tbs.serial_number().clone(),
                }),
                digest_alg: digest.clone(),
                signed_attrs: Some(answer.attributes),
                signature_algorithm: algorithm(&self.key).map_err(|_| Tag::Sequence.value_error())?,
                signature: OctetString::new(signature)?,
                unsigned_attrs: None,
            };
            let own = CertificateChoices::Certificate(self.certificate.clone());
            let certificates = SetOfVec::try_from(vec![own])?;
            let signed = SignedData {
                version: CmsVersion::V3,
                digest_algorithms: SetOfVec::try_from(vec![digest])?,
                encap_content_info: EncapsulatedContentInfo {
                    econtent_type: TST_INFO,
                    econtent: Some(Any::encode_from(&OctetString::new(answer.info)?)?),
                },
                certificates: answer.with_certificate.then_some(CertificateSet(certificates)),
                crls: None,
                signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
            };
            let token = ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&signed)? };
            let status = PkiStatusInfo { status: 0, status_string: None, fail_info: None };
            TimeStampResp { status, token: Some(Any::encode_from(&token)?) }.to_der()
        };
        let response = sealed().map_err(|_| TimestampError::Malformed("the answer"))?;
        // Read back: what leaves is what a stranger can read.
        token::response(&response)?;
        Ok(response)
    }
}

/// A response without a token.
fn refusal(failure: Failure) -> Vec<u8> {
    let text = match failure {
        Failure::Algorithm => "the hash function is not one of SHA-256, SHA-384, SHA-512",
        Failure::Request => "the request is not one of version 1",
        Failure::Format => "the request is malformed",
        Failure::Policy => "the policy is not this authority's",
        Failure::Extension => "extensions are not understood",
    };
    // PKIFailureInfo is a named bit list: bit n counts from the left.
    let bit = failure as usize;
    let mut bits = vec![0; bit / 8 + 1];
    bits[bit / 8] = 0x80 >> (bit % 8);
    let status = PkiStatusInfo {
        status: 2,
        status_string: Some(vec![text.to_owned()]),
        fail_info: BitString::new(7 - (bit % 8) as u8, bits).ok(),
    };
    // Fixed texts: nothing in it can fail to be written.
    TimeStampResp { status, token: None }.to_der().unwrap_or_default()
}
