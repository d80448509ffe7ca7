//! EnvelopedData (RFC 5652 §6) around the CMS of a crypt bundle, as `rauc
//! encrypt` writes it: whom it is for.

use crate::der::{self, Bad, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET};
use crate::hash::hex;

/// `id-envelopedData`.
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// Attributes of names, by the last number of 2.5.4 (RFC 4519 §2).
const NAMED: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];
/// Most recipients that are read: as many as fit.
const RECIPIENTS_MAX: usize = 512;

/// An envelope, in slices of its DER.
pub(super) struct Envelope<'a> {
    /// Whom it is for, one by one.
    pub(super) recipients: Vec<Recipient<'a>>,
}

/// One that opens it.
pub(super) struct Recipient<'a> {
    /// Issuer and serial number of its certificate, or the key's identifier.
    id: Element<'a>,
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
                // [1], KeyAgreeRecipientInfo.
                0xa1 => recipients.extend(agreed(one.value)?),
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
        content.take(SEQUENCE)?;
        // [0] IMPLICIT OCTET STRING.
        content.take(0x80)?;
        content.end()?;
        Ok(Envelope { recipients })
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
    Ok(Recipient { id })
}

/// KeyAgreeRecipientInfo (§6.2.2), which may be for several.
fn agreed(content: &[u8]) -> Result<Vec<Recipient<'_>>, Bad> {
    let mut info = Reader::new(content);
    info.take(INTEGER)?;
    info.take(der::context(0))?;
    info.optional(der::context(1))?;
    info.take(SEQUENCE)?;
    let mut keys = Reader::new(info.take(SEQUENCE)?);
    info.end()?;
    let mut all = Vec::new();
    while !keys.is_empty() && all.len() <= RECIPIENTS_MAX {
        let mut key = Reader::new(keys.take(SEQUENCE)?);
        let id = key.next()?;
        key.take(OCTET_STRING)?;
        key.end()?;
        all.push(Recipient { id });
    }
    Ok(all)
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
