//! Android Verified Boot: libavb starts what we sign and avbtool verifies it, we
//! read what avbtool makes, and both write the same file around the same
//! signature.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;

use common::{TestKey, accepted, fixture, verifies};
use firmseal_formats::{Covered, Field, FormatError, Inspection, Parameters, Segment, Wanted, find, inspect};
use peer::{avbtool, keys, make, verify_all};

fn read(name: &str) -> Inspection {
    inspect(&fixture(&format!("avb/{name}.bin"))).unwrap()
}

pub(crate) fn value<'a>(all: &'a [Field], name: &str) -> Option<&'a str> {
    all.iter().find(|own| own.name == name).map(|own| own.value.as_str())
}

const BOOT: [(&str, &str); 3] =
    [("partition-name", "boot"), ("partition-size", "0x12000"), ("salt", "00112233")];

#[test]
fn libavb_starts_ours_and_refuses_tampered_and_foreign() {
    let openssl = keys();
    let (stranger, plain) = (TestKey::load("other-rsa2048"), fixture("firmware.bin"));
    for name in ["rsa2048", "rsa4096"] {
        let key = TestKey::load(name);
        let boot = make(&plain, &key, 8, &BOOT).unwrap();
        assert_eq!(boot.len(), 0x12000);
        let vbmeta = make(&fixture("avb/vbmeta.bin"), &key, 7, &[]).unwrap();
        let system = make(&fixture("avb/system.bin"), &key, 7, &[]).unwrap();
        // Signed by somebody else: what is signed but for the key is the same.
        let resigned = make(&make(&plain, &stranger, 8, &BOOT).unwrap(), &key, 8, &BOOT).unwrap();
        assert_eq!(boot, resigned);
        let changed = |image: &[u8], at: usize| {
            let mut bad = image.to_vec();
            bad[at] ^= 1;
            bad
        };
        // Data, rollback index, signature, descriptor and key; of vbmeta without the data.
        let bad = [100, 4096 + 119, 4096 + 300, 4096 + 256 + 320 + 100, 4096 + 256 + 320 + 400];
        let mut all = vec![boot.clone(), vbmeta.clone()];
        all.extend(bad.map(|at| changed(&boot, at)));
        all.extend([119, 300, 700].map(|at| changed(&vbmeta, at)));
        let verdicts = verify_all(&openssl, name, 7, &all);
        assert_eq!(verdicts[..2], [true; 2], "{name}");
        assert!(!verdicts[2..].contains(&true), "{name}: {verdicts:?}");
        let ours: Vec<bool> = all.iter().map(|image| accepted(image, &key.public)).collect();
        assert_eq!(ours, verdicts, "{name}");
        // A device that was updated further, and one with another key.
        assert_eq!(verify_all(&openssl, name, 9, &all[..2]), [false; 2], "{name}");
        assert_eq!(verify_all(&openssl, "other-rsa2048", 7, &all[..2]), [false; 2], "{name}");
        assert!(!accepted(&boot, &stranger.public));
        // With the partitions that it speaks of.
        openssl.write("vbmeta.img", &vbmeta);
        openssl.write("boot.img", &fixture("avb/boot.bin"));
        openssl.write("system.img", &fixture("avb/system.bin"));
        let line = "--expected_chain_partition vendor:1:vendor.avbpubkey";
        avbtool(&openssl, &format!("verify_image --image vbmeta.img --key {name}.pub.pem {line}"));
        // Of trees libavb leaves to the kernel what avbtool looks at.
        openssl.write("system.img", &system);
        let text = avbtool(&openssl, &format!("verify_image --image system.img --key {name}.pub.pem"));
        assert!(text.contains("system: Successfully verified sha256 hashtree"), "{text}");
        assert!(accepted(&system, &key.public));
        for at in [100, 8300, 12_300, 16_383] {
            assert!(!accepted(&changed(&system, at), &key.public), "{at}");
        }
    }
}

#[test]
fn we_write_what_avbtool_writes() {
    let openssl = keys();
    openssl.write("plain.img", &fixture("firmware.bin"));
    for (name, algorithm) in [("rsa2048", "SHA256_RSA2048"), ("rsa4096", "SHA256_RSA4096")] {
        let key = TestKey::load(name);
        let by = format!("--algorithm {algorithm} --key {name}.pem --rollback_index 8");
        openssl.write("boot.img", &fixture("firmware.bin"));
        avbtool(
            &openssl,
            &format!(
                "add_hash_footer --image boot.img --partition_name boot --partition_size 73728 --salt 00112233 \
                 --internal_release_string firmseal {by}"
            ),
        );
        let theirs = openssl.read("boot.img");
        assert!(make(&fixture("firmware.bin"), &key, 8, &BOOT).unwrap() == theirs, "{name}");
        assert!(make(&theirs, &key, 8, &BOOT).unwrap() == theirs, "{name}");
        assert!(accepted(&theirs, &key.public));
        let what = "--include_descriptors_from_image boot.img --chain_partition vendor:3:vendor.avbpubkey --prop a:b \
                    --rollback_index_location 4 --public_key_metadata plain.img";
        for padding in ["", "--padding_size 8192"] {
            let image = format!("make_vbmeta_image --output vbmeta.img {what} {padding}");
            avbtool(&openssl, &format!("{image} {by}"));
            let theirs = openssl.read("vbmeta.img");
            assert!(accepted(&theirs, &key.public));
            avbtool(&openssl, &format!("{image} --algorithm NONE"));
            let unsigned = openssl.read("vbmeta.img");
            assert!(inspect(&unsigned).unwrap().epoch.is_none());
            assert!(make(&unsigned, &key, 8, &[]).unwrap() == theirs, "{name} {padding}");
            assert!(make(&theirs, &key, 8, &[]).unwrap() == theirs, "{name} {padding}");
        }
        // Without a salt that is given, one is made: the same for the same wish.
        let salted = make(&fixture("firmware.bin"), &key, 8, &BOOT[..2]).unwrap();
        assert_eq!(verify_all(&openssl, name, 8, &[salted]), [true]);
    }
}

