//! Manifests: key files (GLib, *Key-value file parser*), in the one way to
//! write them that leaves nothing to a reader. GLib joins groups of one name,
//! takes the last of two values and cuts blanks off; here all of that is
//! refused, and RAUC itself writes none of it.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::NAME;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::verity::BLOCK;

/// What a manifest says of the tree over the payload.
pub(super) struct Terms {
    pub(super) root: [u8; 32],
    pub(super) salt: [u8; 32],
    /// Length of the tree.
    pub(super) size: u64,
    /// The payload's key, if that is encrypted.
    pub(super) crypt_key: Option<Zeroizing<[u8; 32]>>,
}

/// A manifest's values, in order.
pub(super) struct Manifest<'a> {
    text: &'a str,
    groups: Vec<&'a str>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    group: &'a str,
    key: &'a str,
    value: &'a str,
    /// Where its line ends, without the line's end.
    end: usize,
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, format!("its manifest: {}", what.into()))
}

impl<'a> Manifest<'a> {
    /// Reads a manifest, and checks what every bundle's has to hold.
    pub(super) fn read(content: &'a [u8]) -> Result<Manifest<'a>, FormatError> {
        let text = std::str::from_utf8(content).map_err(|_| malformed("it is no UTF-8"))?;
        let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
        let (mut groups, mut start) = (Vec::new(), 0);
        for (number, line) in text.split('\n').enumerate() {
            let wrong = |why: &str| malformed(format!("line {}: {why}", number + 1));
            if line.chars().any(char::is_control) {
                return Err(wrong("it has a control character, such as a tab or a carriage return"));
            }
            let end = start + line.len();
            start = end + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.strip_suffix(']').filter(|name| is_name(name, "-_./"));
                let name = name.ok_or_else(|| wrong("it is no group"))?;
                if !seen.insert((name, "")) {
                    return Err(wrong("its group stands twice"));
                }
                groups.push(name);
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("it is neither group nor value"))?;
            let Some(group) = groups.last().copied() else {
                return Err(wrong("it stands before the first group"));
            };
            if !is_name(key, "-_") || value != value.trim() {
                return Err(wrong("write it as key=value, with no blanks around either"));
            }
            if !seen.insert((group, key)) {
                return Err(wrong("its key stands twice"));
            }
            entries.push(Entry { group, key, value, end });
        }
        let manifest = Manifest { text, groups, entries };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), FormatError> {
        for (key, needed) in [("compatible", true), ("version", false)] {
            match self.get("update", key) {
                None if needed => return Err(malformed("[update] says nothing in `compatible`")),
                None => {}
                // GLib's escapes would be a second way to write the same.
                Some(value) if value.is_empty() || value.contains('\\') => {
                    return Err(malformed(format!("[update] {key} is empty, or has a backslash")));
                }
                Some(_) => {}
            }
        }
        for entry in &self.entries {
            let about = |why: &str| malformed(format!("[{}] {}: {why}", entry.group, entry.key));
            let is_image = entry.group.starts_with("image.");
            match entry.key {
                // Joined to a directory, by whoever runs as root.
                "filename" if matches!(entry.value, "" | "." | "..") || entry.value.contains(['/', '\\']) => {
                    return Err(about("it is no name of a file in the bundle"));
                }
                "sha256" if is_image && unhex(entry.value).is_none() => {
                    return Err(about("it is no SHA-256 in lower-case hexadecimal"));
                }
                "size" if is_image && decimal(entry.value).is_none() => {
                    return Err(about("it is no decimal number"));
                }
                _ => {}
            }
        }
        self.groups
            .iter()
            .filter(|group| group.starts_with("image."))
            .try_for_each(|group| self.check_image(group))
    }

    /// What RAUC refuses to install an image without.
    fn check_image(&self, group: &str) -> Result<(), FormatError> {
        let hooks = self.get(group, "hooks").unwrap_or_default();
        // A hook that installs may do without file and size.
        let installs = hooks.split(';').any(|hook| hook == "install");
        let why = if self.get(group, "filename").is_none() {
            let free = installs || self.get(group, "type") == Some("emptyfs");
            (!free).then_some("it names no file")
        } else if self.get(group, "sha256").is_none() {
            Some("its sha256 has to stand beside its filename")
        } else {
            (self.get(group, "size").is_none() && !installs)
                .then_some("its size has to stand beside its filename")
        };
        let why = match why {
            None if !hooks.is_empty() && self.get("hooks", "filename").is_none() => {
                Some("no file has its hooks")
            }
            why => why,
        };
        why.map_or(Ok(()), |why| Err(malformed(format!("[{group}] {why}"))))
    }

