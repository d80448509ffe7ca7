//! The header: what an artifact is called, for which devices it is, and what
//! runs on them.

use super::archive::Member;
use super::malformed;
use super::unpacked::Unpacked;
use crate::error::FormatError;
use crate::hash::hex;
use crate::json;
use crate::source::Source;
use crate::tree::{self, Group, Value};
use sha2::{Digest, Sha256};

/// Longest text in it.
const TEXT_MAX: u64 = 64 * 1024;
/// Longest script, and longest data of the payload's own.
const SCRIPT_MAX: u64 = 16 * 1024 * 1024;
/// Most scripts.
const SCRIPTS_MAX: usize = 256;

/// What it says.
pub(super) struct Header {
    /// For which devices.
    pub(super) devices: Vec<String>,
    /// Versions of software that the payloads provide.
    pub(super) versions: Vec<String>,
    /// All of it, in order.
    pub(super) told: Vec<(String, String)>,
    /// The payloads' types.
    pub(super) types: Vec<String>,
}

impl Header {
    /// Reads the member that holds it.
    pub(super) fn read(source: &dyn Source, member: &Member) -> Result<Header, FormatError> {
        let mut inside = Unpacked::open(source, member.data.clone(), &member.name)?;
        let mut next = inside.next()?;
        let Some(first) = next.take_if(|own| own.name == "header-info") else {
            return Err(malformed("its header does not begin with `header-info`"));
        };
        let mut found = Header::info(&parsed(&first.name, &inside.short(&first, TEXT_MAX)?)?)?;
        let mut scripts = 0;
        next = inside.next()?;
        while let Some(script) = next.take_if(|own| own.name.starts_with("scripts/")) {
            scripts += 1;
            if scripts > SCRIPTS_MAX || script.size > SCRIPT_MAX {
                return Err(malformed("it has more than 256 scripts, or one longer than 16 MiB"));
            }
            let mut hasher = Sha256::new();
            inside.content(&script, |piece| hasher.update(piece))?;
            found
                .tell("script", format!("{} sha256:{}", script_name(&script.name)?, hex(&hasher.finalize())));
            next = inside.next()?;
        }
        for index in 0..found.types.len() {
            let name = format!("headers/{index:04}/type-info");
            let Some(info) = next.take_if(|own| own.name == name) else {
                return Err(malformed(format!("its header lacks `{name}`, or has something else there")));
            };
            let text = parsed(&name, &inside.short(&info, TEXT_MAX)?)?;
            found.type_info(index, &text)?;
            next = inside.next()?;
            let name = format!("headers/{index:04}/meta-data");
            if let Some(data) = next.take_if(|own| own.name == name) {
                if data.size > SCRIPT_MAX {
                    return Err(malformed(format!("`{name}` is longer than 16 MiB")));
                }
                let mut hasher = Sha256::new();
                inside.content(&data, |piece| hasher.update(piece))?;
                if data.size > 0 {
                    found.tell(
                        format!("payload {index} meta-data"),
                        format!("sha256:{}", hex(&hasher.finalize())),
                    );
                }
                next = inside.next()?;
            }
        }
        match next {
            None => Ok(found),
            Some(other) => Err(malformed(format!("its header has `{}` where it should end", other.name))),
        }
    }

