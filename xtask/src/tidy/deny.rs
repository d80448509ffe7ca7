//! Licences and duplicate crates, by the lists of deny.toml.
//!
//! cargo-deny does this and more, and runs where it is installed. Nobody
//! should have to build it to contribute, so the two checks that matter every
//! day are here as well, over the same file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::crates::{array, name};
use crate::error::Error;
use crate::workspace;

/// Every dependency's licence is on the list.
pub(super) fn licences() -> Result<Vec<String>, Error> {
    let allowed = list("allow")?;
    each_foreign_package(|package| {
        let expression = package["license"].as_str().unwrap_or("(none)");
        match satisfied(expression, &allowed) {
            true => None,
            false => Some(format!("{} {}: {expression}", name(package), version(package))),
        }
    })
}

/// One version of each crate, except where deny.toml says why not.
pub(super) fn duplicates() -> Result<Vec<String>, Error> {
    let skipped = list("skip")?;
    let mut problems = Vec::new();
    for manifest in workspace::manifests() {
        let metadata = workspace::metadata(&manifest)?;
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in array(&metadata["packages"]) {
            if !skipped.contains(&format!("{}@{}", name(package), version(package))) {
                versions.entry(name(package)).or_default().insert(version(package));
            }
        }
        for (crate_name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            let versions: Vec<&str> = versions.iter().copied().collect();
            problems.push(format!(
                "{crate_name}: {} (one of them belongs into deny.toml, with the reason, or away)",
                versions.join(", ")
            ));
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

fn version(package: &Value) -> &str {
    package["version"].as_str().unwrap_or_default()
}

fn each_foreign_package(rule: impl Fn(&Value) -> Option<String>) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for manifest in workspace::manifests() {
        let metadata = workspace::metadata(&manifest)?;
        let foreign = array(&metadata["packages"]).filter(|package| !package["source"].is_null());
        problems.extend(foreign.filter_map(&rule));
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

/// The first string of each line of an array in deny.toml. The file keeps one
/// element to a line, which is also how people like to read it.
fn list(key: &str) -> Result<BTreeSet<String>, Error> {
    let text = workspace::read(&workspace::root().join("deny.toml"))?;
    let found = strings(&text, key);
    match found {
        Some(found) => Ok(found),
        None => Err(Error::wrong(format!("deny.toml has no list `{key}`"))),
    }
}

fn strings(text: &str, key: &str) -> Option<BTreeSet<String>> {
    let opening = format!("{key} = [");
    let mut lines = text.lines().skip_while(|line| line.trim() != opening);
    lines.next()?;
    let elements = lines.take_while(|line| line.trim() != "]").map(str::trim);
    let quoted = elements.filter(|line| !line.starts_with('#')).filter_map(|line| line.split('"').nth(1));
    Some(quoted.map(str::to_owned).collect())
}

/// Whether an SPDX expression can be satisfied by allowed licences: `OR`
/// needs one side, `AND` both; `AND` binds tighter. The old form `MIT/Apache-2.0`
/// is an `OR`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    // An exception only grants more than its licence.
    let mut words = spaced.split_whitespace().filter(|word| !word.starts_with("LLVM-exception")).peekable();
    any_of(&mut words, allowed) && words.next().is_none()
}

type Words<'a, I> = std::iter::Peekable<I>;

fn any_of<'a, I: Iterator<Item = &'a str>>(words: &mut Words<'a, I>, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        satisfied |= all_of(words, allowed);
    }
    satisfied
}

fn all_of<'a, I: Iterator<Item = &'a str>>(words: &mut Words<'a, I>, allowed: &BTreeSet<String>) -> bool {
    let mut satisfied = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        satisfied &= one(words, allowed);
    }
    satisfied
}

fn one<'a, I: Iterator<Item = &'a str>>(words: &mut Words<'a, I>, allowed: &BTreeSet<String>) -> bool {
    let satisfied = match words.next() {
        // Depth is bounded by what crate registries accept, and this is not
        // a parser of hostile input.
        Some("(") => any_of(words, allowed) & words.next_if_eq(&")").is_some(),
        Some(licence) => allowed.contains(licence),
        None => false,
    };
    words.next_if_eq(&"WITH");
    satisfied
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, satisfied, strings};

    #[test]
    fn expressions() {
        let allowed: BTreeSet<String> = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned).into();
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "ISC AND (Apache-2.0 OR GPL-2.0)",
            "Apache-2.0 WITH LLVM-exception",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT Apache-2.0", "OR MIT", "(none)"] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn lists() {
        let text = "[licenses]\nallow = [\n    \"MIT\",\n    # \"no\"\n    { crate = \"x@1.0.0\", reason = \"y\" },\n]\n";
        let expected: BTreeSet<String> = ["MIT", "x@1.0.0"].map(str::to_owned).into();
        assert_eq!(strings(text, "allow"), Some(expected));
        assert_eq!(strings(text, "skip"), None);
    }
}
