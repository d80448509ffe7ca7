//! Mender artifacts: mender-artifact judges ours, and we read what it makes
//! and signs.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;

use common::{OpenSsl, TestKey, accepted, fixture, make, verifies};
use firmseal_formats::{FormatError, Inspection, Parameters, Wanted, detect, find, inspect};
use peer::{Artifact, takes};

const KEYS: [&str; 3] = ["p256", "rsa2048", "rsa3072"];

/// Prepares with a version, signs and attaches.
fn signed(file: &[u8], key: &TestKey, version: &str) -> Result<Vec<u8>, FormatError> {
    let file = &file.to_vec();
    let (format, parameters) = (find("mender")?, Parameters::default());
    let version = semver::Version::parse(version).unwrap();
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let laid_out = firmseal_formats::lay_out(format, file, &wanted)?;
    let signature = key.sign(&laid_out.tbs);
    let plan = firmseal_formats::attach(format, &laid_out.unsigned.unwrap(), file, &signature)?;
    let mut out = Vec::new();
    plan.write_to(file, &mut out)?;
    Ok(out)
}

fn told<'a>(read: &'a Inspection, name: &str) -> Vec<&'a str> {
    read.fields.iter().filter(|own| own.name == name).map(|own| own.value.as_str()).collect()
}

#[test]
fn mender_artifact_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = OpenSsl::new(&[&KEYS[..], &["other-p256", "other-rsa2048"]].concat());
    for file in [fixture("mender/unsigned.bin"), fixture("mender/module.bin")] {
        for name in KEYS {
            let key = TestKey::load(name);
            let ours = signed(&file, &key, "1.2.3").unwrap();
            assert!(accepted(&ours, &key.public) && takes(&openssl, &ours, name), "{name}");
            for other in ["other-p256", "other-rsa2048"] {
                assert!(!accepted(&ours, &TestKey::load(other).public) && !takes(&openssl, &ours, other));
            }
            assert_eq!(inspect(&ours).unwrap().digest(), inspect(&file).unwrap().digest());
            // The manifest, and a byte of the last payload.
            for at in [1536 + 3, ours.len() - 1024 - 600] {
                let mut tampered = ours.clone();
                tampered[at] ^= 1;
                assert!(
                    !accepted(&tampered, &key.public) && !takes(&openssl, &tampered, name),
                    "{name} {at}"
                );
            }
            // Signing again replaces the signature, whoever's it was.
            let again =
                signed(&signed(&file, &TestKey::load("p256"), "1.2.3").unwrap(), &key, "1.2.3").unwrap();
            assert!(takes(&openssl, &again, name));
            assert!(name == "p256" || again == ours, "{name}: RSA is the same each time");
        }
        assert!(!takes(&openssl, &file, "p256"), "unsigned");
    }
}

#[test]
fn mender_artifact_writes_the_same() {
    let openssl = OpenSsl::new(&KEYS);
    peer::keys(&openssl, &KEYS);
    for file in [fixture("mender/unsigned.bin"), fixture("mender/p256.bin")] {
        for name in KEYS {
            let (key, theirs) = (TestKey::load(name), peer::sign(&openssl, &file, name));
            assert!(accepted(&theirs, &key.public), "{name}");
            let ours = signed(&file, &key, "1.2.3").unwrap();
            assert_eq!(inspect(&ours).unwrap().digest(), inspect(&theirs).unwrap().digest());
            // ECDSA differs from run to run, and in nothing else.
            let spared = if name == "p256" { 2560..2648 } else { 0..0 };
            let rest = |bytes: &[u8]| [&bytes[..spared.start], &bytes[spared.end..]].concat();
            assert!(rest(&ours) == rest(&theirs), "{name}: byte for byte");
        }
    }
}

#[test]
fn what_mender_artifact_makes_is_read() {
    for (name, key) in [("p256", "p256"), ("rsa2048", "rsa2048")] {
        let read = inspect(&fixture(&format!("mender/{name}.bin"))).unwrap();
        assert!(verifies(&read.signatures[0], &TestKey::load(key).public), "{name}");
        assert!(!verifies(&read.signatures[0], &TestKey::load(&format!("other-{key}")).public), "{name}");
    }
    let read = inspect(&fixture("mender/unsigned.bin")).unwrap();
    assert_eq!((read.version.as_deref(), read.target.as_deref()), (Some("1.2.3"), Some("board-a, board-b")));
    assert_eq!((read.image_size, read.signatures.len(), read.notes.len()), (8, 0, 0));
    assert_eq!(told(&read, "name"), ["release-1"]);
    assert_eq!(told(&read, "payload 0 type"), ["rootfs-image"]);
    let digest = peer::sha256(b"firmware");
    assert_eq!(told(&read, "payload 0 file"), [format!("firmware.img 8 bytes sha256:{digest}")]);
    // Scripts run on the device.
    let script = peer::sha256(b"#!/bin/sh\ntrue\n");
    assert_eq!(told(&read, "script"), [format!("ArtifactInstall_Enter_10_check sha256:{script}")]);
    let read = inspect(&fixture("mender/module.bin")).unwrap();
    assert_eq!(told(&read, "payload 0 depends on rootfs-image.version"), ["1.2.3"]);
    assert_eq!(told(&read, "payload 0 provides rootfs-image.app.version"), ["1.2.3"]);
    assert_eq!((told(&read, "group"), told(&read, "depends on group")), (vec!["lab"], vec!["field"]));
    assert_eq!(told(&read, "payload 0 file").len(), 2);
    assert_eq!(told(&read, "payload 0 meta-data").len(), 1);
}