    fn get(&self, group: &str, key: &str) -> Option<&'a str> {
        self.entries.iter().find(|own| own.group == group && own.key == key).map(|own| own.value)
    }

    /// What it says of the tree: as it stands in a bundle.
    pub(super) fn terms(&self) -> Result<Terms, FormatError> {
        let about = |key: &str, why: &str| malformed(format!("[bundle] {key}: {why}"));
        let digest = |key: &str| {
            let value = self.get("bundle", key).and_then(unhex);
            value.ok_or_else(|| about(key, "it is missing, or not 32 bytes in lower-case hexadecimal"))
        };
        let crypt_key = match self.get("bundle", "format") {
            // Verified, it would still be read as what it is not.
            Some("verity") if self.get("bundle", "crypt-key").is_some() => {
                return Err(about("crypt-key", "a bundle that is not encrypted has none"));
            }
            Some("verity") => None,
            Some("crypt") => Some(Zeroizing::new(digest("crypt-key")?)),
            _ => return Err(about("format", "a manifest in CMS is that of a verity or a crypt bundle")),
        };
        let size = self.get("bundle", "verity-size").and_then(decimal);
        let size = size.filter(|size| *size > 0 && size.is_multiple_of(BLOCK));
        let size = size.ok_or_else(|| about("verity-size", "it is missing, or no multiple of 4096"))?;
        Ok(Terms { root: digest("verity-hash")?, salt: digest("verity-salt")?, size, crypt_key })
    }

    /// The same manifest with a tree, which it must not have yet.
    pub(super) fn with_tree(&self, root: &[u8], salt: &[u8], size: u64) -> Result<String, FormatError> {
        let own = ["verity-hash", "verity-salt", "verity-size", "crypt-key"];
        if let Some(key) = own.into_iter().find(|key| self.get("bundle", key).is_some()) {
            return Err(malformed(format!("[bundle] {key} is computed here: leave it out")));
        }
        let format = self.entries.iter().find(|own| own.group == "bundle" && own.key == "format");
        let Some(format) = format.filter(|own| own.value == "verity") else {
            return Err(malformed("[bundle] format=verity is what is made of a squashfs here: say so"));
        };
        let (before, after) = self.text.split_at(format.end);
        let (root, salt) = (hex(root), hex(salt));
        let tree = format!("\nverity-hash={root}\nverity-salt={salt}\nverity-size={size}");
        Ok([before, &tree, after].concat())
    }

    /// Tells what it says.
    pub(super) fn describe(&self, inspection: &mut Inspection) {
        inspection.target = self.get("update", "compatible").map(str::to_owned);
        inspection.version = self.get("update", "version").map(str::to_owned);
        inspection.encrypted = self.get("bundle", "format") == Some("crypt");
        if inspection.encrypted {
            // "Refusing to install unencrypted crypt bundles".
            inspection.note("recipients", "none: RAUC installs it once its CMS is encrypted for its devices");
        }
        for entry in &self.entries {
            match (entry.group, entry.key) {
                ("update", "compatible" | "version") => {}
                ("update", key) => inspection.field(key, entry.value),
                // Whoever has the key reads the payload; its digest says which
                // key it is, and nothing more.
                ("bundle", "crypt-key") => {
                    let digest = hex(&Hash::Sha256.of(entry.value.as_bytes()));
                    inspection.field("bundle crypt-key", format!("not shown; sha256 {digest}"));
                }
                (group, key) => inspection.field(format!("{group} {key}"), entry.value),
            }
        }
        inspection.field("manifest sha256", hex(&Hash::Sha256.of(self.text.as_bytes())));
    }
}

fn is_name(name: &str, besides: &str) -> bool {
    !name.is_empty() && name.chars().all(|own| own.is_ascii_alphanumeric() || besides.contains(own))
}

