//! Names: what records call a caller, made from its claims.
//!
//! One caller, one name. A template such as `github:{repository}:{ref}` gives
//! different claims different names: what separates them in the template is
//! escaped in the values (`%3A` for `:`), so that no branch can be named to
//! look like another repository's.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes.
const NAME_MAX: usize = 256;

/// How a name is made: text, with claims in braces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Claim(String),
}

impl Template {
    /// The claims that it is made from.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Claim(claim) => Some(claim.as_str()),
        })
    }

    /// The name for these claims. `None` if one is absent or has characters
    /// that a name cannot.
    pub fn fill(&self, claim: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Claim(wanted) => {
                    let value = claim(wanted)?;
                    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                        return None;
                    }
                    for sign in value.chars() {
                        if sign == '%' || self.separates(sign) {
                            write!(name, "%{:02X}", u32::from(sign)).ok()?;
                        } else {
                            name.push(sign);
                        }
                    }
                }
            }
        }
        (name.len() <= NAME_MAX).then_some(name)
    }

    /// Whether a character is punctuation that stands between claims.
    fn separates(&self, sign: char) -> bool {
        let text = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Claim(_) => None,
        });
        sign.is_ascii_punctuation() && text.into_iter().any(|text| text.contains(sign))
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('{') {
                let (claim, after) =
                    after.split_once('}').ok_or("a name's template has a `{` without `}`")?;
                if claim.is_empty() || claim.contains('{') {
                    return Err("a name's template has braces without a claim in them".to_owned());
                }
                if matches!(parts.last(), Some(Part::Claim(_))) {
                    return Err("a name's template has two claims with nothing between them".to_owned());
                }
                parts.push(Part::Claim(claim.to_owned()));
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'}' && byte != b'%') {
                    return Err(
                        "a name's template has printable ASCII without spaces, `}` and `%`".to_owned()
                    );
                }
                let between = !parts.is_empty() && !after.is_empty();
                if between && !text.bytes().any(|byte| byte.is_ascii_punctuation()) {
                    return Err("a name's template wants punctuation between two claims".to_owned());
                }
                parts.push(Part::Text(text.to_owned()));
                rest = after;
            }
        }
        if parts.is_empty() || text.len() > NAME_MAX {
            return Err(format!("a name's template has 1 to {NAME_MAX} characters"));
        }
        Ok(Template { text: text.to_owned(), parts })
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Template, String> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(template: &str, repository: &str, branch: &str) -> Option<String> {
        template.parse::<Template>().unwrap().fill(|claim| match claim {
            "repository" => Some(repository.to_owned()),
            "ref" => Some(branch.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn different_claims_have_different_names() {
        let github = "github:{repository}:ref:{ref}";
        let main = filled(github, "acme/gw", "refs/heads/main").unwrap();
        assert_eq!(main, "github:acme/gw:ref:refs/heads/main");
        let forged = filled(github, "acme/gw:ref:refs/heads/main", "x").unwrap();
        assert_eq!(forged, "github:acme/gw%3Aref%3Arefs/heads/main:ref:x");
        assert_ne!(filled(github, "a%3Ab", "x"), filled(github, "a:b", "x"));
        for (repository, branch) in [("", "x"), ("a b", "x"), ("a\n", "x"), ("é", "x")] {
            assert_eq!(filled(github, repository, branch), None, "{repository}");
        }
        assert_eq!(filled("x:{nothing}", "a", "b"), None);
        assert_eq!(filled("x:{ref}", "a", &"b".repeat(300)), None);
        for bad in ["", "{", "{}", "a{b}{c}", "{b}and{c}", "a b", "{a{b}}", "50%"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }
}
