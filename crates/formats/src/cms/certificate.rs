//! Certificates (RFC 5280), as far as a signer is named by one: issuer,
//! number and key. Whether anybody stands behind them is not asked here:
//! what is trusted is a key.

use base64ct::{Base64, Encoding};
use firmseal_manifest::PublicKey;

use crate::der::{self, Bad, INTEGER, Reader, SEQUENCE};
use crate::error::FormatError;
use crate::parameters::{Parameter, Parameters, bad};

/// The parameter that holds them.
pub(crate) const PARAMETER: Parameter = Parameter {
    name: "certificate",
    about: "the signer's certificate in PEM, then those that lead to its authority, all of which go with the \
            signature; `@FILE` on the command line",
};

/// Longest text of certificates, in bytes.
const TEXT_MAX: usize = 16 * 1024;
/// Most certificates beside a signature.
pub(crate) const CERTIFICATES_MAX: usize = 16;

/// One certificate, in slices of its DER.
pub(crate) struct Certificate<'a> {
    /// The issuer's name.
    pub(crate) issuer: &'a [u8],
    /// The number, an INTEGER.
    pub(crate) serial: &'a [u8],
    /// The SubjectPublicKeyInfo.
    pub(crate) spki: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(crate) fn read(der: &'a [u8]) -> Result<Certificate<'a>, Bad> {
        let mut tbs = Reader::new(Reader::only(der, SEQUENCE)?.take(SEQUENCE)?);
        tbs.optional(der::context(0))?;
        let serial = tbs.element(INTEGER)?.whole;
        tbs.take(SEQUENCE)?;
        let issuer = tbs.element(SEQUENCE)?.whole;
        let (_validity, _subject) = (tbs.take(SEQUENCE)?, tbs.take(SEQUENCE)?);
        let spki = tbs.element(SEQUENCE)?.whole;
        Ok(Certificate { issuer, serial, spki })
    }

    /// IssuerAndSerialNumber (RFC 5652 §10.2.4).
    pub(crate) fn name(&self) -> Vec<u8> {
        der::tlv(SEQUENCE, &[self.issuer, self.serial])
    }
}

/// The signer's certificate, and those that lead to its authority, in DER.
#[derive(Clone)]
pub(crate) struct Chain(Vec<Vec<u8>>);

impl Chain {
    /// That of a key, as the parameter has it.
    pub(crate) fn given(parameters: &Parameters, key: &PublicKey) -> Result<Chain, FormatError> {
        let wrong = |why: &str| bad(PARAMETER.name, why.to_owned());
        let text = parameters.get(PARAMETER.name).ok_or_else(|| {
            wrong("CMS names the signer by its certificate: give it in PEM, with `--param certificate=@signer.pem`")
        })?;
        if text.len() > TEXT_MAX {
            return Err(wrong(
                "it is longer than 16 KiB: the signer and those that lead to its authority are enough",
            ));
        }
        let chain = pem(text, "CERTIFICATE").ok_or_else(|| wrong("it is no PEM of certificates"))?;
        if chain.is_empty() || chain.len() > CERTIFICATES_MAX {
            return Err(wrong("it holds none, or more than 16 certificates"));
        }
        for (index, der) in chain.iter().enumerate() {
            if chain[..index].contains(der) {
                return Err(wrong("one certificate stands in it twice"));
            }
            Certificate::read(der)
                .map_err(|why| bad(PARAMETER.name, format!("certificate {}: {why}", index + 1)))?;
        }
        let chain = Chain(chain);
        let own = chain.signer().ok().and_then(|signer| PublicKey::from_spki(signer.spki).ok());
        match own {
            Some(own) if own == *key => Ok(chain),
            Some(own) => Err(FormatError::OtherCertificate {
                certificate: own.id().to_string(),
                key: key.id().to_string(),
            }),
            None => Err(wrong("the first certificate is for a key of a kind that nobody here signs with")),
        }
    }

    /// The signer's.
    pub(crate) fn signer(&self) -> Result<Certificate<'_>, Bad> {
        Certificate::read(self.der())
    }

    /// The signer's, as it is.
    pub(crate) fn der(&self) -> &[u8] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        self.0.clone()
    }
}

/// What a text of PEM (RFC 7468) holds, if it is of one label; what stands
/// before and between is left alone, as tools write names there.
pub(crate) fn pem(text: &str, label: &str) -> Option<Vec<Vec<u8>>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        // One of another label is no company for these: a key, most likely.
        let after = after.strip_prefix(&begin["-----BEGIN ".len()..])?;
        let (body, after) = after.split_once(&end)?;
        let digits: String = body.split_ascii_whitespace().collect();
        found.push(Base64::decode_vec(&digits).ok()?);
        rest = after;
    }
    Some(found)
}

/// One block of PEM.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let digits = Base64::encode_string(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for at in (0..digits.len()).step_by(64) {
        out.push_str(&digits[at..digits.len().min(at + 64)]);
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}
