//! The manifest: a line for each part, its SHA-256 and its name.

use std::collections::BTreeMap;
use std::io;

use super::malformed;
use crate::error::FormatError;
use crate::source::Source;

/// Longest manifest that is read.
pub(super) const MANIFEST_MAX: u64 = 256 * 1024;
/// Longest name in it: `data/0000/` and what fits into a header of tar.
const NAME_MAX: usize = 110;
const DIGITS: usize = 64;

/// Digests by name, of which each is taken once.
pub(super) struct Manifest(BTreeMap<String, [u8; 32]>);

impl Manifest {
    pub(super) fn read(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
        // mender-artifact passes over a last line without an end.
        let text = text.ok_or_else(|| malformed("its manifest is no text, or does not end its last line"))?;
        let mut all = BTreeMap::new();
        for line in text.split('\n') {
            let (digest, name) = entry(line).ok_or_else(|| {
                malformed("a line of its manifest is not a SHA-256 in lower case, two blanks and a name")
            })?;
            if all.insert(name.to_owned(), digest).is_some() {
                return Err(malformed(format!("`{name}` stands in its manifest twice")));
            }
        }
        Ok(Manifest(all))
    }

    /// Checks a part against its line.
    pub(super) fn take(&mut self, name: &str, found: &[u8]) -> Result<(), FormatError> {
        match self.0.remove(name) {
            // A missing line is no empty digest (CVE-2025-67903).
            None => {
                Err(malformed(format!("`{name}` is not in its manifest, so that no signature covers it")))
            }
            Some(said) if said == *found => Ok(()),
            Some(_) => Err(malformed(format!(
                "`{name}` has another SHA-256 in its manifest; it was damaged or altered"
            ))),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), FormatError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(malformed(format!("`{name}`, which its manifest names, is not in it"))),
        }
    }
}

fn entry(line: &str) -> Option<([u8; 32], &str)> {
    let (digits, name) = line.split_once("  ")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    if digits.len() != DIGITS || !plain || !(1..=NAME_MAX).contains(&name.len()) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.as_bytes().as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        *byte = high? << 4 | low?;
    }
    Some((out, name))
}

/// Whether a file by itself is one, or begins so that Mender may read it as
/// one: blanks around lines, and a last line that does not end, are passed
/// over by mender-artifact.
pub(super) fn is_one(source: &dyn Source) -> io::Result<bool> {
    const PIECE: usize = 16 * 1024;
    let len = source.len()?;
    let (mut line, mut has_version, mut has_header) = (Vec::new(), false, false);
    // Most files are none from their first bytes on.
    let (mut at, mut piece) = (0, vec![0; 64]);
    while at < len {
        piece.truncate((len - at).min(PIECE as u64) as usize);
        source.read_at(at, &mut piece)?;
        for byte in &piece {
            if *byte == b'\n' {
                let text = line.trim_ascii();
                has_version |= text.ends_with(b"  version");
                has_header |= text.get(DIGITS..).is_some_and(|name| name.starts_with(b"  header.tar"));
                if has_version && has_header {
                    return Ok(true);
                }
                line.clear();
            } else if line.is_empty() && byte.is_ascii_whitespace() {
                // Blanks before a line, or between two.
            } else if line.len() < DIGITS && !byte.is_ascii_hexdigit() {
                return Ok(false);
            } else if line.len() < DIGITS + 2 * NAME_MAX {
                // Of a longer name the beginning is enough.
                line.push(*byte);
            }
        }
        at += piece.len() as u64;
        piece.resize(PIECE, 0);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        let line = |name: &str| format!("{}  {name}\n", "ab".repeat(32));
        let mut good = Manifest::read((line("version") + &line("data/0000/a")).as_bytes()).unwrap();
        assert!(good.take("version", &[0xab; 32]).is_ok());
        assert!(good.take("version", &[0xab; 32]).is_err(), "twice");
        assert!(good.take("data/0000/b", &[]).is_err(), "not there");
        assert!(good.take("data/0000/a", &[0xac; 32]).is_err(), "another one");
        let left = Manifest::read(line("version").as_bytes()).unwrap();
        assert!(left.end().is_err(), "not in the artifact");
        let refused = [
            String::new(),
            "\n".to_owned(),
            line("version").trim_end().to_owned(),
            line("version") + &line("version"),
            line("version") + "\n",
            line("version").replace("ab", "AB"),
            line("version").replace("ab", "a "),
            line("version").replace("  ", " "),
            line("version").replace('\n', "\r\n"),
            line("ver sion"),
            line(" version"),
            line(""),
            line(&"v".repeat(111)),
            format!(" {}", line("version")),
        ];
        for text in refused {
            assert!(Manifest::read(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    /// Decision 41: a signature over such a file is one in an artifact.
    #[test]
    fn manifests_are_told_from_other_lists() {
        let line = |name: &str| format!("{}  {name}\n", "0a".repeat(32));
        let (version, header) = (line("version"), line("header.tar.gz"));
        let one = [
            version.clone() + &header,
            header.clone() + &line("data/0000/rootfs.img") + &version,
            format!("  {version}\t{header}"),
            version.replace('\n', "\r\n") + &header,
            format!("{version}{header}no end"),
        ];
        for text in one {
            assert!(is_one(&text.as_bytes().to_vec()).unwrap(), "{text}");
            assert!(crate::detect(&text.into_bytes()).is_err());
        }
        let many = line("firmware.bin").repeat(1000);
        assert!(is_one(&(many.clone() + &version + &header).into_bytes()).unwrap());
        for text in [many, version.clone(), header.clone(), format!("text\n{version}{header}"), String::new()]
        {
            assert!(!is_one(&text.into_bytes()).unwrap());
        }
    }
}
