//! Parameters: what a format needs to know beyond version, epoch and key.
//!
//! They are text with declared names, so that the command line, a product's
//! configuration and the API carry the parameters of every format, later
//! ones included, and help is printed from the declaration. Each format
//! parses them once into its own type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::FormatError;

/// One declared parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name: lower case with hyphens.
    pub name: &'static str,
    /// What it does, in a line, with its default.
    pub about: &'static str,
}

/// Given parameters, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Sets a parameter; the last one wins.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// What was given for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses names that are not declared: a misspelt bound would
    /// otherwise bound nothing.
    pub fn check(&self, declared: &[Parameter]) -> Result<(), FormatError> {
        match self.0.keys().find(|name| declared.iter().all(|parameter| parameter.name != *name)) {
            None => Ok(()),
            Some(unknown) => {
                let names: Vec<_> = declared.iter().map(|parameter| parameter.name).collect();
                Err(bad(
                    unknown,
                    match names.is_empty() {
                        true => "not known here: this format takes none".to_owned(),
                        false => format!("not known here; use {}", names.join(", ")),
                    },
                ))
            }
        }
    }

    /// A number: decimal, or hexadecimal after `0x`.
    pub fn number(&self, name: &str, max: u64) -> Result<Option<u64>, FormatError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = |text: &str, radix| {
            // `from_str_radix` would also take a sign.
            let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(text, radix).ok()).flatten()
        };
        let value = match text.strip_prefix("0x") {
            Some(hex) => digits(hex, 16),
            None => digits(text, 10),
        };
        match value {
            Some(value) if value <= max => Ok(Some(value)),
            _ => Err(bad(name, format!("use a number up to {max:#x}, decimal or after 0x"))),
        }
    }

    /// `true` or `false`; false if not given.
    pub fn flag(&self, name: &str) -> Result<bool, FormatError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(bad(name, "use true or false".to_owned())),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Parameters {
        Parameters(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

pub(crate) fn bad(name: &str, why: String) -> FormatError {
    FormatError::Parameter { name: name.chars().take(40).collect(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_or_refused() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("0x200", Some(512)),
            ("0xFFFF", Some(0xffff)),
            ("0x10000", None),
            ("+1", None),
            ("-1", None),
            ("0x", None),
            ("0x+1", None),
            ("", None),
            ("1 ", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            let given: Parameters = [("n", text)].into_iter().collect();
            assert_eq!(given.number("n", 0xffff).ok().flatten(), expected, "{text:?}");
        }
    }
}
