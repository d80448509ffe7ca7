//! Rules about the text of files.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::workspace;

/// Longer than this, a file has a second noun in it.
const LINES_MAX: usize = 500;

/// Words that may not stay in code, with what to do instead. Assembled from
/// halves, so that this table does not find itself.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "write it, or leave it out"),
    (concat!("unimpl", "emented!("), "write it, or leave it out"),
    (concat!("d", "bg!("), "remove it"),
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("XX", "X"), "say what it is, or open an issue"),
    (concat!("<<<", "<<<< "), "finish the merge"),
];

/// An open end must say what is open.
const OPEN_END: &str = concat!("TO", "DO");

/// Hosts that configuration names, never the repository: where packages come
/// from is the machine's business.
const REGISTRIES: &[&str] = &[
    concat!("deb.deb", "ian.org"),
    concat!("security.deb", "ian.org"),
    concat!("static.rust", "-lang.org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonho", "sted.org"),
    concat!("registry.npm", "js.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("docker", ".io/"),
    concat!("ghcr", ".io/"),
];

/// Home directories belong to one machine.
const HOMES: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// A key backend, by what it implements.
const HOME: &str = concat!("impl Key", "Home for");
/// The suite of signers, and how it is run.
const SUITE: &str = concat!("firmseal_keys::confor", "mance");
const RUNS: [&str; 2] = [concat!("wait(conformance::r", "un(&"), concat!("run_un", "der(&")];

/// Every Rust file opens with `//!`: one noun, said in a sentence.
pub(super) fn opening() -> Result<Vec<String>, Error> {
    each_rust_file(|path, text| {
        let first = text.lines().next().unwrap_or_default();
        (!first.starts_with("//! ")).then(|| format!("{path}: the first line is not a `//!` sentence"))
    })
}

/// Files stay short, tests aside.
pub(super) fn length() -> Result<Vec<String>, Error> {
    each_rust_file(|path, text| {
        let lines = match is_test(path) {
            true => 0,
            false => before_tests(text).lines().count(),
        };
        (lines > LINES_MAX).then(|| format!("{path}: {lines} lines; which noun can move out?"))
    })
}

/// Nothing half-done stays.
pub(super) fn words() -> Result<Vec<String>, Error> {
    each_line(|path, line| {
        if !path.ends_with(".rs") && !path.ends_with(".py") && !path.ends_with(".sh") {
            return None;
        }
        if let Some((word, instead)) = FORBIDDEN.iter().find(|(word, _)| line.contains(word)) {
            return Some(format!("`{word}`: {instead}"));
        }
        let (_, rest) = line.split_once(OPEN_END)?;
        let explained = rest.split_whitespace().count() >= 5;
        (!explained).then(|| format!("an {OPEN_END} without a sentence that says what is missing and why"))
    })
}

/// No path of one machine, no registry's host.
pub(super) fn places() -> Result<Vec<String>, Error> {
    let root = workspace::root();
    let mut machine: Vec<String> = HOMES.iter().map(|home| (*home).to_owned()).collect();
    // Where this clone is; also its parent, where its neighbours are. Short
    // ones ("/", "/src") would be found in innocent text.
    for directory in root.ancestors().take(2) {
        let text = directory.to_string_lossy();
        if text.matches('/').count() >= 2 {
            machine.push(format!("{text}/"));
        }
    }
    each_line(|path, line| {
        if path.ends_with(".lock") {
            return None;
        }
        if let Some(place) = machine.iter().find(|place| line.contains(place.as_str())) {
            return Some(format!("`{place}` is a path of one machine"));
        }
        let host = REGISTRIES.iter().find(|host| line.contains(**host))?;
        Some(format!("`{host}`: where packages come from is the machine's configuration"))
    })
}

/// What opens keys for the program passes the suite that every signer does.
pub(super) fn suites() -> Result<Vec<String>, Error> {
    let (mut backends, mut tested) = (BTreeMap::new(), BTreeSet::new());
    for path in workspace::files()?.iter().filter(|path| path.ends_with(".rs")) {
        let Some((name, _)) = path.strip_prefix("crates/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let text = workspace::read(&workspace::root().join(path))?;
        match is_test(path) {
            true if text.contains(SUITE) && RUNS.iter().any(|call| text.contains(call)) => {
                tested.insert(name.to_owned());
            }
            false if before_tests(&text).contains(HOME) => {
                backends.insert(name.to_owned(), path.clone());
            }
            _ => {}
        }
    }
    let untested = backends.into_iter().filter(|(name, _)| !tested.contains(name));
    let problem = |(name, path): (String, String)| {
        format!("{path}: no test of {name} runs `firmseal_keys::conformance` on its keys")
    };
    Ok(untested.map(problem).collect())
}

fn each_rust_file(rule: impl Fn(&str, &str) -> Option<String>) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for path in workspace::files()?.iter().filter(|path| path.ends_with(".rs")) {
        problems.extend(rule(path, &workspace::read(&workspace::root().join(path))?));
    }
    Ok(problems)
}

/// Applies a rule to every line of every text file.
fn each_line(rule: impl Fn(&str, &str) -> Option<String>) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for path in workspace::files()? {
        let full = workspace::root().join(&path);
        let bytes = std::fs::read(&full).map_err(Error::file(&full))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for (index, line) in text.lines().enumerate() {
            if let Some(problem) = rule(&path, line) {
                problems.push(format!("{path}:{}: {problem}", index + 1));
            }
        }
    }
    Ok(problems)
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "fuzz"))
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// The part of a file before its trailing test module.
fn before_tests(text: &str) -> &str {
    match text.find("\n#[cfg(test)]\nmod tests {") {
        Some(at) => &text[..at],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{before_tests, is_test};

    #[test]
    fn tests_do_not_count() {
        assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\n}\n"), "a");
        assert_eq!(before_tests("a\n#[cfg(test)]\nuse b;\n"), "a\n#[cfg(test)]\nuse b;\n");
        assert!(is_test("crates/core/tests/vectors.rs"));
        assert!(is_test("crates/core/src/cbor/tests.rs"));
        assert!(!is_test("crates/testkit/src/clock.rs"));
    }
}
