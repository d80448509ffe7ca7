//! Claims: what a verified token says, by name.
//!
//! A name that begins with `/` is a JSON pointer (RFC 6901) and reaches
//! what is nested, as in `/realm_access/roles`.

use serde_json::{Map, Value};

/// Longest claim that is kept on record, in bytes.
const KEPT_MAX: usize = 512;

/// The claims of a token.
pub(crate) struct Claims<'a>(pub(crate) &'a Map<String, Value>);

impl Claims<'_> {
    fn find(&self, name: &str) -> Option<&Value> {
        let Claims(members) = self;
        let (first, rest) = split(name);
        // An address that nobody verified is anybody's to claim (OpenID
        // Connect Core 1.0 §5.7): it counts as not said, however it is asked
        // for.
        if first == "email" && members.get("email_verified") != Some(&Value::Bool(true)) {
            return None;
        }
        let member = members.get(&first)?;
        rest.map_or(Some(member), |rest| member.pointer(rest))
    }

    /// A claim that is one text, number or truth value.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        scalar(self.find(name)?)
    }

    /// What a claim holds: one value, or each of a list.
    pub(crate) fn each(&self, name: &str) -> Vec<String> {
        match self.find(name) {
            Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
            Some(value) => scalar(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A claim as records keep it.
    pub(crate) fn kept(&self, name: &str) -> Option<String> {
        let value = self.one(name)?;
        (value.len() <= KEPT_MAX && !value.chars().any(char::is_control)).then_some(value)
    }
}

/// The claim at the top, and the pointer from there on.
pub(crate) fn split(name: &str) -> (String, Option<&str>) {
    let Some(path) = name.strip_prefix('/') else { return (name.to_owned(), None) };
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    (first.replace("~1", "/").replace("~0", "~"), (!rest.is_empty()).then_some(rest))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        // 1.0 and 1 are one number with two spellings; no provider's ids
        // have fractions.
        Value::Number(number) => Some(number.as_i64()?.to_string()),
        _ => None,
    }
}
