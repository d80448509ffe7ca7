//! Printer: an envelope as people read it.
//!
//! It trusts nothing and decides nothing: it shows what the bytes say, with
//! the names of the SUIT draft, and whatever it does not know in CBOR's
//! diagnostic notation. Nesting is bounded, so hostile input ends in an
//! error, not in a stack overflow.

use std::fmt::{self, Write as _};
use std::time::Duration;

use minicbor::data::Type;
use minicbor::{Decoder, decode};
use serde::Serialize;
use spki::der::DateTime;
use uuid::Uuid;

mod kinds;

use kinds::Kind::{self, Plain, Severable, Wrapped};

/// Deepest nesting that is printed, byte strings that hold CBOR included.
const DEPTH_MAX: usize = 40;

/// Why bytes cannot be printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// Not CBOR.
    #[error("not CBOR at byte {0}")]
    Malformed(usize),
    /// Nested too deeply.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

impl From<decode::Error> for PrintError {
    fn from(error: decode::Error) -> PrintError {
        PrintError::Malformed(error.position().unwrap_or(0))
    }
}

/// One line: a name, and a value or the lines below it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its value, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it consists of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Line>,
}

/// An envelope as people read it; its `Display` is indented text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Printed(pub Vec<Line>);

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines(f: &mut fmt::Formatter<'_>, of: &[Line], depth: usize) -> fmt::Result {
            for Line { name, value, parts } in of {
                write!(f, "{:indent$}{name}", "", indent = 2 * depth)?;
                match value {
                    Some(value) if name.is_empty() => writeln!(f, "{value}")?,
                    Some(value) => writeln!(f, ": {value}")?,
                    None => writeln!(f)?,
                }
                lines(f, parts, depth + 1)?;
            }
            Ok(())
        }
        lines(f, &self.0, 0)
    }
}

/// Prints an envelope.
pub fn envelope(bytes: &[u8]) -> Result<Printed, PrintError> {
    print(bytes, Kind::Envelope)
}

/// Prints a delegation as a file holds it: the links of one chain.
pub fn delegation(bytes: &[u8]) -> Result<Printed, PrintError> {
    print(bytes, Kind::List("link", &Wrapped(&Kind::Link)))
}

fn print(bytes: &[u8], kind: Kind) -> Result<Printed, PrintError> {
    let mut printer = Printer { open: vec![Vec::new()] };
    let mut decoder = Decoder::new(bytes);
    printer.value(&mut decoder, kind, 0)?;
    if decoder.position() != bytes.len() {
        return Err(PrintError::Malformed(decoder.position()));
    }
    Ok(Printed(printer.open.pop().unwrap_or_default()))
}

struct Printer {
    /// Lines under construction, outermost first.
    open: Vec<Vec<Line>>,
}

impl Printer {
    fn line(&mut self, name: &str, value: String) {
        self.push(Line { name: name.to_owned(), value: Some(value), parts: Vec::new() });
    }

    fn push(&mut self, line: Line) {
        if let Some(innermost) = self.open.last_mut() {
            innermost.push(line);
        }
    }

