//! What a description says, whoever reads it: SWUpdate looks for each setting
//! under the device's board, software set and mode first, and follows links
//! (`ref`) to other places. So every group counts as one that a device takes.

use super::{DESCRIPTION, NAME, SIGNATURE, libconfig};
use crate::der::Bad;
use crate::error::FormatError;
use crate::json;
use crate::tree::{self, Group, Value};

/// Most bytes of what is told: names of groups are told again and again.
const ALL_MAX: usize = 1024 * 1024;
/// Longest value that is told in whole.
const TOLD_MAX: usize = 255;

/// A description.
#[derive(Default)]
pub(super) struct Description {
    /// Of the software, or of that for one board, set or mode.
    pub(super) versions: Vec<String>,
    /// Revisions, with the board where they stand under one.
    pub(super) hardware: Vec<String>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) encrypted: bool,
    /// All of it: where, and what.
    pub(super) settings: Vec<(String, String)>,
    told: usize,
}

/// A file that an entry names.
pub(super) struct Artifact {
    pub(super) filename: String,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Description {
    pub(super) fn read(bytes: &[u8]) -> Result<Description, FormatError> {
        let mut all = parsed(bytes).map_err(malformed)?;
        let software = all.remove("software");
        // A device that was built with another root reads that one.
        let (Some(Value::Group(software)), true) = (software, all.is_empty()) else {
            return Err(malformed("it holds something else than one group, `software`"));
        };
        let mut found = Description::default();
        found.group(&software, &mut Vec::new())?;
        match found.versions.is_empty() {
            true => Err(malformed("it has no version")),
            false => Ok(found),
        }
    }

    /// The version, if all devices read the same.
    pub(super) fn version(&self) -> Option<&str> {
        let first = self.versions.first()?;
        self.versions.iter().all(|own| own == first).then_some(first)
    }

    /// A group that a device may take for its own.
    fn group<'a>(&mut self, group: &'a Group, path: &mut Vec<&'a str>) -> Result<(), FormatError> {
        refer(group)?;
        if let Some(version) = text(group, "version")? {
            self.versions.push(version.to_owned());
        }
        match group.get("hardware-compatibility") {
            None => {}
            Some(Value::List(all)) => {
                for revision in all {
                    let Value::Text(revision) = revision else {
                        return Err(malformed("hardware-compatibility is no list of texts"));
                    };
                    let revision = short(revision)?;
                    let all = match path.is_empty() {
                        true => revision.to_owned(),
                        false => format!("{}:{revision}", path.join(".")),
                    };
                    let all = self.kept(all)?;
                    self.hardware.push(all);
                }
            }
            Some(_) => return Err(malformed("hardware-compatibility is no list of texts")),
        }
        self.artifact(group)?;
        for (name, value) in group {
            path.push(name);
            match value {
                Value::Group(inner) => self.group(inner, path)?,
                Value::List(entries) => self.list(entries, path)?,
                value => self.tell(path.join("."), told(value))?,
            }
            path.pop();
        }
        Ok(())
    }

    /// A list, each of whose groups is an entry, wherever it stands.
    fn list(&mut self, entries: &[Value], path: &[&str]) -> Result<(), FormatError> {
        let mut plain = Vec::new();
        for entry in entries {
            match entry {
                Value::Group(entry) => {
                    let mut line = Vec::new();
                    self.entry(entry, "", &mut line)?;
                    self.tell(path.join("."), line.join(", "))?;
                }
                Value::List(inner) => self.list(inner, path)?,
                value => plain.push(told(value)),
            }
        }
        match plain.is_empty() {
            true => Ok(()),
            false => self.tell(path.join("."), plain.join(", ")),
        }
    }

    fn entry(&mut self, entry: &Group, before: &str, line: &mut Vec<String>) -> Result<(), FormatError> {
        refer(entry)?;
        self.artifact(entry)?;
        for (name, value) in entry {
            let name = self.kept(format!("{before}{name}"))?;
            match value {
                Value::Group(inner) => self.entry(inner, &format!("{name}."), line)?,
                Value::List(inner) => {
                    let mut all = Vec::new();
                    for value in inner {
                        match value {
                            Value::Group(inner) => self.entry(inner, &format!("{name}."), &mut all)?,
                            Value::List(_) => return Err(malformed("a list stands in a list of an entry")),
                            value => all.push(told(value)),
                        }
                    }
                    line.push(format!("{name}=[{}]", all.join(", ")));
                }
                value => line.push(format!("{name}={}", told(value))),
            }
        }
        Ok(())
    }

    /// The file that a group names, if it does.
    fn artifact(&mut self, group: &Group) -> Result<(), FormatError> {
        let Some(filename) = text(group, "filename")? else {
            // Whoever wrote that meant a file.
            return match group.contains_key("sha256") {
                true => Err(malformed("an entry has a sha256 and no filename")),
                false => Ok(()),
            };
        };
        if matches!(filename, DESCRIPTION | SIGNATURE) {
            return Err(malformed("it names itself or its signature as an artifact"));
        }
        let sha256 = match text(group, "sha256")? {
            None => None,
            // SWUpdate takes a text of another length for none.
            Some(digits) => Some(sha256(digits).ok_or_else(|| {
                malformed(format!("the sha256 of `{filename}` is not 64 hexadecimal digits"))
            })?),
        };
        self.encrypted |= !matches!(group.get("encrypted"), None | Some(Value::Bool(false)));
        self.artifacts.push(Artifact { filename: filename.to_owned(), sha256 });
        Ok(())
    }