#[test]
fn what_is_signed_is_told() {
    let vbmeta = read("vbmeta");
    assert_eq!((vbmeta.epoch, vbmeta.debug, vbmeta.target.as_deref()), (Some(7), Some(false), None));
    let told = |inspection: &Inspection, name: &str| value(&inspection.fields, name).map(str::to_owned);
    assert_eq!(told(&vbmeta, "release").as_deref(), Some("avbtool 1.3.0"));
    assert_eq!(told(&vbmeta, "kernel command line").as_deref(), Some("quiet"));
    assert_eq!(told(&vbmeta, "property os").as_deref(), Some("12"));
    let boot = told(&vbmeta, "hash of boot").unwrap();
    assert!(boot.starts_with("sha256 54da0085449b47df") && boot.ends_with("salt 00112233"), "{boot}");
    let system = told(&vbmeta, "hash tree of system").unwrap();
    assert!(system.contains("root 7de098ba906eeb36") && system.contains("4096 bytes at 12288"), "{system}");
    let vendor = told(&vbmeta, "chained partition vendor").unwrap();
    let openssl = keys();
    openssl.ok("dgst -sha256 -r -out digest vendor.avbpubkey");
    assert!(vendor.contains(&openssl.text("digest")[..64]), "{vendor}");
    openssl.ok("dgst -sha256 -r -out digest rsa2048.avbpubkey");
    assert_eq!(value(&vbmeta.notes, "public key sha256"), Some(&openssl.text("digest")[..64]));
    for (name, target) in [("boot", "boot"), ("system", "system")] {
        let own = read(name);
        assert_eq!((own.epoch, own.target.as_deref()), (Some(7), Some(target)));
        assert_eq!(value(&own.notes, "data"), Some("is what its descriptor says"));
        assert!(accepted(&fixture(&format!("avb/{name}.bin")), &TestKey::load("rsa2048").public));
    }
    // Who signed it changes nothing of what was approved.
    let resigned = make(&fixture("avb/vbmeta.bin"), &TestKey::load("rsa4096"), 7, &[]).unwrap();
    assert_eq!(inspect(&resigned).unwrap().digest(), vbmeta.digest());
}

#[test]
fn what_is_disabled_is_told_loudly_and_sha512_is_not_believed() {
    let own = read("sha512");
    assert_eq!(own.debug, Some(true));
    assert!(value(&own.fields, "verification").unwrap().starts_with("DISABLED"));
    assert!(value(&own.fields, "hash trees").unwrap().starts_with("DISABLED"));
    let [signature] = own.signatures.as_slice() else { panic!("{own:?}") };
    assert_eq!(signature.covered, Covered::Unknown("RSA signatures over SHA-512 are not verified here"));
    assert!(!verifies(signature, &TestKey::load("rsa2048").public));
    // Signed again it is SHA-256, and still says so; its padding is kept.
    let key = TestKey::load("rsa2048");
    let signed = make(&fixture("avb/sha512.bin"), &key, 7, &[]).unwrap();
    assert_eq!((signed.len(), inspect(&signed).unwrap().debug), (4096, Some(true)));
    assert!(accepted(&signed, &key.public));
    // libavb takes the image and then asks nothing of the partitions: avbtool
    // does not look at the flags.
    assert_eq!(verify_all(&keys(), "rsa2048", 7, &[signed]), [true]);
}

#[test]
fn the_order_says_the_rollback_index_unless_the_image_does() {
    let key = TestKey::load("rsa2048");
    let refused = |name: &str, epoch| make(&fixture(&format!("avb/{name}.bin")), &key, epoch, &[]);
    for name in ["vbmeta", "boot", "system", "sha512"] {
        let error = refused(name, 8).unwrap_err();
        assert!(matches!(error, FormatError::Disagrees { field: "rollback index", .. }), "{name}: {error}");
    }
    for epoch in [0, 5, u64::MAX] {
        let signed = refused("unsigned", epoch).unwrap();
        let own = inspect(&signed).unwrap();
        assert_eq!(own.epoch, Some(epoch));
        // Once it is signed, 0 is an index too.
        assert!(make(&signed, &key, epoch ^ 1, &[]).is_err());
        assert_eq!(value(&own.fields, "rollback index location"), Some("2"));
        assert!(value(&own.fields, "public key metadata").unwrap().starts_with("8 bytes"));
        // Metadata goes with the key that it was made for.
        let error = make(&signed, &TestKey::load("other-rsa2048"), epoch, &[]).unwrap_err().to_string();
        assert!(error.contains("tells of the key that is replaced"), "{error}");
    }
}

/// A partition is as long as somebody says: zeros are not held in memory.
#[test]
fn zeros_of_a_large_partition_are_not_held() {
    let key = TestKey::load("rsa2048");
    let parameters: Parameters =
        [("partition-name", "boot"), ("partition-size", "0x1000000000")].into_iter().collect();
    let version = semver::Version::new(1, 2, 3);
    let wanted = Wanted { version, epoch: 1, key: &key.public, parameters: &parameters };
    let unsigned =
        find("avb").unwrap().embedding().unwrap().prepare(&fixture("firmware.bin"), &wanted).unwrap();
    let plan = unsigned.attach(&key.sign(unsigned.tbs())).unwrap();
    assert_eq!(plan.output_len(), 0x10_0000_0000);
    let held = plan.segments().iter().map(|own| match own {
        Segment::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    assert!(held.sum::<usize>() < 4096);
}
