//! A strict reader of deterministic CBOR (RFC 8949 §4.2.1), which SUIT demands:
//! what has two encodings, or one that two readers take differently, is refused.

use super::Bad;

/// Deepest nesting of items that are only passed over.
const DEPTH: usize = 16;

/// Major types (RFC 8949 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Uint,
    Nint,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    /// False, true and null; others are refused.
    Simple,
}

/// The head of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) argument: u64,
    /// Its own length in bytes.
    pub(super) len: usize,
}

impl Head {
    /// How many bytes follow the first one.
    pub(super) const fn more(first: u8) -> usize {
        match first & 31 {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        }
    }

    /// Reads the head that bytes begin with.
    pub(super) fn read(bytes: &[u8]) -> Result<Head, Bad> {
        let (&first, rest) = bytes.split_first().ok_or("it ends too early")?;
        let more = Head::more(first);
        let digits = rest.get(..more).ok_or("it ends too early")?;
        let kind = match first >> 5 {
            0 => Kind::Uint,
            1 => Kind::Nint,
            2 => Kind::Bytes,
            3 => Kind::Text,
            4 => Kind::Array,
            5 => Kind::Map,
            6 => Kind::Tag,
            _ => Kind::Simple,
        };
        let argument = match first & 31 {
            small @ 0..24 => u64::from(small),
            24..=27 => digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit)),
            31 => return Err("an indefinite length, which deterministic CBOR does not have"),
            _ => return Err("a reserved head"),
        };
        // What the next shorter form could have held.
        let shorter = [0, 24, 0x100, 0, 0x1_0000, 0, 0, 0, 0x1_0000_0000].get(more);
        if kind != Kind::Simple && shorter.is_some_and(|shorter| argument < *shorter) {
            return Err("a head that is longer than it has to be");
        }
        if kind == Kind::Simple && !matches!(first, 0xf4..=0xf6) {
            return Err("a simple value or number that SUIT does not have");
        }
        Ok(Head { kind, argument, len: 1 + more })
    }
}

/// A cursor over encoded items.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Refuses what is left over.
    pub(super) fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() { Ok(()) } else { Err("bytes behind its end") }
    }

    /// What comes next.
    pub(super) fn kind(&self) -> Option<Kind> {
        Head::read(self.rest).ok().map(|head| head.kind)
    }

    fn head(&mut self) -> Result<Head, Bad> {
        let head = Head::read(self.rest)?;
        self.take(head.len as u64)?;
        Ok(head)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Bad> {
        let count = usize::try_from(count).map_err(|_| "it ends too early")?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn expect(&mut self, kind: Kind, why: Bad) -> Result<u64, Bad> {
        match self.head()? {
            head if head.kind == kind => Ok(head.argument),
            _ => Err(why),
        }
    }

    pub(super) fn uint(&mut self) -> Result<u64, Bad> {
        self.expect(Kind::Uint, "something else than a number from 0")
    }

    pub(super) fn int(&mut self) -> Result<i64, Bad> {
        let head = self.head()?;
        let value = i64::try_from(head.argument).map_err(|_| "a number beyond 64 bits")?;
        match head.kind {
            Kind::Uint => Ok(value),
            Kind::Nint => Ok(!value),
            _ => Err("something else than a number"),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let len = self.expect(Kind::Bytes, "something else than a byte string")?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Bad> {
        let len = self.expect(Kind::Text, "something else than a text")?;
        std::str::from_utf8(self.take(len)?).map_err(|_| "a text that is not UTF-8")
    }

    /// The number of items of an array: no more than there are bytes left.
    pub(super) fn array(&mut self) -> Result<usize, Bad> {
        let count = self.expect(Kind::Array, "something else than an array")?;
        self.counted(count)
    }

    /// Opens a map.
    pub(super) fn map(&mut self) -> Result<Keys<'a>, Bad> {
        let count = self.expect(Kind::Map, "something else than a map")?;
        Ok(Keys { left: self.counted(count)?, last: &[] })
    }

    pub(super) fn tag(&mut self) -> Result<u64, Bad> {
        self.expect(Kind::Tag, "something without a tag")
    }

    /// Takes null, if that comes next.
    pub(super) fn null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xf6, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn counted(&self, count: u64) -> Result<usize, Bad> {
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err("it ends too early"),
        }
    }

    /// One whole item, whatever it is, as it is encoded.
    pub(super) fn item(&mut self) -> Result<&'a [u8], Bad> {
        let start = self.rest;
        self.pass(DEPTH)?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn pass(&mut self, depth: usize) -> Result<(), Bad> {
        let depth = depth.checked_sub(1).ok_or("items nested too deep")?;
        match self.kind().ok_or("no item of deterministic CBOR")? {
            Kind::Uint | Kind::Nint | Kind::Simple => self.head().map(|_| ()),
            Kind::Bytes => self.bytes().map(|_| ()),
            Kind::Text => self.text().map(|_| ()),
            Kind::Tag => {
                self.tag()?;
                self.pass(depth)
            }
            Kind::Array => {
                for _ in 0..self.array()? {
                    self.pass(depth)?;
                }
                Ok(())
            }
            Kind::Map => {
                let mut keys = self.map()?;
                while keys.step(self, depth)?.is_some() {
                    self.pass(depth)?;
                }
                Ok(())
            }
        }
    }
}

/// The keys of an open map, in the order of their encodings, each once.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    left: usize,
    last: &'a [u8],
}

