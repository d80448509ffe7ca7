//! EnvelopedData (RFC 5652 §6) around the CMS of a crypt bundle: whom it is
//! for, in what `rauc encrypt` writes and in ours.

mod keys;
mod open;
mod seal;

pub(super) use keys::cbc;
pub(super) use seal::{Devices, PARAMETER};

use crate::cms::scheme::algorithm;
use crate::der::{self, BIT_STRING, Bad, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET};
use crate::hash::hex;

/// `id-envelopedData`.
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
const AES256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const AES256_WRAP: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2d];
/// `dhSinglePass-stdDH-sha1kdf-scheme` and its sibling (RFC 5753 §7.1.4).
const AGREED_SHA1: &[u8] = &[0x2b, 0x81, 0x05, 0x10, 0x86, 0x48, 0x3f, 0x00, 0x02];
const AGREED_SHA256: &[u8] = &[0x2b, 0x81, 0x04, 0x01, 0x0b, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// `[1]`, KeyAgreeRecipientInfo.
const AGREEMENT: u8 = der::context(1);
/// Attributes of names, by the last number of 2.5.4 (RFC 4519 §2).
const NAMED: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];
/// Most recipients that are read: as many as fit.
const RECIPIENTS_MAX: usize = 512;

/// An envelope, in slices of its DER.
pub(super) struct Envelope<'a> {
    /// Whom it is for, one by one.
    pub(super) recipients: Vec<Recipient<'a>>,
    /// AlgorithmIdentifier of the content's encryption.
    algorithm: &'a [u8],
    /// The content, encrypted.
    sealed: &'a [u8],
}

/// One that opens it.
pub(super) struct Recipient<'a> {
    /// Issuer and serial number of its certificate, or the key's identifier.
    id: Element<'a>,
    /// How it opens it, if that is by a key that is agreed on anew.
    agreement: Option<Agreement<'a>>,
}

/// What one side of an agreement sent to the other.
struct Agreement<'a> {
    algorithm: &'a [u8],
    point: &'a [u8],
    /// Further keying material, an OCTET STRING.
    ukm: Option<&'a [u8]>,
    wrapped: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Whether a ContentInfo holds one.
    pub(super) fn is_one(cms: &[u8]) -> bool {
        Reader::only(cms, SEQUENCE)
            .and_then(|mut outer| outer.take(OID))
            .is_ok_and(|own| own == ENVELOPED_DATA)
    }

    /// Reads a ContentInfo.
    pub(super) fn read(cms: &'a [u8]) -> Result<Envelope<'a>, Bad> {
        let mut outer = Reader::only(cms, SEQUENCE)?;
        outer.take(OID)?;
        let inside = outer.take(der::context(0))?;
        outer.end()?;
        let mut enveloped = Reader::only(inside, SEQUENCE)?;
        enveloped.take(INTEGER)?;
        enveloped.optional(der::context(0))?;
        let mut all = Reader::new(enveloped.take(SET)?);
        let mut recipients = Vec::new();
        while !all.is_empty() {
            let one = all.next()?;
            match one.tag {
                SEQUENCE => recipients.push(transported(one.value)?),
                AGREEMENT => recipients.extend(agreed(one.value)?),
                _ => return Err("a recipient is named by something else than a certificate"),
            }
            if recipients.len() > RECIPIENTS_MAX {
                return Err("it has more than 512 recipients");
            }
        }
        if recipients.is_empty() {
            return Err("it has no recipient");
        }
        let mut content = Reader::new(enveloped.take(SEQUENCE)?);
        enveloped.optional(der::context(1))?;
        enveloped.end()?;
        content.take(OID)?;
        let algorithm = content.element(SEQUENCE)?.whole;
        // [0] IMPLICIT OCTET STRING.
        let sealed = content.take(0x80)?;
        content.end()?;
        Ok(Envelope { recipients, algorithm, sealed })
    }
}

/// KeyTransRecipientInfo (§6.2.1).
fn transported(content: &[u8]) -> Result<Recipient<'_>, Bad> {
    let mut info = Reader::new(content);
    info.take(INTEGER)?;
    let id = info.next()?;
    info.take(SEQUENCE)?;
    info.take(OCTET_STRING)?;
    info.end()?;
    Ok(Recipient { id, agreement: None })
}

/// KeyAgreeRecipientInfo (§6.2.2), which may be for several.
fn agreed(content: &[u8]) -> Result<Vec<Recipient<'_>>, Bad> {
    let mut info = Reader::new(content);
    info.take(INTEGER)?;
    let origin = info.take(der::context(0))?;
    let ukm = info.optional(der::context(1))?.map(|ukm| ukm.value);
    let algorithm = info.element(SEQUENCE)?.whole;
    let mut keys = Reader::new(info.take(SEQUENCE)?);
    info.end()?;
    let point = point(origin);
    let mut all = Vec::new();
    while !keys.is_empty() && all.len() <= RECIPIENTS_MAX {
        let mut key = Reader::new(keys.take(SEQUENCE)?);
        let id = key.next()?;
        let wrapped = key.take(OCTET_STRING)?;
        key.end()?;
        let agreement = point.map(|point| Agreement { algorithm, point, ukm, wrapped });
        all.push(Recipient { id, agreement });
    }
    Ok(all)
}

/// The point of an originator that is a key of its own (§6.2.2,
/// OriginatorPublicKey).
fn point(origin: &[u8]) -> Option<&[u8]> {
    let mut own = Reader::only(origin, der::context(1)).ok()?;
    let (oid, _) = algorithm(own.element(SEQUENCE).ok()?.whole).ok()?;
    let bits = own.take(BIT_STRING).ok()?;
    own.end().ok()?;
    bits.strip_prefix(&[0]).filter(|_| oid == EC_PUBLIC_KEY)
}

impl Recipient<'_> {
    /// In words.
    pub(super) fn told(&self) -> String {
        let named = || {
            let mut id = Reader::new(self.id.value);
            let issuer = name(id.take(SEQUENCE).ok()?)?;
            let serial = id.take(INTEGER).ok()?;
            Some(format!("certificate {} of {issuer}", hex(serial)))
        };
        match self.id.tag {
            SEQUENCE => named().unwrap_or_else(|| format!("certificate {}", hex(self.id.value))),
            _ => format!("key {}", hex(self.id.value)),
        }
    }
}

/// A name (RFC 5280 §4.1.2.4) as people write it, where all of it is text.
fn name(rdns: &[u8]) -> Option<String> {
    let (mut rdns, mut parts) = (Reader::new(rdns), Vec::new());
    while !rdns.is_empty() {
        let mut set = Reader::new(rdns.take(SET).ok()?);
        let mut pair = Reader::new(set.take(SEQUENCE).ok()?);
        set.end().ok()?;
        let (oid, value) = (pair.take(OID).ok()?, pair.next().ok()?.value);
        let key = NAMED.iter().find(|(own, _)| oid == [0x55, 4, *own])?.1;
        parts.push(format!("{key}={}", std::str::from_utf8(value).ok()?.escape_debug()));
    }
    Some(parts.join(", "))
}
