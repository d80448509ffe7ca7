//! Several signatures in one image: each key's is found, and no other.

use crate::common::{TestKey, accepted, sign};
use crate::peer::Imgtool;

const SLOT: &[(&str, &str)] = &[("header-size", "64"), ("slot-size", "0x2000")];
const APPEND: &[(&str, &str)] = &[("append", "true")];

/// The order that they sign in; one algorithm twice.
const SIGNERS: [&str; 4] = ["ed25519", "p256", "rsa3072", "other-p256"];

fn signed_by(signers: &[&str]) -> Vec<u8> {
    let firmware = crate::common::fixture("firmware.bin");
    let mut image = Vec::new();
    for (index, signer) in signers.iter().enumerate() {
        let (source, parameters) = if index == 0 { (&firmware, SLOT) } else { (&image, APPEND) };
        image = sign(source, &TestKey::load(signer), "1.2.3+4", 7, parameters).unwrap();
    }
    image
}

#[test]
fn imgtool_finds_the_signature_of_each_key() {
    let imgtool = Imgtool::new();
    let image = signed_by(&SIGNERS);
    let inspection = firmseal_formats::inspect(&image).unwrap();
    assert_eq!(inspection.signatures.len(), SIGNERS.len());
    assert_eq!(inspection.digest(), firmseal_formats::inspect(&signed_by(&SIGNERS[..1])).unwrap().digest());
    for name in SIGNERS {
        assert!(accepted(&image, &TestKey::load(name).public), "{name}");
        imgtool.verify(name, &image).unwrap_or_else(|text| panic!("{name}: {text}"));
        let mut tampered = image.clone();
        tampered[100] ^= 1;
        assert!(!accepted(&tampered, &TestKey::load(name).public));
        assert!(imgtool.verify(name, &tampered).is_err());
    }
    for name in ["other-ed25519", "other-rsa3072", "rsa2048"] {
        assert!(!accepted(&image, &TestKey::load(name).public), "{name}");
        assert!(imgtool.verify(name, &image).is_err(), "{name}");
    }
    // One that is spoilt takes none of the others with it.
    let mut spoilt = image.clone();
    let last = spoilt.len() - 1;
    spoilt[last] ^= 1;
    for (name, expected) in SIGNERS.into_iter().zip([true, true, true, false]) {
        assert_eq!(accepted(&spoilt, &TestKey::load(name).public), expected, "{name}");
        assert_eq!(imgtool.verify(name, &spoilt).is_ok(), expected, "{name}");
    }
}

#[test]
fn what_others_signed_stays_as_it_is() {
    let imgtool = Imgtool::new();
    let firmware = crate::common::fixture_path("firmware.bin");
    let theirs = imgtool.sign("p256", "1.2.3+4", "7", &["-H", "64", "-S", "0x2000"], &firmware);
    let ours = sign(&theirs, &TestKey::load("ed25519"), "1.2.3+4", 7, APPEND).unwrap();
    for name in ["p256", "ed25519"] {
        assert!(accepted(&ours, &TestKey::load(name).public), "{name}");
        imgtool.verify(name, &ours).unwrap_or_else(|text| panic!("{name}: {text}"));
    }
    // All but the length of the area.
    assert_eq!(ours[..278], theirs[..278]);
    assert_eq!(ours[280..theirs.len()], theirs[280..]);
    let cases =
        [("p256", "has a signature of this key"), ("p384", "over sha256, the key's would be over sha384")];
    for (name, expected) in cases {
        let error = sign(&theirs, &TestKey::load(name), "1.2.3+4", 7, APPEND).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let pure = [("append", "true"), ("pure", "true")];
    let error = sign(&theirs, &TestKey::load("ed25519"), "1.2.3+4", 7, &pure).unwrap_err().to_string();
    assert!(error.contains("sha512 (pure)"), "{error}");
    let raw = [SLOT, APPEND].concat();
    let error = sign(&crate::common::fixture("firmware.bin"), &TestKey::load("p256"), "1.2.3+4", 7, &raw);
    assert!(error.unwrap_err().to_string().contains("no signature yet"));
}
