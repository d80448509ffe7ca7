//! in-toto statements, version 1 (in-toto.io/Statement/v1): which file, and
//! what is said of it.

use firmseal_evidence::json;
use firmseal_evidence::statement::{SUBJECTS_MAX, TYPE};
use serde_json::{Map, Value};

use super::bundle::{is_plain, only, text};
use crate::der::Bad;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::parameters::{Parameter, Parameters, bad};

/// The type of what is said where nothing is but that somebody signs: what
/// cosign 3 writes and demands.
pub const SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

pub(crate) const PREDICATE_TYPE: Parameter = Parameter {
    name: "predicate-type",
    about: "what kind of thing is said of the file, as a URI; a plain signature if not given",
};
pub(crate) const PREDICATE: Parameter =
    Parameter { name: "predicate", about: "what is said of the file: a JSON object; with predicate-type" };
pub(crate) const NAME: Parameter =
    Parameter { name: "subject", about: "the file's name in the statement; none if not given" };

/// Where a statement carries what was asked for. Signed, unlike the
/// annotations of manifests.
const VERSION: &str = "firmseal.version";
const EPOCH: &str = "firmseal.epoch";

/// Longest name, kind or version.
const TEXT_MAX: usize = 512;

/// What a statement shall say.
pub(super) struct Wish {
    name: Option<String>,
    predicate_type: String,
    /// As it was handed in: what is signed is no other spelling of it.
    predicate: String,
}

impl Wish {
    pub(super) fn given(parameters: &Parameters) -> Result<Wish, FormatError> {
        let given_type = parameters.get(PREDICATE_TYPE.name);
        let predicate_type = given_type.unwrap_or(SIGNATURE_TYPE);
        if !is_predicate_type(predicate_type) {
            return Err(bad(
                PREDICATE_TYPE.name,
                "use an absolute URI, as https://slsa.dev/provenance/v1".to_owned(),
            ));
        }
        let predicate = match parameters.get(PREDICATE.name) {
            None if given_type.is_some_and(|own| own != SIGNATURE_TYPE) => {
                return Err(bad(
                    PREDICATE.name,
                    "say what the predicate-type is of: predicate=@FILE".to_owned(),
                ));
            }
            None => "{}",
            // Somebody would sign for what they never read.
            Some(_) if predicate_type == SIGNATURE_TYPE => {
                return Err(bad(PREDICATE.name, "name its kind with predicate-type".to_owned()));
            }
            Some(text) => object(text.trim())?,
        };
        let name = parameters.get(NAME.name).map(str::to_owned);
        if name.as_deref().is_some_and(|name| !is_plain(name, TEXT_MAX)) {
            return Err(bad(NAME.name, "use at most 512 bytes of plain text".to_owned()));
        }
        Ok(Wish { name, predicate_type: predicate_type.to_owned(), predicate: predicate.to_owned() })
    }

    /// The first parameter that only statements have.
    pub(super) fn first_given(parameters: &Parameters) -> Option<&'static str> {
        [PREDICATE_TYPE, PREDICATE, NAME]
            .map(|own| own.name)
            .into_iter()
            .find(|name| parameters.get(name).is_some())
    }

    /// The statement. Put together here, for the order of members is a
    /// library's own business, and the same wish has to give the same bytes.
    pub(super) fn write(&self, sha256: &str, version: &semver::Version, epoch: u64) -> String {
        let name = self.name.as_deref().map(|name| format!("\"name\":{},", quoted(name))).unwrap_or_default();
        let annotations =
            format!("{{\"{VERSION}\":{},\"{EPOCH}\":\"{epoch}\"}}", quoted(&version.to_string()));
        format!(
            "{{\"_type\":\"{TYPE}\",\"subject\":[{{{name}\"digest\":{{\"sha256\":\"{sha256}\"}},\"annotations\":\
             {annotations}}}],\"predicateType\":{},\"predicate\":{}}}",
            quoted(&self.predicate_type),
            self.predicate
        )
    }
}

/// Whether a text may be the type of a predicate: an absolute URI, or what
/// stands for one everywhere.
pub fn is_predicate_type(text: &str) -> bool {
    is_plain(text, TEXT_MAX) && text.is_ascii() && !text.contains([' ', '"', '\\']) && text.contains(':')
}

