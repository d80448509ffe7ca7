//! The certificate around the extensions, in slices of its DER (RFC 5280 §4.1).

use firmseal_manifest::{KeyAlgorithm, PublicKey};

use super::NAME;
use super::extension::{self, Extensions};
use super::text;
use crate::cms::certificate::pem;
use crate::cms::scheme::Scheme;
use crate::der::{self, BIT_STRING, Bad, INTEGER, Reader, SEQUENCE};
use crate::error::FormatError;
use crate::laid_out::Padding;
use crate::source::Source;

/// Longest certificate: those with keys of 4096 bits take 3 KiB.
const LEN_MAX: u64 = 16 * 1024;
/// How TF-A's parser demands that one begins: with `[0]`. It is version 3.
const VERSION: &[u8] = &[0xa0, 3, INTEGER, 1, 2];
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A certificate.
pub(super) struct Certificate<'a> {
    /// All that is signed.
    pub(super) tbs: &'a [u8],
    /// Of it: version and serial, which stand before the algorithm,
    before: &'a [u8],
    /// names and dates, which stand between it and the key,
    between: &'a [u8],
    /// the key,
    pub(super) spki: &'a [u8],
    /// and the extensions, which stand behind that.
    pub(super) behind: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) name: String,
    pub(super) not_before: String,
    pub(super) not_after: String,
    pub(super) extensions: Extensions<'a>,
    algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Whether a file is one, well formed or not: a sequence as long as the file, in
/// that one that begins with a version, and an extension of TBBR somewhere; or
/// the same in PEM.
pub(super) fn is_one(source: &dyn Source) -> Result<bool, FormatError> {
    let Some(bytes) = whole(source)? else { return Ok(false) };
    if bytes.starts_with(PEM) {
        return Ok(of_pem(&bytes).is_some_and(|der| looks_like_one(&der)));
    }
    Ok(looks_like_one(&bytes))
}

fn looks_like_one(bytes: &[u8]) -> bool {
    let begins = || {
        let mut outer = Reader::only(bytes, SEQUENCE).ok()?;
        let inner = outer.take(SEQUENCE).ok()?;
        Some(inner.starts_with(&VERSION[..1]))
    };
    begins().unwrap_or(false) && bytes.windows(extension::ARC.len()).any(|own| own == extension::ARC)
}

/// The file, if it is short enough.
fn whole(source: &dyn Source) -> Result<Option<Vec<u8>>, FormatError> {
    let len = source.len()?;
    if len > LEN_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    source.read_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

fn of_pem(bytes: &[u8]) -> Option<Vec<u8>> {
    pem(std::str::from_utf8(bytes).ok()?, "CERTIFICATE")?.into_iter().next()
}

/// The bytes of a file that can be one.
pub(super) fn load(source: &dyn Source) -> Result<Vec<u8>, FormatError> {
    let bytes = whole(source)?
        .ok_or_else(|| FormatError::malformed(NAME, "it is longer than 16 KiB, which no certificate is"))?;
    if bytes.starts_with(PEM) {
        let what =
            "TF-A reads DER, this is PEM: `openssl x509 -in FILE -outform DER -out FILE.crt` makes it DER";
        return Err(FormatError::unsupported(NAME, what));
    }
    Ok(bytes)
}

impl<'a> Certificate<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Certificate<'a>, FormatError> {
        read(bytes).map_err(|why| FormatError::malformed(NAME, why))
    }

    /// The key in it, if it is of a kind that signs here.
    pub(super) fn key(&self) -> Option<PublicKey> {
        // What is trusted is a key in one encoding: TF-A hashes it as it stands.
        PublicKey::from_spki(self.spki).ok().filter(|key| key.spki() == self.spki)
    }

    /// How the key in it signs, if that is how it says it is signed.
    pub(super) fn scheme(&self, key: &PublicKey) -> Option<Scheme> {
        scheme(key).ok().filter(|scheme| scheme.identifier() == self.algorithm)
    }

    /// What another key would sign.
    pub(super) fn rebuilt(&self, key: &PublicKey, identifier: &[u8]) -> Vec<u8> {
        der::tlv(SEQUENCE, &[self.before, identifier, self.between, key.spki(), self.behind])
    }
}

/// How a key signs certificates that TF-A's bootloaders verify.
pub(super) fn scheme(key: &PublicKey) -> Result<Scheme, FormatError> {
    match key.algorithm() {
        KeyAlgorithm::Rsa(_) | KeyAlgorithm::P256 => Scheme::of(NAME, key, Padding::Pss),
        algorithm => {
            let use_instead = "an RSA or P-256 key";
            Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead })
        }
    }
}

fn read(bytes: &[u8]) -> Result<Certificate<'_>, Bad> {
    let mut outer = Reader::only(bytes, SEQUENCE)?;
    let (tbs, algorithm) = (outer.element(SEQUENCE)?, outer.element(SEQUENCE)?.whole);
    let signature = text::bits(outer.take(BIT_STRING)?)?;
    outer.end()?;

    let mut inner = Reader::new(tbs.value);
    if inner.next()?.whole != VERSION {
        return Err("it is no X.509 certificate of version 3");
    }
    let serial = text::positive(inner.take(INTEGER)?)?;
    if serial.len() > 20 {
        return Err("its serial number is longer than 20 bytes");
    }
    let before = taken(tbs.value, inner);
    if inner.element(SEQUENCE)?.whole != algorithm {
        return Err("the algorithm that is signed is not the one beside the signature");
    }
    let rest = inner.rest();
    let issuer = inner.element(SEQUENCE)?.whole;
    let mut dates = Reader::new(inner.take(SEQUENCE)?);
    let (not_before, not_after) = (text::time(dates.next()?)?, text::time(dates.next()?)?);
    dates.end()?;
    if not_after < not_before {
        return Err("it ends before it begins");
    }
    let subject = inner.element(SEQUENCE)?.whole;
    if issuer != subject {
        return Err("issuer and subject differ: TF-A's certificates are signed by the key in them");
    }
    let between = taken(rest, inner);
    let spki = inner.element(SEQUENCE)?.whole;
    let behind = inner.rest();
    let extensions = Extensions::read(inner.take(der::context(3))?)?;
    inner.end()?;
    let name = text::common_name(subject)?;
    Ok(Certificate {
        tbs: tbs.whole,
        before,
        between,
        spki,
        behind,
        serial,
        name,
        not_before,
        not_after,
        extensions,
        algorithm,
        signature,
    })
}

/// What a reader has taken of these bytes.
fn taken<'a>(bytes: &'a [u8], left: Reader<'_>) -> &'a [u8] {
    &bytes[..bytes.len() - left.rest().len()]
}
