//! Licences and duplicate crates, by the lists of deny.toml.
//!
//! cargo-deny does this and more, and runs where it is installed. Nobody
//! should have to build it to contribute, so the two checks that matter every
//! day are here as well, over the same file.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::{process, workspace};

/// Every dependency's licence is on the list.
pub(super) fn licences() -> Result<Vec<String>, Error> {
    let allowed = list("allow")?;
    let strangers =
        dependencies()?.into_iter().filter(|dependency| !satisfied(&dependency.licence, &allowed));
    let text =
        |Dependency { name, version, licence }| format!("{name} {version}: {licence:?} is not allowed");
    Ok(strangers.map(text).collect())
}

/// One version of each crate, except where deny.toml says why not.
pub(super) fn duplicates() -> Result<Vec<String>, Error> {
    let skipped = list("skip")?;
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let found = dependencies()?;
    let found_names: BTreeSet<String> =
        found.iter().map(|dependency| format!("{}@{}", dependency.name, dependency.version)).collect();
    let idle = skipped.difference(&found_names).map(|skip| format!("{skip}: deny.toml skips it for nothing"));
    let mut problems: Vec<String> = idle.collect();
    for Dependency { name, version, .. } in found {
        if !skipped.contains(&format!("{name}@{version}")) {
            versions.entry(name).or_default().insert(version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    let text = |(name, versions): (String, BTreeSet<String>)| {
        let versions: Vec<String> = versions.into_iter().collect();
        format!("{name}: {} (one goes away, or into deny.toml with the reason)", versions.join(", "))
    };
    problems.extend(versions.into_iter().map(text));
    Ok(problems)
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Dependency {
    name: String,
    version: String,
    licence: String,
}

/// What is really built, in all workspaces together. `cargo metadata` would
/// also list crates that only a feature nobody enables could bring.
fn dependencies() -> Result<BTreeSet<Dependency>, Error> {
    let mut found = BTreeSet::new();
    for manifest in workspace::manifests() {
        let mut cargo = workspace::cargo();
        cargo.args([
            "tree",
            "--workspace",
            "--all-features",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
        ]);
        cargo.args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}|{l}", "--manifest-path"]);
        let lines = process::read(cargo.arg(manifest))?;
        found.extend(lines.lines().filter_map(dependency));
    }
    Ok(found)
}

/// Reads `name vVERSION (note)|LICENCE (*)`. Our own crates are those with a
/// directory as note; blank lines separate workspace members.
fn dependency(line: &str) -> Option<Dependency> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.splitn(3, ' ');
    let (name, version, note) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    let ours = note.contains('/') && !note.contains("://");
    let licence = licence.trim_end_matches("(*)").trim().to_owned();
    let version = version.trim_start_matches('v').to_owned();
    (!ours).then(|| Dependency { name: name.to_owned(), version, licence })
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
    use super::{BTreeSet, dependency, satisfied, strings};

    #[test]
    fn lines_of_cargo_tree() {
        let read = |line| dependency(line).map(|found| (found.name, found.version, found.licence));
        let some = |name: &str, version: &str, licence: &str| {
            Some((name.to_owned(), version.to_owned(), licence.to_owned()))
        };
        assert_eq!(read("syn v2.0.1|MIT OR Apache-2.0 (*)"), some("syn", "2.0.1", "MIT OR Apache-2.0"));
        assert_eq!(read("serde_derive v1.0.2 (proc-macro)|MIT"), some("serde_derive", "1.0.2", "MIT"));
        assert_eq!(read("forked v1.0.0 (https://git.example/x#1)|"), some("forked", "1.0.0", ""));
        assert_eq!(read("firmseal-core v0.1.0 (/clone/crates/core)|MIT"), None);
        assert_eq!(read(""), None);
    }

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
