//! Every vector of `spec/vectors` gets the verdict that it expects.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use firmseal_testkit::vectors::{RootVector, Vector};

fn files(below: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(below);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Collects every wrong verdict before it fails, so that one run tells all.
fn judge(what: impl Iterator<Item = (String, String, Result<(), u16>, Result<(), u16>)>) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, about, expect, verdict) in what {
        count += 1;
        if expect != verdict {
            wrong.push(format!("{name} ({about}): expected {expect:?}, was {verdict:?}"));
        }
    }
    assert!(count > 0, "no vectors were found");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_vector_gets_its_verdict() {
    judge(files("").into_iter().map(|(name, text)| {
        let vector = Vector::parse(&name, &text).unwrap_or_else(|| panic!("{name} is not a vector"));
        let verdict = vector.verdict();
        (name, vector.about, vector.expect, verdict)
    }));
}

#[test]
fn every_root_vector_gets_its_verdict() {
    judge(files("roots").into_iter().map(|(name, text)| {
        let vector = RootVector::parse(&name, &text).unwrap_or_else(|| panic!("{name} is not a vector"));
        let verdict = vector.verdict();
        (name, vector.about, vector.expect, verdict)
    }));
}

/// Every prefix is refused, not only those of the stored vectors.
#[test]
fn an_envelope_truncated_anywhere_is_refused() {
    let (name, text) = files("").into_iter().find(|(name, _)| name == "ok_text").unwrap();
    let mut vector = Vector::parse(&name, &text).unwrap();
    let whole = vector.envelope.clone();
    for length in 0..whole.len() {
        vector.envelope = whole[..length].to_vec();
        assert!(matches!(vector.verdict(), Err(100..=199)), "{length} of {} bytes", whole.len());
    }
}
