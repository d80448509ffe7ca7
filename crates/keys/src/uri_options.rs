//! Options of key URIs other than PKCS#11's: `name=value` after the `?`.
//!
//! One spelling, nothing escaped: what would need escaping is refused, and
//! so is an option that nobody knows, because ignoring it would reach
//! another key, or the same one in another way, than its author meant.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::KeysError;
use crate::secret::SecretSource;

/// Longest URI that is read, in bytes.
pub const URI_MAX: usize = 4096;

/// Options as they stand in a URI of one kind, taken out by name.
pub struct Options<'a> {
    /// What kind of URI it is, for errors.
    kind: &'static str,
    left: Vec<(&'a str, &'a str)>,
}

/// An error about a URI of this kind. It repeats no value.
pub fn fail<T>(kind: &'static str, why: impl std::fmt::Display) -> Result<T, KeysError> {
    Err(KeysError::NotAKeyUri(format!("{kind} URI: {why}")))
}

impl<'a> Options<'a> {
    /// Splits what follows a scheme into what names the key and its options.
    ///
    /// No error repeats a value: a token may stand where it does not belong.
    pub fn split(kind: &'static str, text: &'a str) -> Result<(&'a str, Options<'a>), KeysError> {
        if text.len() > URI_MAX {
            return fail(kind, format_args!("longer than {URI_MAX} bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'#' | b'"' | b'\\')) {
            return fail(kind, "it has no blanks, no escapes and nothing beyond ASCII");
        }
        let (name, query) = match text.split_once('?') {
            Some((name, query)) => (name, Some(query)),
            None => (text, None),
        };
        let mut left: Vec<(&str, &str)> = Vec::new();
        for option in query.into_iter().flat_map(|query| query.split('&')) {
            match option.split_once('=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    if left.iter().any(|(known, _)| *known == name) {
                        return fail(kind, format_args!("`{}` stands twice", shown(name)));
                    }
                    left.push((name, value));
                }
                _ => return fail(kind, "after the `?` stand options as `name=value`, joined by `&`"),
            }
        }
        Ok((name, Options { kind, left }))
    }

    /// Takes an option out.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        let at = self.left.iter().position(|(known, _)| *known == name)?;
        Some(self.left.swap_remove(at).1)
    }

    /// Takes out an option that is a source of a secret.
    pub fn source(&mut self, name: &str) -> Result<Option<SecretSource>, KeysError> {
        self.text(name).map(SecretSource::from_str).transpose()
    }

    /// Takes out an option that is an absolute path: a service does not
    /// depend on where it was started.
    pub fn path(&mut self, name: &str) -> Result<Option<PathBuf>, KeysError> {
        match self.text(name).map(PathBuf::from) {
            Some(path) if !path.is_absolute() => {
                fail(self.kind, format_args!("`{name}` is an absolute path"))
            }
            path => Ok(path),
        }
    }

    /// Ends the reading: what is left is known to nobody.
    pub fn end(self, known: &str) -> Result<(), KeysError> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => {
                fail(self.kind, format_args!("no option `{}`; there are {known}", shown(name)))
            }
        }
    }
}

/// A name that goes into an error: short, or it is none.
fn shown(name: &str) -> &str {
    let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if is_name { name } else { "…" }
}

/// Writes options in the order given, those that are there.
pub fn write(f: &mut std::fmt::Formatter<'_>, options: &[(&str, Option<String>)]) -> std::fmt::Result {
    let mut separator = '?';
    for (name, value) in options {
        if let Some(value) = value {
            write!(f, "{separator}{name}={value}")?;
            separator = '&';
        }
    }
    Ok(())
}
