//! The envelope's outer map, read through the source: payloads in it may be
//! gigabytes.

use std::ops::Range;

use super::cbor::{self, Head, Kind};
use super::{NAME, malformed, within};
use crate::error::FormatError;
use crate::source::{Source, bytes_at};

/// CBOR tag of a SUIT envelope.
const TAG: u64 = 107;
/// Most members.
const MEMBERS_MAX: u64 = 64;
/// Longest name of an integrated payload.
const NAME_MAX: u64 = 1024;
/// Longest member that is read whole: manifest, authentication, what was severed.
pub(super) const MEMBER_MAX: u64 = 64 * 1024;

/// The label of the authentication wrapper.
pub(super) const AUTHENTICATION: i64 = 2;
/// The label of the manifest.
pub(super) const MANIFEST: i64 = 3;
/// The label of the delegation chains.
pub(super) const DELEGATION: i64 = 1;

/// The key of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Number(i64),
    /// Of an integrated payload.
    Name(String),
}

/// A member: its key, and where its byte string stands.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    /// With its head.
    pub(super) wrapped: Range<u64>,
    pub(super) content: Range<u64>,
}

impl Member {
    /// The whole byte string with its head, if it is one of those that are
    /// small.
    pub(super) fn load(&self, source: &dyn Source) -> Result<Wrapped, FormatError> {
        let len = self.wrapped.end - self.wrapped.start;
        if len > MEMBER_MAX {
            let what = format!("member {} is longer than {MEMBER_MAX} bytes", self.key.shown());
            return Err(FormatError::unsupported(NAME, what));
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(self.wrapped.start, &mut bytes)?;
        Ok(Wrapped { head: (self.content.start - self.wrapped.start) as usize, bytes })
    }
}

impl Key {
    fn shown(&self) -> String {
        match self {
            Key::Number(number) => number.to_string(),
            Key::Name(name) => format!("{name:?}"),
        }
    }
}

/// A byte string that was read whole.
pub(super) struct Wrapped {
    head: usize,
    /// With its head: what SUIT digests.
    pub(super) bytes: Vec<u8>,
}

impl Wrapped {
    pub(super) fn content(&self) -> &[u8] {
        self.bytes.get(self.head..).unwrap_or_default()
    }
}

/// An envelope whose members are known.
pub(super) struct Envelope {
    pub(super) len: u64,
    pub(super) tagged: bool,
    pub(super) members: Vec<Member>,
}

impl Envelope {
    /// Reads the outer map, and refuses whatever is not one in whole.
    pub(super) fn read(source: &dyn Source) -> Result<Envelope, FormatError> {
        let len = source.len()?;
        let mut at = Cursor { source, at: 0, end: len };
        let mut head = at.head()?;
        let tagged = head.kind == Kind::Tag;
        if tagged && head.argument != TAG {
            return Err(malformed("its tag is not 107"));
        }
        if tagged {
            head = at.head()?;
        }
        if head.kind != Kind::Map || !(2..=MEMBERS_MAX).contains(&head.argument) {
            return Err(malformed(format!("it is no map of 2 to {MEMBERS_MAX} members")));
        }
        let (mut members, mut last) = (Vec::new(), Vec::new());
        for _ in 0..head.argument {
            let start = at.at;
            let key = at.key()?;
            let mut encoded = vec![0; (at.at - start) as usize];
            source.read_at(start, &mut encoded)?;
            if encoded <= last {
                return Err(malformed("its members are out of order, or one is there twice"));
            }
            last = encoded;
            let (wrapped, content) = at.byte_string()?;
            members.push(Member { key, wrapped, content });
        }
        if at.at != len {
            return Err(malformed("there are bytes behind its end"));
        }
        Ok(Envelope { len, tagged, members })
    }

    /// A member with a number.
    pub(super) fn member(&self, label: i64) -> Option<&Member> {
        self.members.iter().find(|member| member.key == Key::Number(label))
    }

    /// One that has to be there.
    pub(super) fn required(&self, label: i64, what: &str) -> Result<&Member, FormatError> {
        self.member(label).ok_or_else(|| malformed(format!("it has no {what}")))
    }

