//! Mutations of good documents, on stable. They are files as well, with which
//! libFuzzer begins: `UPDATE=1` writes them anew.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "fuzz/entry.rs"]
mod entry;

use std::path::Path;

use common::{GITHUB, Pair, SCAN, SVR, VSA, evaluated, provenance, scanned, statement, summary};
use serde_json::json;

/// What the files are made of.
fn made() -> [(&'static str, Vec<u8>); 10] {
    let pair = Pair::ed25519(7);
    let bom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
                      "components": [{ "type": "library", "name": "z", "version": "1" }] });
    let results = json!({ "result": "PASSED", "configuration": [{ "name": "x" }], "passedTests": ["a"] });
    let spdx = json!({ "@context": "https://spdx.org/rdf/3.0.1/x", "@graph": [
        { "type": "SpdxDocument", "spdxId": "urn:d" },
        { "type": "software_Package", "spdxId": "urn:a", "name": "a" },
    ] });
    let junit = "<testsuites><testsuite name='a' failures='1'><testcase/><testcase><failure/></testcase></testsuite>\
                 </testsuites>";
    [
        ("provenance.json", pair.envelope(&provenance(&[1], "b"))),
        ("provenance-github.json", pair.envelope(&provenance(&[1], GITHUB))),
        ("test-result.json", pair.envelope(&statement(&[1], TEST_RESULT, results))),
        ("bom-signed.json", pair.envelope(&statement(&[1], "https://cyclonedx.org/bom", bom.clone()))),
        ("bom.json", bom.to_string().into_bytes()),
        ("junit.xml", junit.as_bytes().to_vec()),
        ("scan.json", pair.envelope(&statement(&[1], SCAN, scanned(&["high", "9.1", "?"])))),
        ("evaluation.json", pair.envelope(&statement(&[1], SVR, evaluated("b", &["LEVEL_2"])))),
        (
            "evaluation-slsa.json",
            pair.envelope(&statement(&[1], VSA, summary("b", "PASSED", &["SLSA_BUILD_LEVEL_3"]))),
        ),
        ("spdx.json", spdx.to_string().into_bytes()),
    ]
}

const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

fn seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = made().map(|(name, bytes)| (directory.join(name), bytes));
    if std::env::var_os("UPDATE").is_some() {
        files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }
    files.iter().map(|(path, _)| std::fs::read(path).unwrap()).collect()
}

#[test]
fn nothing_panics_and_nothing_unsigned_is_proven() {
    let seeds = seeds();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut number = |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    };
    for seed in &seeds {
        entry::run(seed);
    }
    let count = std::env::var("FIRMSEAL_FUZZ_ITERATIONS").ok().and_then(|count| count.parse().ok());
    for _ in 0..count.unwrap_or(3000) {
        let mut input = seeds[number(seeds.len())].clone();
        for _ in 0..=number(3) {
            let at = number(input.len());
            match number(5) {
                0 if at < input.len() => input[at] ^= 1 << number(8),
                1 if at < input.len() => input[at] = b"{}[]\",:<>&;/\\0"[number(14)],
                2 => input.truncate(at),
                3 => {
                    let other = &seeds[number(seeds.len())];
                    let from = number(other.len());
                    input.splice(at..at, other[from..].iter().copied().take(60));
                }
                _ => {
                    let end = (at + number(9)).min(input.len());
                    input.drain(at..end);
                }
            }
        }
        entry::run(&input);
    }
}
