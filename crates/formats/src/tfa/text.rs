//! Values of X.509 that have one form each here, and how they are shown.

use crate::der::{Bad, Element, GENERALIZED_TIME, OID, Reader, SEQUENCE, SET, UTC_TIME};

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// ub-common-name (RFC 5280 §A.1).
const NAME_MAX: usize = 64;

/// The content of an INTEGER that is not negative, as short as can be.
pub(super) fn positive(value: &[u8]) -> Result<&[u8], Bad> {
    match value {
        [0x00, 0x00..=0x7f, ..] | [] => Err("a number in it is not in DER: it is as short as can be"),
        [0x80..=0xff, ..] => Err("a number in it is negative"),
        _ => Ok(value),
    }
}

/// The content of a BIT STRING of whole bytes.
pub(super) fn bits(value: &[u8]) -> Result<&[u8], Bad> {
    match value {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err("a string of bits in it is not of whole bytes"),
    }
}

/// A name of one common name, as cert_create writes it.
pub(super) fn common_name(name: &[u8]) -> Result<String, Bad> {
    let mut inner = Reader::new(Reader::only(Reader::only(name, SEQUENCE)?.rest(), SET)?.rest());
    let mut pair = Reader::new(inner.take(SEQUENCE)?);
    inner.end()?;
    let (kind, value) = (pair.take(OID)?, pair.next()?);
    pair.end()?;
    let plain = |byte: &u8| (b' '..=b'~').contains(byte);
    match kind == COMMON_NAME
        && matches!(value.tag, UTF8_STRING | PRINTABLE_STRING)
        && (1..=NAME_MAX).contains(&value.value.len())
        && value.value.iter().all(plain)
    {
        true => Ok(value.value.iter().copied().map(char::from).collect()),
        false => Err("its name is something else than one common name in plain letters"),
    }
}

/// A time (RFC 5280 §4.1.2.5), such that later ones sort behind.
pub(super) fn time(element: Element<'_>) -> Result<String, Bad> {
    const BAD: Bad = "a date in it is none, or not in the form that certificates have";
    let len = match element.tag {
        UTC_TIME => 13,
        GENERALIZED_TIME => 15,
        _ => return Err(BAD),
    };
    let [digits @ .., b'Z'] = element.value else { return Err(BAD) };
    if element.value.len() != len || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let mut text: String = digits.iter().copied().map(char::from).collect();
    if element.tag == UTC_TIME {
        // "Where YY is greater than or equal to 50, the year SHALL be
        // interpreted as 19YY".
        text.insert_str(0, if text.as_str() >= "50" { "19" } else { "20" });
    } else if text.as_str() < "2050" {
        return Err(BAD);
    }
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let within = |from, max| part(from, from + 2).is_some_and(|value| value <= max);
    let days = part(6, 8).zip(part(0, 4)).zip(part(4, 6)).is_some_and(|((day, year), month)| {
        let last = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        (1..=last).contains(&day)
    });
    if !days || !within(8, 23) || !within(10, 59) || !within(12, 59) {
        return Err(BAD);
    }
    let [year, month, day, hour, minute, second] =
        [(0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)].map(|(from, to)| &text[from..to]);
    Ok(format!("{year}-{month}-{day} {hour}:{minute}:{second} UTC"))
}

/// An object identifier in numbers (X.690 §8.19).
pub(super) fn oid(value: &[u8]) -> Result<String, Bad> {
    const BAD: Bad = "an object identifier in it is not in DER, or has numbers of more than 32 bits";
    let (mut numbers, mut number, mut begins) = (Vec::new(), 0_u32, true);
    for byte in value {
        // A number does not begin with zeros.
        if begins && *byte == 0x80 || number >> 25 != 0 {
            return Err(BAD);
        }
        number = number << 7 | u32::from(byte & 0x7f);
        begins = byte & 0x80 == 0;
        if begins {
            numbers.push(number);
            number = 0;
        }
    }
    let Some((first, rest)) = numbers.split_first().filter(|_| begins) else { return Err(BAD) };
    let top = (first / 40).min(2);
    let mut out = format!("{top}.{}", first - 40 * top);
    rest.iter().for_each(|number| out.push_str(&format!(".{number}")));
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::der::tlv;

    #[test]
    fn times_are_dates_or_refused() {
        let read = |tag, text: &str| {
            let whole = tlv(tag, &[text.as_bytes()]);
            time(Reader::new(&whole).next().unwrap())
        };
        assert_eq!(read(UTC_TIME, "261122081612Z").unwrap(), "2026-11-22 08:16:12 UTC");
        assert_eq!(read(UTC_TIME, "500101000000Z").unwrap(), "1950-01-01 00:00:00 UTC");
        assert_eq!(read(GENERALIZED_TIME, "20520229235959Z").unwrap(), "2052-02-29 23:59:59 UTC");
        for text in [
            "2611220816Z",
            "261122081612+",
            "261322081612Z",
            "261131081612Z",
            "261122241612Z",
            "270229000000Z",
            "",
        ] {
            assert!(read(UTC_TIME, text).is_err(), "{text}");
        }
        assert!(read(GENERALIZED_TIME, "20490101000000Z").is_err(), "it has to be UTCTime");
        assert!(read(0x0c, "261122081612Z").is_err());
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(
            oid(&[0x2b, 6, 1, 4, 1, 0xa0, 0x20, 0x90, 0x34, 0x84, 0x5b]).unwrap(),
            "1.3.6.1.4.1.4128.2100.603"
        );
        assert_eq!(oid(&[0x55, 0x1d, 0x0e]).unwrap(), "2.5.29.14");
        for bad in [&[][..], &[0x80, 1], &[0x2b, 0x86], &[0x2b, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            assert!(oid(bad).is_err(), "{bad:x?}");
        }
        for bad in [&[][..], &[0x80], &[0, 0x7f], &[0xff, 1]] {
            assert!(positive(bad).is_err(), "{bad:x?}");
        }
        for good in [&[0][..], &[0x7f], &[0, 0x80], &[1, 0]] {
            assert!(positive(good).is_ok(), "{good:x?}");
        }
    }
}
