//! A strict reader of deterministic CBOR (RFC 8949 §4.2.1), over minicbor.
//!
//! SUIT demands deterministic encoding; refusing anything else means that
//! no two parsers can see two things in the same bytes. Every method
//! either consumes one complete item or fails.
//!
//! Its methods are not inlined: parsing is a hundredth of what a signature
//! costs, and a hundred places call them. It saves 49 kB of flash.

use minicbor::Decoder;
use minicbor::data::Type;

use crate::limits::{Limit, TEXT_MAX};
use crate::refusal::Refusal;

const MALFORMED: Refusal = Refusal::Malformed("not deterministic CBOR of the expected type");

/// Bytes that the head of an item with this argument takes.
const fn head_len(argument: u64) -> usize {
    match argument {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// A byte string: its content, and the whole item with its head, which is
/// what SUIT digests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bstr<'a> {
    /// The item with its head.
    pub wrapped: &'a [u8],
    /// The content alone.
    pub content: &'a [u8],
}

/// A cursor over one encoded item or sequence of items.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    decoder: Decoder<'a>,
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Reader")
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { decoder: Decoder::new(bytes) }
    }

    fn position(&self) -> usize {
        self.decoder.position()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position() == self.decoder.input().len()
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.decoder.input()[self.position()..]
    }

    /// Refuses trailing bytes.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.at_end() { Ok(()) } else { Err(Refusal::Malformed("trailing bytes")) }
    }

    /// Runs `read`, which consumes one head and `body(&value)` more bytes,
    /// and refuses a head that is longer than necessary.
    fn shortest<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
        measure: impl FnOnce(&T) -> (u64, usize),
    ) -> Result<T, Refusal> {
        let start = self.position();
        let value = read(&mut self.decoder).map_err(|_| MALFORMED)?;
        let (argument, body) = measure(&value);
        if self.position() - start == head_len(argument) + body { Ok(value) } else { Err(MALFORMED) }
    }

    pub(crate) fn kind(&self) -> Result<Type, Refusal> {
        self.decoder.datatype().map_err(|_| MALFORMED)
    }

    #[inline(never)]
    pub(crate) fn uint(&mut self) -> Result<u64, Refusal> {
        self.shortest(|d| d.u64(), |value| (*value, 0))
    }

    #[inline(never)]
    pub(crate) fn int(&mut self) -> Result<i64, Refusal> {
        self.shortest(|d| d.i64(), |value| (if *value < 0 { !*value as u64 } else { *value as u64 }, 0))
    }

    #[inline(never)]
    pub(crate) fn bstr(&mut self) -> Result<Bstr<'a>, Refusal> {
        let start = self.position();
        // minicbor's `bytes` refuses indefinite lengths.
        let content = self.shortest(|d| d.bytes(), |bytes| (bytes.len() as u64, bytes.len()))?;
        Ok(Bstr { wrapped: &self.decoder.input()[start..self.position()], content })
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        self.bstr().map(|bstr| bstr.content)
    }

    #[inline(never)]
    pub(crate) fn array_of<const N: usize>(&mut self) -> Result<&'a [u8; N], Refusal> {
        self.bytes()?.try_into().map_err(|_| Refusal::Malformed("a byte string of the wrong length"))
    }

    #[inline(never)]
    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        let text = self.shortest(|d| d.str(), |text| (text.len() as u64, text.len()))?;
        if text.len() > TEXT_MAX { Err(Refusal::Limit(Limit::TextMax)) } else { Ok(text) }
    }

    /// The number of items of a definite array; `limit` when there are more
    /// than `max`.
    #[inline(never)]
    pub(crate) fn array(&mut self, max: usize, limit: Limit) -> Result<usize, Refusal> {
        let count = self.shortest(
            |d| d.array()?.ok_or_else(|| minicbor::decode::Error::message("indefinite")),
            |count| (*count, 0),
        )?;
        bounded(count, max, limit)
    }

    /// Refuses an array that does not have exactly `count` items.
    #[inline(never)]
    pub(crate) fn array_exact(&mut self, count: usize) -> Result<(), Refusal> {
        let have = self.array(usize::MAX, Limit::CommandsMax)?;
        if have == count { Ok(()) } else { Err(Refusal::Malformed("an array of the wrong length")) }
    }

    /// Opens a map: its keys come in ascending order of their encodings,
    /// each once.
    #[inline(never)]
    pub(crate) fn map(&mut self) -> Result<Keys<'a>, Refusal> {
        let left = self.shortest(
            |d| d.map()?.ok_or_else(|| minicbor::decode::Error::message("indefinite")),
            |count| (*count, 0),
        )?;
        Ok(Keys { left, last: &[] })
    }

    pub(crate) fn tag(&mut self) -> Result<u64, Refusal> {
        self.shortest(|d| d.tag().map(|tag| tag.as_u64()), |tag| (*tag, 0))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Refusal> {
        self.shortest(|d| d.bool(), |_| (0, 0))
    }

    pub(crate) fn null(&mut self) -> Result<(), Refusal> {
        self.shortest(|d| d.null(), |()| (0, 0))
    }
}

fn bounded(count: u64, max: usize, limit: Limit) -> Result<usize, Refusal> {
    match usize::try_from(count) {
        Ok(count) if count <= max => Ok(count),
        _ => Err(Refusal::Limit(limit)),
    }
}

/// A key of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key<'a> {
    Int(i64),
    Text(&'a str),
}

/// The keys of an open map, in order.
pub(crate) struct Keys<'a> {
    left: u64,
    last: &'a [u8],
}

impl<'a> Keys<'a> {
    /// Reads the next key; the caller then reads its value.
    #[inline(never)]
    pub(crate) fn next(&mut self, reader: &mut Reader<'a>) -> Result<Option<Key<'a>>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = reader.position();
        let key = match reader.kind()? {
            Type::String => Key::Text(reader.text()?),
            _ => Key::Int(reader.int()?),
        };
        let encoded = &reader.decoder.input()[start..reader.position()];
        // Strictly ascending order excludes duplicates as well.
        if encoded <= self.last {
            return Err(Refusal::Malformed("map keys out of order or twice"));
        }
        self.last = encoded;
        Ok(Some(key))
    }

    /// Reads the next key of a map that has integer keys only.
    #[inline(never)]
    pub(crate) fn next_int(&mut self, reader: &mut Reader<'a>) -> Result<Option<i64>, Refusal> {
        match self.next(reader)? {
            None => Ok(None),
            Some(Key::Int(key)) => Ok(Some(key)),
            Some(Key::Text(_)) => Err(Refusal::Malformed("a text key where an integer belongs")),
        }
    }
}
