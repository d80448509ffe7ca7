//! Mutated files: no parser panics, reads outside, or works without bound.
//!
//! `FIRMSEAL_FUZZ_ITERATIONS` sets how many (20,000 if not set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "fuzz/entry.rs"]
mod entry;

use std::panic::AssertUnwindSafe;

use common::{Random, fixture_path, mutate};
use entry::Reached;
use firmseal_formats::{FORMATS, Format, find};

/// A fixture, and the format it is of, where it is of one.
type Seed = (Option<&'static dyn Format>, Vec<u8>);

/// The fixtures of all formats, and what is none.
fn corpus() -> Vec<Seed> {
    let mut corpus: Vec<Seed> = vec![(None, common::fixture("firmware.bin")), (None, Vec::new())];
    let formats = std::fs::read_dir(fixture_path("")).unwrap().map(|entry| entry.unwrap().path());
    for directory in formats.filter(|path| path.is_dir()) {
        let format = find(directory.file_name().unwrap().to_str().unwrap()).ok();
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                corpus.push((format, std::fs::read(path).unwrap()));
            }
        }
    }
    corpus.sort_by(|one, other| one.1.cmp(&other.1));
    corpus
}

#[test]
fn parsers_are_total() {
    let iterations: u64 = match std::env::var("FIRMSEAL_FUZZ_ITERATIONS") {
        Ok(text) => text.parse().expect("FIRMSEAL_FUZZ_ITERATIONS is a number"),
        Err(_) => 20_000,
    };
    let corpus = corpus();
    corpus.iter().for_each(|(_, bytes)| entry::run(bytes));
    for seed in 0..iterations {
        let mut random = Random(seed);
        let (format, mut bytes) = corpus[random.below(corpus.len())].clone();
        mutate(&mut bytes, &mut random);
        // Most go to the format that they nearly are of, some to all of them.
        let format = format.filter(|_| seed % 8 > 0);
        let tried = std::panic::catch_unwind(AssertUnwindSafe(|| match format {
            Some(format) => _ = entry::one(format, &bytes),
            None => entry::run(&bytes),
        }));
        if tried.is_err() {
            panic!("seed {seed}: {bytes:02x?}");
        }
    }
}

/// Fuzzing starts behind the first refusal: what a format can do, it does for
/// one of the fixtures, asked for as in `fuzz/wishes.rs`.
#[test]
fn every_format_does_all_it_can_for_a_fixture() {
    let corpus = corpus();
    for format in FORMATS {
        let all = corpus.iter().map(|(_, bytes)| entry::one(*format, bytes));
        let reached = all.fold(Reached::default(), |all, one| all | one);
        let beside = format.beside().is_some();
        let can = Reached { inspected: true, prepared: beside || format.embedding().is_some(), read: beside };
        assert_eq!(reached, can, "{}", format.name());
    }
}

/// What libFuzzer found (fuzz/README.md): a PE image whose section for SBAT
/// has no bytes, and begins outside.
#[test]
fn a_section_without_bytes_may_begin_anywhere() {
    let mut image = common::fixture("pe/unsigned.bin");
    let header = image.windows(8).position(|at| at == b".sbat\0\0\0").unwrap();
    image[header + 16..header + 20].fill(0);
    image[header + 20..header + 24].copy_from_slice(&0x3500u32.to_le_bytes());
    entry::run(&image);
    let inspection = firmseal_formats::inspect(&image).unwrap();
    assert!(inspection.fields.iter().all(|field| !field.name.starts_with("sbat")));
}