    /// Prints a value of a known kind as lines at `depth`.
    fn value(&mut self, d: &mut Decoder<'_>, kind: Kind, depth: usize) -> Result<(), PrintError> {
        if depth > DEPTH_MAX {
            return Err(PrintError::TooDeep);
        }
        match (kind, d.datatype()?) {
            (Wrapped(inner) | Severable(inner), Type::Bytes) => {
                let bytes = d.bytes()?;
                self.value(&mut Decoder::new(bytes), *inner, depth)
            }
            (Severable(_), Type::Array) => self.value(d, Kind::Digest, depth),
            (Kind::Envelope | Kind::Sign1 | Kind::Link, Type::Tag) => {
                d.tag()?;
                // Tags nest like everything else.
                self.value(d, kind, depth + 1)
            }
            (Kind::Wrapper, Type::Array) => {
                let count = d.array()?.unwrap_or(0);
                for index in 0..count {
                    if index == 0 {
                        self.member(d, "digest", Wrapped(&Kind::Digest), depth)?;
                    } else {
                        self.member(d, "signature", Wrapped(&Kind::Sign1), depth)?;
                    }
                }
                Ok(())
            }
            (Kind::Sign1 | Kind::Link, Type::Array) => {
                d.array()?;
                self.value(d, Wrapped(&Kind::Header), depth)?;
                self.value(d, Kind::Header, depth)?;
                let payload = if kind == Kind::Link { Wrapped(&Kind::Claims) } else { Plain };
                self.member(d, "payload", payload, depth)?;
                self.member(d, "signature", Plain, depth)
            }
            (Kind::Sequence, Type::Array) => {
                let items = d.array()?.unwrap_or(0);
                for _ in 0..items / 2 {
                    let label = d.i64()?;
                    self.labelled(d, kind, label, depth)?;
                }
                Ok(())
            }
            (Kind::List(name, inner), Type::Array) => {
                for index in 0..d.array()?.unwrap_or(0) {
                    self.member(d, &format!("{name} {index}"), *inner, depth)?;
                }
                Ok(())
            }
            (Kind::Tuple(places), Type::Array) => {
                let mut places = places.iter();
                for _ in 0..d.array()?.unwrap_or(0) {
                    let (name, inner) = places.next().copied().unwrap_or(("unknown", Plain));
                    self.member(d, name, inner, depth)?;
                }
                Ok(())
            }
            (Kind::Agreement, Type::Array) => {
                d.array()?;
                match d.u64()? {
                    0 => self.member(d, "COSE", Wrapped(&Kind::Sign1), depth),
                    1 => self.member(d, "SSH", Plain, depth),
                    2 => self.member(d, "passkey", kinds::ASSERTION, depth),
                    other => self.member(d, &format!("unknown {other}"), Plain, depth),
                }
            }
            (_, Type::Map) if !kind.members().is_empty() => {
                for _ in 0..d.map()?.unwrap_or(0) {
                    if d.datatype()? == Type::String {
                        let name = d.str()?.escape_debug().to_string();
                        let bytes = d.bytes()?.len();
                        self.line(&name, format!("integrated payload of {bytes} bytes"));
                    } else {
                        let label = d.i64()?;
                        self.labelled(d, kind, label, depth)?;
                    }
                }
                Ok(())
            }
            _ => {
                let text = self.inline(d, kind, depth)?;
                self.line("", text);
                Ok(())
            }
        }
    }

    fn labelled(
        &mut self,
        d: &mut Decoder<'_>,
        kind: Kind,
        label: i64,
        depth: usize,
    ) -> Result<(), PrintError> {
        match kind.members().iter().find(|(known, ..)| *known == label) {
            Some((_, name, inner)) => self.member(d, name, *inner, depth),
            None => self.member(d, &format!("unknown {label}"), Plain, depth),
        }
    }

    /// `name: value` on one line where the value fits, else a block.
    fn member(
        &mut self,
        d: &mut Decoder<'_>,
        name: &str,
        kind: Kind,
        depth: usize,
    ) -> Result<(), PrintError> {
        let block = match (kind, d.datatype()?) {
            (Wrapped(Kind::Digest) | Severable(_), Type::Array) => false,
            (Wrapped(Kind::Digest), _) => false,
            (Wrapped(_) | Severable(_), Type::Bytes) => true,
            (Kind::List(..) | Kind::Tuple(_) | Kind::Agreement, Type::Array) => true,
            (_, Type::Map) => !kind.members().is_empty(),
            _ => false,
        };
        if block {
            self.open.push(Vec::new());
            let printed = self.value(d, kind, depth + 1);
            let parts = self.open.pop().unwrap_or_default();
            self.push(Line { name: name.to_owned(), value: None, parts });
            return printed;
        }
        let text = self.inline(d, kind, depth)?;
        self.line(name, text);
        Ok(())
    }