    fn tell(&mut self, place: String, what: String) -> Result<(), FormatError> {
        let place = self.kept(place)?;
        self.settings.push((place, what));
        Ok(())
    }

    /// A text with the names of groups in it, of which there is a bound.
    fn kept(&mut self, text: String) -> Result<String, FormatError> {
        self.told += text.len();
        match self.told <= ALL_MAX {
            true => Ok(text),
            false => Err(malformed("its groups are nested too deep for their long names")),
        }
    }
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, format!("{DESCRIPTION}: {}", what.into()))
}

/// A setting that has to be a text, if it is there: SWUpdate passes over one
/// that is something else.
fn text<'a>(group: &'a Group, name: &str) -> Result<Option<&'a str>, FormatError> {
    match group.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) => short(text).map(Some),
        Some(_) => Err(malformed(format!("{name} is no text"))),
    }
}

/// SWUpdate cuts off what is longer.
fn short(text: &str) -> Result<&str, FormatError> {
    match !text.is_empty() && text.len() <= TOLD_MAX && !text.contains(char::is_control) {
        true => Ok(text),
        false => Err(malformed("a name, version or revision is empty, longer than 255 bytes, or no text")),
    }
}

/// Links lead to other settings of it, by name: one by number could make a
/// device take an entry for its software, and the entry's version for that.
fn refer(group: &Group) -> Result<(), FormatError> {
    let Some(link) = text(group, "ref")? else { return Ok(()) };
    let plain = |own: char| own.is_ascii_alphanumeric() || matches!(own, '-' | '_' | '*' | '.' | '/');
    match link.strip_prefix('#').is_some_and(|path| path.chars().all(plain)) {
        true => Ok(()),
        false => Err(malformed("a ref does not lead to a setting by name, as `#./name` does")),
    }
}

fn sha256(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4 | nibble(*low)?) as u8;
    }
    Some(out)
}

/// A value for people. The whole description is signed; its SHA-256 is told
/// beside what is cut off here.
fn told(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => text,
        Value::Number(text) => text,
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::List(_) | Value::Group(_) => "...",
    };
    let plain = |own: char| match own.is_control() {
        true => own.escape_default().to_string(),
        false => own.to_string(),
    };
    let mut out: String = text.chars().take(TOLD_MAX).map(plain).collect();
    if text.chars().nth(TOLD_MAX).is_some() {
        out.push_str(&format!("... ({} bytes)", text.len()));
    }
    out
}

/// The settings, in the one of both languages that they are in.
fn parsed(bytes: &[u8]) -> Result<Group, Bad> {
    let text = tree::text(bytes)?;
    // No libconfig begins so, and SWUpdate reads as JSON what is no libconfig.
    match text.trim_ascii_start().starts_with('{') {
        true => json::read(text),
        false => libconfig::read(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIGITS: &str = "00112233445566778899aAbBcCdDeEfF00112233445566778899aAbBcCdDeEfF";

    fn read(text: &str) -> Result<Description, FormatError> {
        Description::read(text.replace("DIGITS", DIGITS).as_bytes())
    }

    #[test]
    fn every_place_where_a_device_may_look_is_read() {
        let text = "software = { version = \"1.0.0\"; hardware-compatibility: [ \"1.0\" ];
            gateway: { version = \"1.0.0\"; hardware-compatibility: [ \"2.0\", \"2.1\" ]; stable: { main: {
                images: ( { filename = \"a\"; sha256 = \"DIGITS\"; encrypted = true; properties: { x = ( \"y\" ); }; } ); }; };
                copy: { ref = \"#./stable\"; }; };
            bootenv: ( { name = \"n\"; value = \"v\"; }, { filename = \"b\"; } ); };\n";
        let found = read(text).unwrap();
        assert_eq!(found.version(), Some("1.0.0"));
        assert_eq!(found.hardware, ["1.0", "gateway:2.0", "gateway:2.1"]);
        assert!(found.encrypted);
        let mut files: Vec<_> =
            found.artifacts.iter().map(|own| (own.filename.as_str(), own.sha256.is_some())).collect();
        files.sort_unstable();
        assert_eq!(files, [("a", true), ("b", false)]);
        assert!(found.settings.contains(&("bootenv".to_owned(), "name=n, value=v".to_owned())));
        let two = read(&text.replacen("version = \"1.0.0\"", "version = \"1.0.1\"", 1)).unwrap();
        assert_eq!((two.version(), two.versions.len()), (None, 2));
    }

    #[test]
    fn what_devices_could_take_otherwise_is_refused() {
        assert!(read("software = { version = \"1\"; };").is_ok());
        for text in [
            "",
            "software = { };",
            "software = 1;",
            "other = { };",
            "software = { VERSION }; other = { };",
            "software = { version = 1; };",
            "software = { version = \"\"; };",
            "software = { VERSION hardware-compatibility = \"1.0\"; };",
            "software = { VERSION hardware-compatibility = [ 1 ]; };",
            "software = { VERSION images: ( { filename = 1; } ); };",
            "software = { VERSION images: ( { filename = \"a\"; sha256 = \"00\"; } ); };",
            "software = { VERSION images: ( { filename = \"a\"; sha256 = \"DIGITS0\"; } ); };",
            "software = { VERSION images: ( { filename = \"sw-description\"; } ); };",
            "software = { VERSION images: ( { filenama = \"a\"; sha256 = \"DIGITS\"; } ); };",
            "software = { VERSION images: ( { ref = \"#./images/[0]\"; } ); };",
            "software = { VERSION a = { ref = \"./b\"; }; };",
        ] {
            assert!(read(&text.replace("VERSION", "version = \"1\";")).is_err(), "{text}");
        }
    }
}
