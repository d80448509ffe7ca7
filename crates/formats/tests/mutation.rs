//! Mutated files: no parser panics, reads outside, or works without bound.
//!
//! `FIRMSEAL_FUZZ_ITERATIONS` sets how many (20,000 if not set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "fuzz/entry.rs"]
mod entry;

use common::{Random, fixture_path, mutate};

#[test]
fn parsers_are_total() {
    let iterations: u64 = match std::env::var("FIRMSEAL_FUZZ_ITERATIONS") {
        Ok(text) => text.parse().expect("FIRMSEAL_FUZZ_ITERATIONS is a number"),
        Err(_) => 20_000,
    };
    let mut corpus = vec![common::fixture("firmware.bin"), Vec::new()];
    let formats = std::fs::read_dir(fixture_path("")).unwrap().map(|entry| entry.unwrap().path());
    let all = formats.filter(|path| path.is_dir()).map(|path| std::fs::read_dir(path).unwrap());
    for entry in all.flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            corpus.push(std::fs::read(path).unwrap());
        }
    }
    corpus.sort();
    corpus.iter().for_each(|bytes| entry::run(bytes));
    for seed in 0..iterations {
        let mut random = Random(seed);
        let mut bytes = corpus[random.below(corpus.len())].clone();
        mutate(&mut bytes, &mut random);
        if std::panic::catch_unwind(|| entry::run(&bytes)).is_err() {
            panic!("seed {seed}: {bytes:02x?}");
        }
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
