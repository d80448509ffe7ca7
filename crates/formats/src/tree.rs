//! What JSON and libconfig both say: groups of settings, lists, and values.

use std::collections::BTreeMap;

use crate::der::Bad;

/// Deepest nesting. SWUpdate follows twenty names.
pub(crate) const DEPTH_MAX: usize = 20;
/// Longest name of a setting.
const NAME_MAX: usize = 64;

/// Settings by name.
pub(crate) type Group = BTreeMap<String, Value>;

/// A setting's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Text(String),
    /// As it is written.
    Number(String),
    Bool(bool),
    List(Vec<Value>),
    Group(Group),
}

/// The text that bytes are, if all readers see the same.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Bad> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8; it may be encrypted")?;
    // A NUL ends it for who reads JSON, and not for who reads libconfig.
    match text.contains(|own: char| own.is_control() && !matches!(own, '\t' | '\n' | '\r')) {
        true => Err("it has a control character"),
        false => Ok(text),
    }
}

/// Adds a setting.
pub(crate) fn insert(group: &mut Group, name: String, value: Value) -> Result<(), Bad> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        return Err("the name of a setting is empty, longer than 64 bytes, or no text");
    }
    // JSON's last one would win, libconfig refuses.
    match group.insert(name, value) {
        None => Ok(()),
        Some(_) => Err("a setting stands in it twice"),
    }
}

/// What is left of a text.
pub(crate) struct Cursor<'a>(pub(crate) &'a str);

impl<'a> Cursor<'a> {
    pub(crate) fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.0 = &self.0[found.len_utf8()..];
        Some(found)
    }

    /// Steps over a word, if it is there.
    pub(crate) fn eat(&mut self, word: &str) -> bool {
        match self.0.strip_prefix(word) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// As much as there is of characters of a kind.
    pub(crate) fn span(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|own| !of(own)).unwrap_or(self.0.len());
        let (found, rest) = self.0.split_at(end);
        self.0 = rest;
        found
    }

    /// A number of some hexadecimal digits.
    pub(crate) fn hex(&mut self, digits: usize) -> Option<u32> {
        let (found, rest) = self.0.split_at_checked(digits)?;
        if !found.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.0 = rest;
        u32::from_str_radix(found, 16).ok()
    }
}

/// Whether a text is digits, and at least one.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