    /// A value on one line.
    fn inline(&mut self, d: &mut Decoder<'_>, kind: Kind, depth: usize) -> Result<String, PrintError> {
        if depth > DEPTH_MAX {
            return Err(PrintError::TooDeep);
        }
        match (kind, d.datatype()?) {
            (Wrapped(Kind::Digest), Type::Bytes) => {
                let bytes = d.bytes()?;
                return self.inline(&mut Decoder::new(bytes), Kind::Digest, depth + 1);
            }
            (Kind::Digest | Severable(_), Type::Array) => {
                d.array()?;
                let algorithm = d.i64()?;
                let digest = hex(d.bytes()?);
                return Ok(match algorithm {
                    -16 => format!("sha-256 {digest}"),
                    other => format!("algorithm {other} {digest}"),
                });
            }
            (Kind::Uuid, Type::Bytes) => {
                let bytes = d.bytes()?;
                return Ok(Uuid::from_slice(bytes).map_or_else(|_| hex(bytes), |uuid| uuid.to_string()));
            }
            (Kind::KeyId, Type::Bytes) => return Ok(hex(d.bytes()?)),
            (Kind::Algorithm, Type::U8 | Type::I8) => {
                return Ok(match d.i64()? {
                    -7 => "ES256".to_owned(),
                    -8 => "EdDSA".to_owned(),
                    -9 => "ESP256".to_owned(),
                    -19 => "Ed25519".to_owned(),
                    other => format!("COSE algorithm {other}"),
                });
            }
            (Kind::Word(words), Type::U8) => {
                let number = d.u64()?;
                let word = usize::try_from(number).ok().and_then(|place| words.get(place));
                return Ok(word.map_or_else(|| format!("unknown {number}"), |word| (*word).to_owned()));
            }
            (Kind::Moment, Type::U8 | Type::U16 | Type::U32 | Type::U64) => {
                let seconds = d.u64()?;
                let date = DateTime::from_unix_duration(Duration::from_secs(seconds));
                return Ok(date.map_or_else(|_| seconds.to_string(), |date| format!("{date} ({seconds})")));
            }
            _ => {}
        }
        diagnostic(d, kind == Kind::Components, depth)
    }
}

/// CBOR diagnostic notation (RFC 8949 §8). Byte strings that are printable
/// names are shown as such where names are expected.
fn diagnostic(d: &mut Decoder<'_>, names: bool, depth: usize) -> Result<String, PrintError> {
    if depth > DEPTH_MAX {
        return Err(PrintError::TooDeep);
    }
    let list = |count: u64, d: &mut Decoder<'_>, pairs: bool| -> Result<String, PrintError> {
        let mut items = Vec::new();
        for _ in 0..count {
            let mut item = diagnostic(d, names, depth + 1)?;
            if pairs {
                item = format!("{item}: {}", diagnostic(d, names, depth + 1)?);
            }
            items.push(item);
        }
        Ok(items.join(", "))
    };
    Ok(match d.datatype()? {
        Type::Bytes => {
            let bytes = d.bytes()?;
            match std::str::from_utf8(bytes) {
                Ok(name) if names && !name.is_empty() && name.chars().all(|c| !c.is_control()) => {
                    format!("'{name}'")
                }
                _ => format!("h'{}'", hex(bytes)),
            }
        }
        Type::String => format!("\"{}\"", d.str()?.escape_debug()),
        Type::Array => {
            let count = d.array()?.unwrap_or(0);
            format!("[{}]", list(count, d, false)?)
        }
        Type::Map => {
            let count = d.map()?.unwrap_or(0);
            format!("{{{}}}", list(count, d, true)?)
        }
        Type::Tag => {
            let tag = d.tag()?.as_u64();
            format!("{tag}({})", diagnostic(d, names, depth + 1)?)
        }
        Type::Bool => d.bool()?.to_string(),
        Type::Null => {
            d.null()?;
            "null".to_owned()
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => d.u64()?.to_string(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => d.int()?.to_string(),
        _ => return Err(PrintError::Malformed(d.position())),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
