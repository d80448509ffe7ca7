//! Every attack has its cases, its row and its tests, and nothing else has.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use firmseal_testkit::vectors::Purpose;
use firmseal_testkit::vectors::attacks::{MARKS, Outcome, all, generated};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_attack_is_tried_at_an_install_and_at_a_boot() {
    for attack in all() {
        let vectors = attack.vectors();
        let tried =
            |install: bool| vectors.iter().any(|vector| (vector.purpose == Purpose::Admit) == install);
        if matches!(attack.outcome, Outcome::Open { .. }) {
            assert!(!attack.tests.is_empty(), "{}: nothing tries it", attack.name);
            continue;
        }
        assert!(tried(true) && tried(false), "{}: not tried at both", attack.name);
        assert!(vectors.iter().any(|vector| vector.expect.is_err()), "{}: nothing is refused", attack.name);
        for vector in &vectors {
            // What an attack still gets is told by its name.
            let admitted = vector.name[attack.name.len()..].starts_with("_ok");
            assert_eq!(vector.expect.is_ok(), admitted, "{}", vector.name);
        }
    }
}

#[test]
fn the_page_lists_every_attack() {
    let path = repository().join("docs/threats.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(MARKS.0).unwrap();
    let (stored, after) = rest.split_once(MARKS.1).unwrap();
    let made = generated();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{}{made}{}{after}", MARKS.0, MARKS.1)).unwrap();
        return;
    }
    assert_eq!(stored, made, "run with UPDATE=1 and review the difference");
}

/// Every line of Rust below a folder.
fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// A test that is renamed takes the table along.
#[test]
fn every_test_that_is_named_exists() {
    for attack in all() {
        for test in attack.tests {
            let (package, name) = test.split_once(": ").unwrap();
            let folder = match package {
                "e2e" => repository().join("e2e"),
                _ => repository().join("crates").join(package),
            };
            let mut text = String::new();
            sources(&folder, &mut text);
            assert!(text.contains(&format!("fn {name}(")), "{}: {test} does not exist", attack.name);
        }
    }
}

/// The agent's own tests of attacks are named after them, and all stand in
/// the table.
#[test]
fn every_attack_on_the_agent_has_its_row() {
    let text = fs::read_to_string(repository().join("crates/agent/tests/attacks.rs")).unwrap();
    let tests: Vec<&str> =
        text.split("#[tokio::test]\nasync fn ").skip(1).map(|rest| rest.split_once('(').unwrap().0).collect();
    assert!(!tests.is_empty());
    for test in tests {
        let listed = |name: &str| name.strip_prefix("agent: ") == Some(test);
        let row = all().find(|attack| attack.tests.iter().any(|name| listed(name)));
        assert!(row.is_some_and(|attack| test.starts_with(attack.name)), "{test}");
    }
}
