//! JSON (RFC 8259) from strangers, read one way or not at all.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::EvidenceError;

/// Deepest nesting; CycloneDX components in components rarely reach ten.
const DEPTH_MAX: u8 = 48;
/// Most values in one document: bills of materials of whole distributions
/// stay below.
const VALUES_MAX: u32 = 1 << 20;

/// What ended reading, beside the position that the reader tells.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Malformed,
    Twice,
    Vast,
}

/// Reads a document whole. An object that names a member twice (RFC 8259 §4:
/// "the behavior of software that receives such an object is unpredictable")
/// is refused, and so is anything but white space behind the end.
pub fn parse(bytes: &[u8]) -> Result<Value, EvidenceError> {
    let (left, stop) = (Cell::new(VALUES_MAX), Cell::new(Stop::Malformed));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed { depth: DEPTH_MAX, left: &left, stop: &stop };
    let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match stop.get() {
            Stop::Malformed => EvidenceError::NotJson { line, column },
            Stop::Twice => EvidenceError::Twice { line, column },
            Stop::Vast => EvidenceError::Vast,
        }
    })
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: u8,
    left: &'a Cell<u32>,
    stop: &'a Cell<Stop>,
}

impl Seed<'_> {
    fn stopped<E: Error>(&self, why: Stop) -> E {
        self.stop.set(why);
        E::custom("refused")
    }

    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Seed { depth, ..self }),
            None => Err(self.stopped(Stop::Vast)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(self.stopped(Stop::Vast)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if out.contains_key(&name) {
                return Err(self.stopped(Stop::Twice));
            }
            let value = members.next_value_seed(inner)?;
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_or_none() {
        let is = |text: &str, error: &str| match parse(text.as_bytes()) {
            Ok(value) => assert_eq!(error, "", "{text}: {value}"),
            Err(refused) => {
                assert!(!error.is_empty() && refused.to_string().contains(error), "{text}: {refused}")
            }
        };
        is(r#" {"a":[1,-2,3.5,true,null,"x\n"],"b":{"a":1}} "#, "");
        is(r#"{"a":1,"a":1}"#, "twice");
        is(r#"{"a":1,"\u0061":1}"#, "twice");
        is(r#"{"a":1}{"#, "not JSON");
        is(r#"{"a":1} x"#, "not JSON");
        is("", "not JSON");
        is("{\"a\":\"\u{1}\"}", "not JSON");
        is(r#"{"a":1e999}"#, "not JSON");
        is(&"[".repeat(100_000), "nests deeper");
        is(&format!("{}{}", "[".repeat(48), "]".repeat(48)), "");
        is(&format!("{}{}", "[".repeat(49), "]".repeat(49)), "nests deeper");
        is(&format!("[{}1]", "1,".repeat(1 << 20)), "nests deeper");
        assert!(parse(b"\xff").is_err() && parse(b"\"\xc3\x28\"").is_err());
    }
}