impl<'a> Keys<'a> {
    /// The next key as it is encoded; the caller then reads its value.
    pub(super) fn next(&mut self, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Bad> {
        self.step(reader, DEPTH)
    }

    /// The next key of a map whose keys are numbers.
    pub(super) fn next_int(&mut self, reader: &mut Reader<'a>) -> Result<Option<i64>, Bad> {
        match self.next(reader)? {
            None => Ok(None),
            Some(key) => Reader::new(key).int().map(Some),
        }
    }

    fn step(&mut self, reader: &mut Reader<'a>, depth: usize) -> Result<Option<&'a [u8]>, Bad> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let start = reader.rest;
        reader.pass(depth)?;
        let key = &start[..start.len() - reader.rest.len()];
        // Strictly ascending: none stands twice.
        if key <= self.last {
            return Err("map keys that are out of order, or there twice");
        }
        self.last = key;
        Ok(Some(key))
    }
}

/// An item in diagnostic notation (RFC 8949 §8).
pub(super) fn diagnostic(item: &[u8]) -> String {
    let mut out = String::new();
    // What was passed over as an item is one: nothing is left out.
    let whole = write(&mut Reader::new(item), &mut out, DEPTH);
    debug_assert!(whole.is_ok());
    out
}

/// A byte string in diagnostic notation: as text where it is plain.
pub(super) fn bytes(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'\\');
    match std::str::from_utf8(value) {
        Ok(text) if !value.is_empty() && value.iter().all(plain) => format!("'{text}'"),
        _ => format!("h'{}'", crate::hash::hex(value)),
    }
}

fn write(reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Result<(), Bad> {
    let depth = depth.checked_sub(1).ok_or("items nested too deep")?;
    match reader.kind().ok_or("no item")? {
        Kind::Uint => *out += &reader.uint()?.to_string(),
        Kind::Nint => *out += &(-1 - i128::from(reader.head()?.argument)).to_string(),
        Kind::Bytes => *out += &bytes(reader.bytes()?),
        Kind::Text => *out += &format!("{:?}", reader.text()?),
        Kind::Simple => {
            *out += match reader.head()?.argument {
                20 => "false",
                21 => "true",
                _ => "null",
            }
        }
        Kind::Tag => {
            *out += &format!("{}(", reader.tag()?);
            write(reader, out, depth)?;
            out.push(')');
        }
        Kind::Array => {
            out.push('[');
            for index in 0..reader.array()? {
                *out += if index > 0 { ", " } else { "" };
                write(reader, out, depth)?;
            }
            out.push(']');
        }
        Kind::Map => {
            out.push('{');
            let mut keys = reader.map()?;
            let mut first = true;
            while let Some(key) = keys.step(reader, depth)? {
                *out += if first { "" } else { ", " };
                first = false;
                write(&mut Reader::new(key), out, depth)?;
                *out += ": ";
                write(reader, out, depth)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<String, Bad> {
        let mut reader = Reader::new(bytes);
        let item = reader.item()?;
        reader.end()?;
        Ok(diagnostic(item))
    }

    #[test]
    fn every_kind_is_read_and_printed() {
        let cases: [(&[u8], &str); 9] = [
            (&[0x18, 24], "24"),
            (&[0x39, 0x01, 0x00], "-257"),
            (&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "-18446744073709551616"),
            (&[0x42, b'o', b'k'], "'ok'"),
            (&[0x42, 0, b'k'], "h'006b'"),
            (&[0x62, b'"', b'\n'], r#""\"\n""#),
            (&[0xa2, 0x01, 0xf5, 0x61, b'#', 0xf6], r##"{1: true, "#": null}"##),
            (&[0xd8, 0x70, 0x41, 0], "112(h'00')"),
            (&[0x82, 0x80, 0xa0], "[[], {}]"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(whole(bytes).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let deep = [vec![0x81; 20], vec![0]].concat();
        let cases: [(&str, &[u8]); 14] = [
            ("nothing", &[]),
            ("one byte for a small number", &[0x18, 23]),
            ("two bytes for one", &[0x19, 0, 0xff]),
            ("eight bytes for four", &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            ("an indefinite array", &[0x9f, 0xff]),
            ("an indefinite byte string", &[0x5f, 0x41, 0, 0xff]),
            ("a float", &[0xf9, 0, 0]),
            ("undefined", &[0xf7]),
            ("keys out of order", &[0xa2, 2, 0, 1, 0]),
            ("keys twice", &[0xa2, 1, 0, 1, 0]),
            ("text that is not UTF-8", &[0x61, 0xff]),
            ("a string beyond the end", &[0x42, 0]),
            ("a map beyond the end", &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("nested", &deep),
        ];
        for (name, bytes) in cases {
            assert!(whole(bytes).is_err(), "{name}");
        }
    }
}