    /// The integrated payloads, with their names.
    pub(super) fn payloads(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        self.members.iter().filter_map(|member| match &member.key {
            Key::Name(name) => Some((name.as_str(), member.content.clone())),
            Key::Number(_) => None,
        })
    }
}

/// Whether a file begins as an envelope, with its tag or without.
pub(super) fn is_one(source: &dyn Source) -> Result<bool, FormatError> {
    let mut at = Cursor { source, at: 0, end: source.len()? };
    match begins(&mut at) {
        Err(FormatError::Read(error)) => Err(error.into()),
        other => Ok(other.unwrap_or(false)),
    }
}

fn begins(at: &mut Cursor<'_>) -> Result<bool, FormatError> {
    // The tag's longer forms are refused later: some readers take them.
    let mut first = [0; 9];
    let have = at.end.min(9) as usize;
    at.source.read_at(0, &mut first[..have])?;
    for tag in [&[0xd8, 107][..], &[0xd9, 0, 107], &[0xda, 0, 0, 0, 107]] {
        if let Some(rest) = first[..have].strip_prefix(tag) {
            return Ok(rest.first().is_some_and(|next| next >> 5 == 5));
        }
    }
    let map = at.head()?;
    if map.kind != Kind::Map || map.argument < 2 {
        return Ok(false);
    }
    let mut key = at.head()?;
    if (key.kind, key.argument) == (Kind::Uint, DELEGATION as u64) {
        at.byte_string()?;
        key = at.head()?;
    }
    if (key.kind, key.argument) != (Kind::Uint, AUTHENTICATION as u64) {
        return Ok(false);
    }
    // The wrapper, and in it a byte string with a function and a value.
    let expected = [Kind::Bytes, Kind::Array, Kind::Bytes, Kind::Array, Kind::Nint, Kind::Bytes];
    for kind in expected {
        if at.head()?.kind != kind {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A place in the source.
struct Cursor<'a> {
    source: &'a dyn Source,
    at: u64,
    end: u64,
}

impl Cursor<'_> {
    fn head(&mut self) -> Result<Head, FormatError> {
        const WHAT: (&str, &str) = (NAME, "the envelope");
        let [first] = bytes_at::<1>(self.source, self.at, self.end, WHAT)?;
        let more = Head::more(first);
        let need = self.at + 1 + more as u64;
        if need > self.end {
            return Err(FormatError::Truncated { format: NAME, what: WHAT.1, need, have: self.end });
        }
        let mut bytes = [0; 9];
        bytes[0] = first;
        self.source.read_at(self.at + 1, &mut bytes[1..1 + more])?;
        let head = Head::read(&bytes[..1 + more]).map_err(within("the envelope"))?;
        self.at += head.len as u64;
        Ok(head)
    }

    fn key(&mut self) -> Result<Key, FormatError> {
        let start = self.at;
        let head = self.head()?;
        let number =
            i64::try_from(head.argument).map_err(|_| malformed("a member's number is beyond 64 bits"));
        match head.kind {
            Kind::Uint => Ok(Key::Number(number?)),
            Kind::Nint => Ok(Key::Number(!number?)),
            Kind::Text if head.argument <= NAME_MAX => {
                let range = self.content(head.argument)?;
                let mut encoded = vec![0; (range.end - start) as usize];
                self.source.read_at(start, &mut encoded)?;
                let name = cbor::Reader::new(&encoded).text().map_err(within("a payload's name"))?;
                Ok(Key::Name(name.to_owned()))
            }
            _ => Err(malformed("a member's key is no number and no name of up to 1024 bytes")),
        }
    }

    /// A byte string with its head, and its content.
    fn byte_string(&mut self) -> Result<(Range<u64>, Range<u64>), FormatError> {
        let start = self.at;
        let head = self.head()?;
        if head.kind != Kind::Bytes {
            return Err(malformed("a member is no byte string"));
        }
        let content = self.content(head.argument)?;
        Ok((start..content.end, content))
    }

    fn content(&mut self, len: u64) -> Result<Range<u64>, FormatError> {
        let need = self.at.saturating_add(len);
        if need > self.end {
            return Err(FormatError::Truncated { format: NAME, what: "a member", need, have: self.end });
        }
        let range = self.at..need;
        self.at = need;
        Ok(range)
    }
}
