//! Signed attributes (RFC 5652 §5.3 and §11): what a key signs in CMS. They
//! are written here, and read strictly.

use crate::der::{self, Bad, GENERALIZED_TIME, OCTET_STRING, OID, Reader, SEQUENCE, SET, UTC_TIME};
use crate::error::FormatError;
use crate::hash::Hash;
use crate::parameters::{Parameter, Parameters, bad};

// Contents of object identifiers.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];

/// Most attributes that are read.
const ATTRIBUTES_MAX: usize = 64;

/// The parameters that add attributes.
pub(crate) const PARAMETERS: [Parameter; 2] = [
    Parameter {
        name: "signing-time",
        about: "a time that is signed with the file, as 2026-11-21T12:00:00Z; none if not given, so that asking \
                again gives the same bytes",
    },
    Parameter {
        name: "signing-certificate",
        about: "`true` signs the SHA-256 of the certificate too (RFC 5035); default `false`",
    },
];

/// The attributes over a content of this type and digest.
pub(crate) fn write(
    content_type: &[u8],
    digest: &[u8],
    certificate: &[u8],
    parameters: &Parameters,
) -> Result<Vec<u8>, FormatError> {
    let one =
        |oid: &[u8], value: Vec<u8>| der::tlv(SEQUENCE, &[&der::tlv(OID, &[oid]), &der::tlv(SET, &[&value])]);
    let mut all = vec![
        one(CONTENT_TYPE, der::tlv(OID, &[content_type])),
        one(MESSAGE_DIGEST, der::tlv(OCTET_STRING, &[digest])),
    ];
    if let Some(text) = parameters.get("signing-time") {
        let time =
            time(text).ok_or_else(|| bad("signing-time", "write it as 2026-11-21T12:00:00Z".to_owned()))?;
        all.push(one(SIGNING_TIME, time));
    }
    if parameters.flag("signing-certificate")? {
        // ESSCertIDv2 without a hash function is SHA-256 (RFC 5035 §4).
        let hash = der::tlv(OCTET_STRING, &[&Hash::Sha256.of(certificate)]);
        let names = der::tlv(SEQUENCE, &[&der::tlv(SEQUENCE, &[&hash])]);
        all.push(one(SIGNING_CERTIFICATE_V2, der::tlv(SEQUENCE, &[&names])));
    }
    Ok(der::set(SET, all))
}

/// What the attributes of a signer say.
pub(crate) struct Attributes<'a> {
    pub(crate) content_type: &'a [u8],
    pub(crate) digest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads the content of their set.
    pub(crate) fn read(content: &'a [u8]) -> Result<Attributes<'a>, Bad> {
        let (mut content_type, mut digest) = (None, None);
        let mut reader = Reader::new(content);
        let (mut before, mut seen): (&[u8], Vec<&[u8]>) = (&[], Vec::new());
        while !reader.is_empty() {
            let element = reader.element(SEQUENCE)?;
            // "the DER encoding of the SET OF" is what was hashed (RFC 5652
            // §5.4). A verifier that sorts first and one that does not would
            // differ in what is signed.
            if element.whole <= before {
                return Err("its signed attributes are not in DER's order, or one stands twice");
            }
            before = element.whole;
            let mut inner = Reader::new(element.value);
            let oid = inner.take(OID)?;
            let values = inner.take(SET)?;
            inner.end()?;
            // "a signed attribute ... MUST NOT include multiple instances"
            // (§11.1, §11.2): two digests are two contents.
            if seen.contains(&oid) || seen.len() == ATTRIBUTES_MAX {
                return Err("a signed attribute stands twice, or there are more than 64");
            }
            seen.push(oid);
            let only = |tag| Ok::<_, Bad>(Reader::only(values, tag)?.rest());
            match oid {
                CONTENT_TYPE => content_type = Some(only(OID)?),
                MESSAGE_DIGEST => digest = Some(only(OCTET_STRING)?),
                _ => {}
            }
        }
        match (content_type, digest) {
            (Some(content_type), Some(digest)) => Ok(Attributes { content_type, digest }),
            _ => Err("its signed attributes lack the content's type or digest"),
        }
    }
}

/// A time as CMS has it: "UTCTime through the year 2049" (RFC 5652 §11.3).
fn time(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00Z";
    let fits = bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            _ => byte == like,
        });
    if !fits {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u16>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1950..=9999).contains(&year) || !(1..=days).contains(&day) {
        return None;
    }
    if number(11..13)? > 23 || number(14..16)? > 59 || number(17..19)? > 59 {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).chain(['Z']).collect();
    Some(match year {
        ..=2049 => der::tlv(UTC_TIME, &[&digits.as_bytes()[2..]]),
        _ => der::tlv(GENERALIZED_TIME, &[digits.as_bytes()]),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_dates_or_refused() {
        assert_eq!(time("2026-11-21T12:00:59Z").unwrap(), b"\x17\x0d261121120059Z");
        assert_eq!(time("2050-02-28T00:00:00Z").unwrap(), b"\x18\x0f20500228000000Z");
        assert!(time("2024-02-29T00:00:00Z").is_some());
        for bad in [
            "",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00:00+01:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1949-01-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01 00:00:00Z",
        ] {
            assert!(time(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn attributes_that_could_be_read_in_two_ways_are_refused() {
        let plain = write(&[0x2a], &[7; 32], &[], &Parameters::default()).unwrap();
        let content = |whole: &[u8]| Reader::new(whole).take(SET).unwrap().to_vec();
        let good = content(&plain);
        let read = Attributes::read(&good).unwrap();
        assert_eq!((read.content_type, read.digest), (&[0x2a][..], &[7; 32][..]));
        let mut elements = Vec::new();
        let mut reader = Reader::new(&good);
        while !reader.is_empty() {
            elements.push(reader.next().unwrap().whole.to_vec());
        }
        let [one, two] = elements.try_into().unwrap();
        let mut other = two.clone();
        *other.last_mut().unwrap() = 9;
        let empty = der::tlv(SEQUENCE, &[&der::tlv(OID, &[CONTENT_TYPE]), &der::tlv(SET, &[])]);
        for (name, bad) in [
            ("out of order", [two.clone(), one.clone()].concat()),
            ("twice", [one.clone(), two.clone(), two.clone()].concat()),
            ("two digests", [one.clone(), two.clone(), other].concat()),
            ("no digest", one.clone()),
            ("no type", two.clone()),
            ("no value", [empty, two.clone()].concat()),
            ("nothing", Vec::new()),
            ("trailing byte", [one, two, vec![0]].concat()),
        ] {
            assert!(Attributes::read(&bad).is_err(), "{name}");
        }
    }
}
