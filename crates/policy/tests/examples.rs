//! The policies of `spec/policies`, with the examples beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use firmseal_manifest::{PolicyDocument, PolicyFile};
use firmseal_policy::{CedarPolicy, ENDINGS, Examples, NUMBER};

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/policies");
    let entries = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn each_policy_says_what_its_examples_say_and_each_rule_has_one() {
    let folders = folders();
    assert!(folders.len() >= 3);
    for folder in folders {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let files = vec![PolicyFile { name: "policy.cedar".to_owned(), text: read("policy.cedar") }];
        let document = PolicyDocument::new(NUMBER, files).unwrap();
        let policy = CedarPolicy::load(&document).unwrap_or_else(|error| panic!("{error}"));
        let mut seen = BTreeSet::new();
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let examples = names.filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)));
        for case in examples.flat_map(|name| Examples::read(&read(&name)).unwrap().cases) {
            let (rules, differs) = case.ask(&policy);
            assert_eq!(differs, None, "{}: {}", folder.display(), case.name);
            seen.extend(rules);
        }
        for rule in policy.rules() {
            let permits = rule.demand == firmseal_policy::Demand::Permit;
            assert!(permits || seen.contains(&rule.id), "{}: nobody tries {}", folder.display(), rule.id);
        }
    }
}
