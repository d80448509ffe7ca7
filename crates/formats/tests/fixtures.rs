//! Images that imgtool made, and what we read from them: each `X.bin` in
//! fixtures/mcuboot has its expected inspection beside it in `X.json`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{TestKey, accepted, fixture, fixture_path};
use firmseal_formats::Covered;

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixture_path("mcuboot"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".bin").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 15);
    names
}

#[test]
fn every_image_reads_as_expected() {
    let bless = std::env::var_os("FIRMSEAL_BLESS").is_some();
    for name in names() {
        let inspection = firmseal_formats::inspect(&fixture(&format!("mcuboot/{name}.bin")));
        let inspection = inspection.unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = serde_json::to_string_pretty(&inspection).unwrap() + "\n";
        let path = fixture_path(&format!("mcuboot/{name}.json"));
        if bless {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
    }
}

#[test]
fn every_signature_verifies_under_its_key_and_no_other() {
    for name in names() {
        let bytes = fixture(&format!("mcuboot/{name}.bin"));
        let inspection = firmseal_formats::inspect(&bytes).unwrap();
        let signer = match name.as_str() {
            "p256" | "key_in_full_p256" | "padded_signature" | "compressed" | "big_endian_padded" => "p256",
            "rsa2048" | "key_in_full_rsa2048" => "rsa2048",
            "p384" | "rsa3072" => &name,
            "digest_only" => {
                assert!(inspection.signatures.is_empty());
                continue;
            }
            "encrypted" | "encrypted_rsa2048" => {
                assert!(inspection.encrypted);
                assert!(matches!(inspection.signatures[0].covered, Covered::Unknown(_)));
                assert!(!accepted(&bytes, &TestKey::load("ed25519").public));
                continue;
            }
            _ => "ed25519",
        };
        assert!(accepted(&bytes, &TestKey::load(signer).public), "{name}");
        for other in common::ALGORITHMS {
            assert!(!accepted(&bytes, &TestKey::load(&format!("other-{other}")).public), "{name}, {other}");
        }
    }
}

#[test]
fn the_digest_of_the_header_ignores_who_signed() {
    let digest =
        |name: &str| firmseal_formats::inspect(&fixture(&format!("mcuboot/{name}.bin"))).unwrap().digest();
    assert_eq!(digest("p256"), digest("ed25519"));
    assert_eq!(digest("p256"), digest("trailer_confirmed"));
    assert_ne!(digest("p256"), digest("no_counter"));
    assert_ne!(digest("p256"), digest("ram_load"));
}
