//! imgtool 2.5 as the judge: it accepts what we sign and refuses what was
//! changed; we read what it signs; where signing is deterministic, both
//! make the same file.
//!
//! It lives in a Python environment at `FIRMSEAL_VENV`, or target/venv.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod encryption;
mod more;
mod mutations;
mod peer;
mod same;
mod signatures;

use common::{TestKey, fixture, fixture_path, sign};
use peer::Imgtool;

const SLOT: &[(&str, &str)] = &[("header-size", "64"), ("slot-size", "0x1000")];

#[test]
fn imgtool_accepts_ours_and_refuses_tampered_and_foreign() {
    let imgtool = Imgtool::new();
    for name in common::ALGORITHMS {
        let good = sign(&fixture("firmware.bin"), &TestKey::load(name), "1.2.3+4", 7, SLOT).unwrap();
        let text = imgtool.verify(name, &good).unwrap_or_else(|text| panic!("{name}: {text}"));
        assert!(text.contains("Image version: 1.2.3+4"), "{text}");
        assert!(imgtool.verify(&format!("other-{name}"), &good).is_err(), "{name}: foreign key");
        let changed = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        };
        assert!(imgtool.verify(name, &changed(100)).is_err(), "{name}: tampered");
        // Version, security counter, digest, signature.
        let bad: Vec<_> =
            [20, 64 + 200 + 8, 64 + 200 + 12 + 8, good.len() - 1].into_iter().map(changed).collect();
        assert_eq!(imgtool.verify_all(name, &bad), [false; 4], "{name}");
    }
}

#[test]
fn imgtool_reads_back_version_and_counter() {
    let imgtool = Imgtool::new();
    let good =
        sign(&fixture("firmware.bin"), &TestKey::load("p256"), "200.100.50000+3000000000", 0xfedc_ba98, SLOT)
            .unwrap();
    let image = imgtool.write("info.bin", &good);
    let out = imgtool.run(&["dumpinfo", "-f", "json", image.to_str().unwrap()]);
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = info.to_string();
    assert!(text.contains("200.100.50000+3000000000"), "{text}");
    let counter = info["tlv_area"]["tlvs_prot"][0].to_string();
    assert!(counter.contains("SEC_CNT"), "{counter}");
    assert!(counter.contains("98badcfe") || counter.contains("[152,186,220,254]"), "{counter}");
}

#[test]
fn slots_are_too_small_for_both_at_the_same_size() {
    let imgtool = Imgtool::new();
    let firmware = fixture_path("firmware.bin");
    for extra in [&[][..], &["--align", "8"], &["--align", "16"], &["--overwrite-only"], &["-M", "5"]] {
        let parameters = |slot: &str| {
            let mut all =
                vec![("header-size".to_owned(), "64".to_owned()), ("slot-size".to_owned(), slot.to_owned())];
            match extra {
                ["--align", align] => all.push(("align".to_owned(), (*align).to_owned())),
                ["--overwrite-only"] => all.push(("overwrite-only".to_owned(), "true".to_owned())),
                ["-M", sectors] => all.push(("max-sectors".to_owned(), (*sectors).to_owned())),
                _ => {}
            }
            all
        };
        let fits = |slot: u64| {
            let slot = slot.to_string();
            let all = parameters(&slot);
            let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            sign(&fixture("firmware.bin"), &TestKey::load("ed25519"), "1.0.0", 7, &all).is_ok()
        };
        let smallest = (420..20_000).find(|slot| fits(*slot)).unwrap();
        let (key, out) = (imgtool.path("ed25519.pem"), imgtool.path("slot.bin"));
        for (slot, expected) in [(smallest - 1, false), (smallest, true)] {
            let slot = slot.to_string();
            let mut args =
                vec!["sign", "-k", key.to_str().unwrap(), "-v", "1.0.0", "-s", "7", "-H", "64", "-S", &slot];
            args.extend(extra);
            args.extend([firmware.to_str().unwrap(), out.to_str().unwrap()]);
            assert_eq!(imgtool.run(&args).status.success(), expected, "{extra:?} {slot}");
        }
    }
}
