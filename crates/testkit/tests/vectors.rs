//! The vectors on disk are those that the generator makes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use firmseal_testkit::vectors::{RootVector, Vector, cases, roots};

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(below)
}

/// File contents by name, of every vector in a folder.
fn stored(folder: &Path) -> BTreeMap<String, String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn compare(folder: &Path, made: Vec<(String, String)>) {
    let count = made.len();
    let made: BTreeMap<_, _> = made.into_iter().collect();
    assert_eq!(made.len(), count, "a name stands for two cases");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(folder).unwrap();
        for name in stored(folder).keys().filter(|name| !made.contains_key(*name)) {
            fs::remove_file(folder.join(format!("{name}.txt"))).unwrap();
        }
        for (name, text) in &made {
            fs::write(folder.join(format!("{name}.txt")), text).unwrap();
        }
    }
    let stored = stored(folder);
    let hint = "if the change is meant, run with UPDATE=1 and review the difference";
    assert_eq!(stored.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "{hint}");
    for (name, text) in &made {
        assert_eq!(&stored[name], text, "{name} differs; {hint}");
    }
}

#[test]
fn vectors_are_reproduced_byte_for_byte() {
    let all = cases::all();
    for case in &all {
        assert_eq!(Vector::parse(&case.name, &case.to_text()).as_ref(), Some(case), "reads what it wrote");
    }
    compare(&folder(""), all.iter().map(|case| (case.name.clone(), case.to_text())).collect());
}

#[test]
fn root_vectors_are_reproduced_byte_for_byte() {
    let all = roots::all();
    for case in &all {
        assert_eq!(
            RootVector::parse(&case.name, &case.to_text()).as_ref(),
            Some(case),
            "reads what it wrote"
        );
    }
    compare(&folder("roots"), all.iter().map(|case| (case.name.clone(), case.to_text())).collect());
}
