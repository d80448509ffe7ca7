//! Patterns: what a claim has to be.
//!
//! `*` stands for any characters but `/`, `**` for any at all. A branch
//! pattern `refs/tags/v*` therefore does not take `refs/tags/v1/anything`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern and longest value that is compared, in bytes.
const TEXT_MAX: usize = 512;

/// One pattern.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// One pattern, or several of which each will do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Patterns {
    /// One.
    One(Pattern),
    /// Several.
    Several(Vec<Pattern>),
}

impl Patterns {
    /// All of them.
    pub fn as_slice(&self) -> &[Pattern] {
        match self {
            Patterns::One(one) => std::slice::from_ref(one),
            Patterns::Several(several) => several,
        }
    }
}

impl Pattern {
    /// Whether it says nothing about how a value begins.
    pub(crate) fn is_open(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether a value is as it says. In time proportional to both lengths,
    /// whatever they hold.
    pub fn takes(&self, value: &str) -> bool {
        if value.len() > TEXT_MAX {
            return false;
        }
        let value: Vec<char> = value.chars().collect();
        // Which prefixes of the value the pattern so far takes.
        let mut taken = vec![false; value.len() + 1];
        taken[0] = true;
        let mut rest = self.0.chars().peekable();
        while let Some(sign) = rest.next() {
            let mut next = vec![false; value.len() + 1];
            if sign == '*' {
                let any = rest.next_if_eq(&'*').is_some();
                for at in 0..=value.len() {
                    let longer = at > 0 && next[at - 1] && (any || value[at - 1] != '/');
                    next[at] = taken[at] || longer;
                }
            } else {
                for at in 0..value.len() {
                    next[at + 1] = taken[at] && value[at] == sign;
                }
            }
            taken = next;
        }
        taken[value.len()]
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
            return Err(format!("a pattern has 1 to {TEXT_MAX} bytes without control characters"));
        }
        if text.contains("***") {
            return Err("a pattern has at most two `*` together".to_owned());
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes_unless_there_are_two() {
        for (pattern, value, taken) in [
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/main2", false),
            ("refs/heads/main", "Refs/heads/main", false),
            ("refs/tags/v*", "refs/tags/v1.2.3", true),
            ("refs/tags/v*", "refs/tags/v", true),
            ("refs/tags/v*", "refs/tags/v1/../../heads/main", false),
            ("refs/tags/v*", "xrefs/tags/v1", false),
            ("acme/*", "acme/gateway", true),
            ("acme/*", "acme-evil/gateway", false),
            ("acme/*", "acme/a/b", false),
            ("acme/**", "acme/a/b", true),
            ("*/gateway", "evil/gateway", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**", "", true),
            ("repo:acme/gw:ref:*", "repo:acme/gw:ref:main", true),
            ("café*", "café-1", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().takes(value), taken, "{pattern} {value}");
        }
        for bad in ["", "a***", "a\nb", &"x".repeat(513)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        // Ends at once where a careless matcher would not.
        let slow: Pattern = "*a".repeat(200).parse().unwrap();
        assert!(!slow.takes(&"a".repeat(400).replace("aa", "ab")) || slow.takes("a"));
        assert!(!Pattern("**".into()).takes(&"x".repeat(513)));
    }
}
