//! The vectors of the specification, as a board reads them.
//!
//! `spec/vectors/README.md` describes the files. They are read here once
//! more, independently of the crate that writes them: a mistake would have to
//! be made twice to go unnoticed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::workspace;

/// Vectors in one file, and the verdict that is expected of each.
pub(crate) struct Packed {
    /// What `boards/cases` unpacks.
    pub(crate) bytes: Vec<u8>,
    /// The number of the refusal by name of the case; 0 where there is none.
    pub(crate) expected: BTreeMap<String, u16>,
}

/// Packs the vectors of the repository whose names are wanted.
pub(crate) fn pack(wanted: impl Fn(&str) -> bool) -> Result<Packed, Error> {
    let mut packed = Packed { bytes: Vec::new(), expected: BTreeMap::new() };
    for path in
        workspace::files()?.iter().filter(|path| path.starts_with("spec/vectors/") && path.ends_with(".txt"))
    {
        let text = workspace::read(&workspace::root().join(path))?;
        let stem =
            Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, is_root) = match path.starts_with("spec/vectors/roots/") {
            true => (format!("roots/{stem}"), true),
            false => (stem, false),
        };
        if !wanted(&name) {
            continue;
        }
        let expected = append(&mut packed.bytes, &name, is_root, &text)
            .ok_or_else(|| Error::wrong(format!("{path}: not as spec/vectors/README.md says")))?;
        packed.expected.insert(name, expected);
    }
    match packed.expected.is_empty() {
        true => Err(Error::wrong("there are no vectors in spec/vectors")),
        false => Ok(packed),
    }
}

/// Appends one case in the order of `boards/cases/src/pack.rs`; returns what
/// is expected of it.
fn append(out: &mut Vec<u8>, name: &str, is_root: bool, text: &str) -> Option<u16> {
    let mut lines = Vec::new();
    for line in text.lines() {
        lines.push(line.split_once(": ")?);
    }
    let all = |key: &'static str| lines.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value);
    let one = |key| all(key).next();
    let number = |key| one(key)?.parse::<u64>().ok();
    let expected = match one("expect")? {
        "ok" => 0,
        refused => refused.strip_prefix("refused ")?.parse().ok()?,
    };
    put_bytes(out, name.as_bytes());
    if is_root {
        put(out, 2);
        put_bytes(out, &unhex(one("held").unwrap_or_default())?);
        put_bytes(out, &unhex(one("root")?)?);
        put_bytes(out, &[]);
        put_bytes(out, &[0; 16]);
        put_bytes(out, &[0; 16]);
        // Epoch, delegation, three documents, maximum age, three times,
        // stranded, channel, components, measurements.
        [0; 13].into_iter().for_each(|zero| put(out, zero));
        return Some(expected);
    }
    put(
        out,
        match one("purpose")? {
            "admit" => 0,
            "boot" => 1,
            "trial" => 3,
            _ => return None,
        },
    );
    put_bytes(out, &unhex(one("envelope")?)?);
    put_bytes(out, &unhex(one("root")?)?);
    put_bytes(out, one("product")?.as_bytes());
    put_bytes(out, &unhex(one("vendor")?)?);
    put_bytes(out, &unhex(one("class")?)?);
    put(out, number("epoch")?);
    put(out, number("delegation")?);
    for document in ["owner", "revocation", "freshness"] {
        put_bytes(out, &unhex(one(document).unwrap_or_default())?);
    }
    // A number that may be absent: one more than it is, or 0.
    for absent in ["max_age", "clock"] {
        put(out, number(absent).map_or(0, |number| number + 1));
    }
    put(out, number("floor").unwrap_or(0));
    put(out, number("leeway").unwrap_or(0));
    put(out, u64::from(one("stranded").is_some()));
    put_bytes(out, one("channel").unwrap_or_default().as_bytes());
    put(out, all("component").count() as u64);
    for component in all("component") {
        let mut words = component.split(' ');
        put_bytes(out, words.next()?.as_bytes());
        for key in ["slot=", "capacity=", "sequence="] {
            put(out, words.next()?.strip_prefix(key)?.parse().ok()?);
        }
    }
    put(out, all("measured").count() as u64);
    for measured in all("measured") {
        let (digest, size) = measured.split_once(' ')?;
        put_bytes(out, &unhex(digest)?);
        put(out, size.parse().ok()?);
    }
    Some(expected)
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend(bytes);
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| char::from(letter).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::{append, unhex};

    #[test]
    fn hexadecimal() {
        assert_eq!(unhex("00ff1a"), Some(vec![0, 255, 26]));
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }

    #[test]
    fn a_vector_that_lacks_a_line_is_an_error() {
        let root = "about: x\nexpect: refused 204\nroot: 00\n";
        assert_eq!(append(&mut Vec::new(), "a", true, root), Some(204));
        assert_eq!(append(&mut Vec::new(), "a", false, root), None);
        assert_eq!(append(&mut Vec::new(), "a", true, "expect: perhaps\nroot: 00\n"), None);
    }
}