/// 32 bytes in lower-case hexadecimal, as RAUC writes them.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|own| matches!(own, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// A number without sign and leading zeros, up to what GLib takes.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|own| own.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHORT: &str = "[update]\ncompatible=a board\nversion=1.2.3\n\n[bundle]\nformat=verity\n";

    #[test]
    fn a_tree_goes_into_the_bundles_group_and_nowhere_else() {
        let more =
            format!("{SHORT}\n# a note\n[image.rootfs]\nfilename=a.img\nsha256={}\nsize=7", "0a".repeat(32));
        let made = Manifest::read(more.as_bytes()).unwrap().with_tree(&[1; 32], &[2; 32], 4096).unwrap();
        let tree =
            format!("verity-hash={}\nverity-salt={}\nverity-size=4096\n", "01".repeat(32), "02".repeat(32));
        assert_eq!(made, more.replace("format=verity\n", &format!("format=verity\n{tree}")));
        let read = Manifest::read(made.as_bytes()).unwrap();
        let terms = read.terms().unwrap();
        assert_eq!((terms.root, terms.salt, terms.size), ([1; 32], [2; 32], 4096));
        assert!(read.with_tree(&[1; 32], &[2; 32], 4096).is_err(), "twice");
        let mut inspection = Inspection::new(NAME, 0);
        read.describe(&mut inspection);
        assert_eq!(
            (inspection.target.as_deref(), inspection.version.as_deref()),
            (Some("a board"), Some("1.2.3"))
        );
    }

    #[test]
    fn what_two_readers_read_in_two_ways_is_refused() {
        let image = format!("[image.a]\nsha256={}\nsize=1\n", "00".repeat(32));
        let bad = [
            ("before the first group", format!("a=b\n{SHORT}")),
            ("a byte order mark", format!("\u{feff}{SHORT}")),
            ("a group twice", format!("{SHORT}[update]\nbuild=1\n")),
            ("a key twice", format!("{SHORT}format=crypt\n")),
            ("blanks around the equals sign", SHORT.replace("version=", "version =")),
            ("a blank before the value", SHORT.replace("version=", "version= ")),
            ("a blank behind the value", SHORT.replace("1.2.3", "1.2.3 ")),
            ("a blank before the line", SHORT.replace("version", " version")),
            ("a carriage return", SHORT.replace('\n', "\r\n")),
            ("a tab", SHORT.replace("a board", "a\tboard")),
            ("a NUL", SHORT.replace("a board", "a\0board")),
            ("an escape", SHORT.replace("a board", "a\\sboard")),
            ("a translation", format!("{SHORT}format[de]=verity\n")),
            ("a group with a blank behind it", SHORT.replace("[bundle]", "[bundle] ")),
            ("a line that is nothing", format!("{SHORT}nothing\n")),
            ("nothing compatible", SHORT.replace("compatible", "description")),
            ("empty", String::new()),
            ("a path", format!("{SHORT}{image}filename=../../etc/passwd\n")),
            ("a directory", format!("{SHORT}{image}filename=..\n")),
            ("an image without its digest", format!("{SHORT}[image.a]\nfilename=a\nsize=1\n")),
            ("an image without its size", format!("{SHORT}{}filename=a\n", image.replace("size=1\n", ""))),
            ("an image without a file", format!("{SHORT}{image}")),
            ("an image with a hook of no file", format!("{SHORT}{image}filename=a\nhooks=install\n")),
            ("a signed size", format!("{SHORT}{}filename=a\n", image.replace("size=1", "size=+1"))),
            ("a path as hook", format!("{SHORT}[hooks]\nfilename=/bin/sh\n")),
        ];
        for (name, text) in bad {
            assert!(Manifest::read(text.as_bytes()).is_err(), "{name}");
        }
        assert!(Manifest::read(b"[update]\ncompatible=\xff\n").is_err(), "no UTF-8");
        assert!(Manifest::read(format!("{SHORT}{image}filename=a\n").as_bytes()).is_ok());
    }

    #[test]
    fn terms_are_complete_or_refused() {
        let tree = format!("verity-hash={0}\nverity-salt={0}\nverity-size=4096\n", "01".repeat(32));
        let good = format!("{SHORT}{tree}");
        assert!(Manifest::read(good.as_bytes()).unwrap().terms().is_ok());
        for (name, text) in [
            ("none", SHORT.to_owned()),
            ("plain", good.replace("=verity", "=plain")),
            ("crypt without key", good.replace("=verity", "=crypt")),
            ("verity with key", format!("{good}crypt-key={}\n", "02".repeat(32))),
            ("odd size", good.replace("4096", "4097")),
            ("no size", good.replace("4096", "0")),
            ("large size", good.replace("4096", "18446744073709551616")),
            ("size in octal", good.replace("4096", "04096")),
            ("short hash", good.replacen("01", "", 1)),
            ("upper case", good.replacen("01", "0A", 1)),
        ] {
            assert!(Manifest::read(text.as_bytes()).unwrap().terms().is_err(), "{name}");
        }
    }
}
