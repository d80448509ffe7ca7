//! DER (X.690), as far as certificates and CMS need it: slices out, bytes in.
//!
//! The reader hands out slices of what it was given, and refuses every second
//! way to write the same: what is hashed has to be what lies in the file.
//! A library that decodes into values puts sets into order on the way in and
//! would hash what the file should have held.

/// What is wrong with the bytes, in words that follow the name of a format.
pub(crate) type Bad = &'static str;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of a constructed, context-specific element.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One element.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) value: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Of one element that is all there is.
    pub(crate) fn only(bytes: &'a [u8], tag: u8) -> Result<Reader<'a>, Bad> {
        let mut outer = Reader(bytes);
        let inner = outer.take(tag)?;
        outer.end()?;
        Ok(Reader(inner))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The tag of the next element.
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Element<'a>, Bad> {
        const SHORT: Bad = "its DER ends too early";
        const FORM: Bad = "it is not in DER: lengths are definite, and as short as can be";
        let (&[tag, first], rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        if tag & 0x1f == 0x1f {
            return Err("it has a tag of more than one byte");
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Four bytes would be more than is ever read.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(SHORT)?;
                let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
                if len < 0x80 || digits.first() == Some(&0) {
                    return Err(FORM);
                }
                (len, rest)
            }
            _ => return Err(FORM),
        };
        let (value, after) = rest.split_at_checked(len).ok_or(SHORT)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Ok(Element { tag, value, whole })
    }

    /// The next element, which has this tag; its content.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], Bad> {
        Ok(self.element(tag)?.value)
    }

    /// The next element, which has this tag.
    pub(crate) fn element(&mut self, tag: u8) -> Result<Element<'a>, Bad> {
        let element = self.next()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err("it has something else where its structure demands an element")
        }
    }

    /// The next element, if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Bad> {
        if self.tag() == Some(tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Result<(), Bad> {
        if self.is_empty() { Ok(()) } else { Err("something follows where its structure ends") }
    }
}

/// An element around its content.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 6);
    out.push(tag);
    match len {
        0..=0x7f => out.push(len as u8),
        _ => {
            let digits = len.to_be_bytes();
            let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
            out.push(0x80 | (digits.len() - start) as u8);
            out.extend(&digits[start..]);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

/// A set, or something else that is one underneath, of elements in DER's
/// order (X.690 §11.6).
pub(crate) fn set(tag: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    // No element is the beginning of another one: comparing them as they are
    // is comparing them padded.
    elements.sort();
    tlv(tag, &[&elements.concat()])
}

/// SubjectPublicKeyInfo (RFC 3279 §2.3.1) around an RSAPublicKey.
pub(crate) fn spki_of_rsa(key: &[u8]) -> Vec<u8> {
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    tlv(SEQUENCE, &[&ALGORITHM, &tlv(BIT_STRING, &[&[0], key])])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let value = vec![7; len];
            let whole = tlv(OCTET_STRING, &[&value]);
            let mut reader = Reader::new(&whole);
            let element = reader.next().unwrap();
            assert_eq!((element.tag, element.value, element.whole), (4, value.as_slice(), whole.as_slice()));
            assert!(reader.end().is_ok());
        }
        let bad: [&[u8]; 10] = [
            &[],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x81],
            &[0x30, 0x82, 0, 1, 0],
            &[0x30, 0x84, 0, 0, 0, 1, 0],
            &[0x30, 0xff, 0],
            &[0x1f, 0x01, 0],
        ];
        for bytes in bad {
            assert!(Reader::new(bytes).next().is_err(), "{bytes:02x?}");
        }
        assert!(Reader::only(&[0x30, 0, 0], SEQUENCE).is_err(), "trailing byte");
        assert_eq!(
            set(SET, vec![vec![4, 1, 2], vec![2, 1, 9], vec![4, 1, 1]]),
            [0x31, 9, 2, 1, 9, 4, 1, 1, 4, 1, 2]
        );
    }
}