/// Larger than any buffer, and packed to almost nothing.
#[test]
fn large_and_empty_payloads_are_read() {
    let openssl = OpenSsl::new(&["p256"]);
    peer::keys(&openssl, &["p256"]);
    let mut random = common::Random(1);
    let noise: Vec<u8> = (0..40_000).flat_map(|_| random.next().to_le_bytes()).collect();
    let file = [&noise[..], &vec![0; 20 << 20], &noise].concat();
    openssl.write("large.img", &file);
    let rootfs = "rootfs-image --no-progress -n one -t board -f large.img --software-version 1.0.0";
    for packed in ["gzip", "none"] {
        let artifact = peer::write(&openssl, &format!("{rootfs} --compression {packed} -k p256.own"));
        let read = inspect(&artifact).unwrap();
        assert_eq!(read.image_size, file.len() as u64);
        assert!(accepted(&artifact, &TestKey::load("p256").public), "{packed}");
    }
    let artifact = peer::write(&openssl, &format!("{rootfs} --compression lzma"));
    let error = inspect(&artifact).unwrap_err().to_string();
    assert!(error.contains("--compression gzip"), "{error}");
    let artifact = peer::write(&openssl, "module-image -T app -n one -t board");
    assert_eq!(inspect(&artifact).unwrap().image_size, 0);
    let artifact = peer::write(&openssl, "bootstrap-artifact -n one -t board");
    assert!(inspect(&artifact).is_err(), "it has no payload");
    openssl.write("more", b"more");
    let augmented = "module-image -T app -n one -t board -f more --augment-type app --augment-file large.img";
    let error = inspect(&peer::write(&openssl, augmented)).unwrap_err().to_string();
    assert!(error.contains("no signature covers what is added"), "{error}");
}

#[test]
fn what_was_asked_for_is_what_stands_in_it() {
    let file = fixture("mender/unsigned.bin");
    let key = TestKey::load("p256");
    let error = signed(&file, &key, "1.2.4").unwrap_err();
    assert!(matches!(error, FormatError::Disagrees { field: "version", .. }), "{error}");
    for name in ["p384", "ed25519"] {
        let error = signed(&file, &TestKey::load(name), "1.2.3").unwrap_err();
        assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{name}: {error}");
    }
    let error = make("mender", &file, &key, &[("padding", "pss")]).unwrap_err();
    assert!(matches!(error, FormatError::Parameter { .. }), "{error}");
    // Where nothing is said, nothing is compared.
    let silent = Artifact::new().with("headers/0000/type-info", "{\"type\":\"app\"}").build();
    assert!(signed(&silent, &key, "7.0.0").is_ok());
    let two = "{\"type\":\"app\",\"artifact_provides\":{\"a.version\":\"1.0.0\",\"b.version\":\"2.0.0\"}}";
    let two = Artifact::new().with("headers/0000/type-info", two).build();
    assert!(inspect(&two).unwrap().version.is_none());
    assert!(signed(&two, &key, "1.0.0").is_err() && signed(&two, &key, "2.0.0").is_err());
}

/// Decision 41: what is signed is the manifest, so that a signature beside a
/// file that is one goes into an artifact.
#[test]
fn a_manifest_is_no_file() {
    let members = Artifact::new().members();
    let manifest = members[1].1.clone();
    assert!(matches!(detect(&manifest), Err(FormatError::Inner { .. })));
    let key = TestKey::load("p256");
    assert!(make("cms", &manifest, &key, &[]).is_err());
    let parameters = Parameters::default();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let beside = firmseal_formats::lay_out(find("raw").unwrap(), &manifest, &wanted);
    assert!(matches!(beside, Err(FormatError::Inner { .. })));
    assert!(!find("mender").unwrap().hashes_whole());
}