    fn info(info: &Group) -> Result<Header, FormatError> {
        only(info, &["payloads", "artifact_provides", "artifact_depends"])?;
        let mut found = Header { devices: vec![], versions: vec![], told: vec![], types: vec![] };
        let provides = group(info, "artifact_provides")?;
        only(provides, &["artifact_name", "artifact_group"])?;
        let depends = group(info, "artifact_depends")?;
        only(depends, &["artifact_name", "device_type", "artifact_group"])?;
        let name = texts(provides, "artifact_name")?;
        if name.iter().all(String::is_empty) {
            return Err(malformed("it has no name"));
        }
        found.told("name", name);
        found.told("group", texts(provides, "artifact_group")?);
        found.told("depends on name", texts(depends, "artifact_name")?);
        found.told("depends on group", texts(depends, "artifact_group")?);
        found.devices = texts(depends, "device_type")?;
        let Some(Value::List(payloads)) = info.get("payloads") else {
            return Err(malformed("it has no list of payloads"));
        };
        for payload in payloads {
            let Value::Group(payload) = payload else { return Err(malformed("a payload of it is no group")) };
            only(payload, &["type"])?;
            let [kind] = <[String; 1]>::try_from(texts(payload, "type")?)
                .map_err(|_| malformed("a payload of it has no type"))?;
            // Update modules are programs of this name.
            if !is_plain(&kind) {
                return Err(malformed("the type of a payload is no plain name"));
            }
            found.types.push(kind);
        }
        match found.types.is_empty() {
            true => Err(malformed("it has no payload")),
            false => Ok(found),
        }
    }

    fn type_info(&mut self, index: usize, info: &Group) -> Result<(), FormatError> {
        only(info, &["type", "artifact_provides", "artifact_depends", "clears_artifact_provides"])?;
        let kind = &self.types[index];
        // mender-artifact leaves it empty at times.
        if texts(info, "type")?.iter().any(|own| own != kind && !own.is_empty()) {
            return Err(malformed(format!("payload {index} has two types")));
        }
        for key in group(info, "artifact_provides")?.keys() {
            let values = texts(group(info, "artifact_provides")?, key)?;
            if key.ends_with(".version") {
                self.versions.extend(values.clone());
            }
            self.told(format!("payload {index} provides {key}"), values);
        }
        for key in group(info, "artifact_depends")?.keys() {
            let values = texts(group(info, "artifact_depends")?, key)?;
            self.told(format!("payload {index} depends on {key}"), values);
        }
        self.told(format!("payload {index} clears"), texts(info, "clears_artifact_provides")?);
        Ok(())
    }

    fn tell(&mut self, name: impl Into<String>, value: String) {
        self.told.push((name.into(), value));
    }

    fn told(&mut self, name: impl Into<String>, values: Vec<String>) {
        if !values.is_empty() {
            self.tell(name, values.join(", "));
        }
    }
}

/// One text in JSON.
pub(super) fn parsed(name: &str, bytes: &[u8]) -> Result<Group, FormatError> {
    tree::text(bytes).and_then(json::read).map_err(|why| malformed(format!("`{name}`: {why}")))
}

/// Refuses settings that are not known: another version of Mender might know
/// them, and Go's JSON takes names in either case.
pub(super) fn only(group: &Group, known: &[&str]) -> Result<(), FormatError> {
    match group.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(other) => Err(malformed(format!("a setting `{other}` is not known where it stands"))),
    }
}

/// A group of settings, empty where there is none.
fn group<'a>(settings: &'a Group, name: &str) -> Result<&'a Group, FormatError> {
    static NONE: Group = Group::new();
    match settings.get(name) {
        None => Ok(&NONE),
        Some(Value::Group(group)) => Ok(group),
        Some(_) => Err(malformed(format!("`{name}` is no group of settings"))),
    }
}

/// A text, or a list of them.
fn texts(settings: &Group, name: &str) -> Result<Vec<String>, FormatError> {
    let text = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(malformed(format!("`{name}` is something else than a text, or some of them"))),
    };
    match settings.get(name) {
        None => Ok(Vec::new()),
        Some(Value::List(values)) => values.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}

/// What devices store a script as, and run.
fn script_name(path: &str) -> Result<&str, FormatError> {
    let name = path.strip_prefix("scripts/").filter(|name| is_plain(name));
    name.ok_or_else(|| malformed(format!("`{path}` is no plain name of a script")))
}

/// Letters, digits and `.,_-`, as Mender wants them of files.
pub(super) fn is_plain(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,".contains(&byte);
    name.bytes().all(known) && !matches!(name, "" | "." | "..")
}