fn object(text: &str) -> Result<&str, FormatError> {
    match json::parse(text.as_bytes()) {
        Ok(Value::Object(_)) => Ok(text),
        Ok(_) => Err(bad(PREDICATE.name, "is no JSON object".to_owned())),
        Err(error) => Err(bad(PREDICATE.name, error.to_string())),
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A statement that was read.
pub(super) struct Statement {
    subjects: Vec<Subject>,
    pub(super) predicate_type: String,
    /// Of its bytes.
    pub(super) sha256: Vec<u8>,
}

struct Subject {
    sha256: Option<String>,
    name: Option<String>,
    version: Option<String>,
    epoch: Option<u64>,
}

/// What a statement says of one file, beside the predicate.
pub(super) struct About {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) epoch: Option<u64>,
    /// How many files it is about.
    pub(super) of: usize,
}

impl Statement {
    /// Reads a statement strictly: what verifiers would read in two ways is
    /// refused, whoever signed it.
    pub(super) fn read(bytes: &[u8]) -> Result<Statement, Bad> {
        let document =
            json::parse(bytes).map_err(|_| "its statement is no JSON, or names something twice")?;
        only(&document, &["_type", "subject", "predicateType", "predicate"])
            .map_err(|_| "its statement has members that no in-toto Statement v1 has")?;
        if text(&document, "_type") != Some(TYPE) {
            return Err("its statement is no in-toto Statement v1");
        }
        let predicate_type = text(&document, "predicateType").filter(|own| is_predicate_type(own));
        let predicate_type =
            predicate_type.ok_or("its statement has no predicateType, or none that is a URI")?;
        if !matches!(document.get("predicate"), None | Some(Value::Object(_))) {
            return Err("the predicate of its statement is no object");
        }
        let subjects = document.get("subject").and_then(Value::as_array);
        let subjects = subjects.filter(|all| (1..=SUBJECTS_MAX).contains(&all.len()));
        let subjects = subjects.ok_or("its statement has no subject, or more than 4096")?;
        Ok(Statement {
            subjects: subjects.iter().map(Subject::read).collect::<Result<_, _>>()?,
            predicate_type: predicate_type.to_owned(),
            sha256: Hash::Sha256.of(bytes),
        })
    }

    /// What it says of the file with this digest, if anything. More than one
    /// subject may mean it; two that say different things of it may not.
    pub(super) fn about(&self, sha256: &str) -> Result<Option<About>, Bad> {
        let mut meant = self.subjects.iter().filter(|own| own.sha256.as_deref() == Some(sha256));
        let Some(first) = meant.next() else { return Ok(None) };
        if meant.any(|other| other.version != first.version || other.epoch != first.epoch) {
            return Err("its statement says two things of the same file");
        }
        Ok(Some(About {
            name: first.name.clone(),
            version: first.version.clone(),
            epoch: first.epoch,
            of: self.subjects.len(),
        }))
    }
}

impl Subject {
    fn read(subject: &Value) -> Result<Subject, Bad> {
        let digests = subject.get("digest").and_then(Value::as_object).filter(|all| !all.is_empty());
        let digests = digests.ok_or("a subject of its statement has no digest")?;
        let sha256 = match digests.get("sha256") {
            None => None,
            Some(Value::String(hex)) if is_hex(hex) => Some(hex.clone()),
            Some(_) => return Err("the sha256 of a subject is not 64 lower-case hexadecimal digits"),
        };
        let name = match subject.get("name") {
            None => None,
            // What is empty is not there, in the mapping of protobuf.
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) if is_plain(name, TEXT_MAX) => Some(name.clone()),
            Some(_) => return Err("the name of a subject is no plain text"),
        };
        let none = Map::new();
        let annotations = match subject.get("annotations") {
            None => &none,
            Some(Value::Object(own)) => own,
            Some(_) => return Err("the annotations of a subject are no object"),
        };
        let version = match annotations.get(VERSION) {
            None => None,
            Some(Value::String(own)) if semver::Version::parse(own).is_ok() => Some(own.clone()),
            Some(_) => return Err("the annotation firmseal.version is no semver version"),
        };
        let epoch = match annotations.get(EPOCH) {
            None => None,
            Some(own) => Some(
                own.as_str().and_then(plain_number).ok_or("the annotation firmseal.epoch is no number")?,
            ),
        };
        Ok(Subject { sha256, name, version, epoch })
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A number as it is written here: in no other way.
fn plain_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}
