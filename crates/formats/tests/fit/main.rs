//! FIT images: U-Boot's own verifier (fit_check_sign, built from Debian's
//! source of U-Boot) is the judge of ours, and we read what mkimage signs.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod configurations;
mod control;
mod mutations;
mod peer;
mod qemu;
mod real;
mod refusals;
mod regions;
mod structure;

use common::{TestKey, accepted, make, verifies};
use firmseal_formats::{find, inspect};
use peer::Uboot;

/// Ways in which images are kept: in the tree, behind it, behind it on
/// sectors, at a place in the file.
const LAYOUTS: [&str; 4] = ["", "-E", "-E -B 0x200", "-E -p 0x2000"];

#[test]
fn fit_check_sign_accepts_ours_and_refuses_tampered_and_foreign() {
    let uboot = Uboot::new();
    let other = TestKey::load("other-rsa3072");
    uboot.signed("other-rsa3072", "", "");
    for name in ["rsa2048", "rsa3072"] {
        let key = TestKey::load(name);
        uboot.signed(name, "", "");
        // Once is enough of the key that new ones are longer than.
        for layout in LAYOUTS.into_iter().take(if name == "rsa2048" { 1 } else { 4 }) {
            let plain = uboot.make("", "", layout);
            assert!(inspect(&plain).unwrap().signatures.is_empty());
            assert!(!uboot.accepts(&plain, &format!("{name}.dtb")), "unsigned, {layout}");
            for padding in ["pkcs1", "pss"] {
                let case = format!("{name}, {padding}, {layout}");
                let wish = [("padding", padding), ("key-name-hint", "board")];
                let signed = make("fit", &plain, &key, &wish).unwrap();
                assert!(uboot.accepts(&signed, &format!("{name}.dtb")), "{case}");
                let tree = u32::from_be_bytes(signed[4..8].try_into().unwrap());
                assert!(tree.is_multiple_of(if layout.contains("-B") { 0x200 } else { 4 }), "{case}");
                assert!(accepted(&signed, &key.public), "{case}");
                assert!(!uboot.accepts(&signed, "other-rsa3072.dtb"), "{case}");
                assert!(!accepted(&signed, &other.public), "{case}");
                assert_eq!(inspect(&signed).unwrap().digest(), inspect(&plain).unwrap().digest(), "{case}");
                // Signing again replaces the signature; the same wish is the
                // same file, but that RSA-PSS is salted.
                let again = make("fit", &signed, &key, &wish).unwrap();
                assert_eq!(again.len(), signed.len(), "{case}");
                assert!(padding == "pss" || again == signed, "{case}");
                assert!(uboot.accepts(&again, &format!("{name}.dtb")), "{case}");
                for (what, found) in [
                    ("a kernel", find_bytes(&signed, &common::fixture("firmware.bin")) + 70),
                    ("a load address", find_bytes(&signed, &[0x40, 0x08, 0, 0]) + 1),
                    ("a description", find_bytes(&signed, b"a board")),
                    ("a name", find_bytes(&signed, b"conf-1\0\0")),
                    ("a hash", find_bytes(&signed, &hash_of(&uboot, &signed))),
                    (
                        "a signature",
                        find_bytes(&signed, &inspect(&signed).unwrap().signatures[0].signature.0),
                    ),
                ] {
                    let mut tampered = signed.clone();
                    tampered[found] ^= 1;
                    assert!(!accepted(&tampered, &key.public), "{what}: {case}");
                    assert!(!uboot.accepts(&tampered, &format!("{name}.dtb")), "{what}: {case}");
                }
            }
        }
    }
}

fn find_bytes(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len()).position(|window| window == wanted).expect("it is in the file")
}

fn hash_of(uboot: &Uboot, fit: &[u8]) -> Vec<u8> {
    uboot.write("hashed.itb", fit);
    let hex = uboot.ok("fdtget", "-t bx hashed.itb /images/kernel-1/hash-1 value");
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn we_read_what_mkimage_signs() {
    let uboot = Uboot::new();
    for name in ["rsa2048", "rsa3072"] {
        let key = TestKey::load(name);
        for layout in LAYOUTS {
            let signed = uboot.signed(name, "", layout);
            assert!(uboot.accepts(&signed, &format!("{name}.dtb")));
            let read = inspect(&signed).unwrap();
            let [signature] = read.signatures.as_slice() else { panic!("{name}") };
            assert!(verifies(signature, &key.public), "{name} {layout}");
            assert!(!accepted(&signed, &TestKey::load("other-rsa3072").public));
            // An owner replaces it, under the name that the node has.
            let own = TestKey::load("other-rsa3072");
            let mut replaced = make("fit", &signed, &own, &[]).unwrap();
            uboot.signed("other-rsa3072", "", "");
            assert!(uboot.accepts(&replaced, "other-rsa3072.dtb") && accepted(&replaced, &own.public));
            assert!(!uboot.accepts(&replaced, &format!("{name}.dtb")));
            let hint = uboot.write("replaced.itb", &replaced);
            let hint = uboot.ok(
                "fdtget",
                &format!("{} /configurations/conf-1/signature-1 key-name-hint", hint.display()),
            );
            assert_eq!(hint.trim(), name);
            replaced[100] ^= 1;
            assert!(!accepted(&replaced, &own.public));
        }
    }
    let read = inspect(&uboot.signed("rsa3072", "", "")).unwrap();
    assert_eq!((read.format.as_str(), read.target.as_deref()), ("fit", Some("arm64")));
    assert_eq!(read.load_addresses, [0x4008_0000]);
    let fields: Vec<_> = read.fields.iter().map(|own| format!("{}: {}", own.name, own.value)).collect();
    assert_eq!(fields[0], "description: a board");
    assert!(
        fields[2].starts_with("configuration conf-1: description one; kernel kernel-1; fdt fdt-1"),
        "{fields:?}"
    );
    assert!(
        fields[4].starts_with(
            "image kernel-1: description kernel; type kernel; arch arm64; os linux; compression none; \
             load 0x40080000; entry 0x40080000; "
        ),
        "{fields:?}"
    );
    let notes: Vec<_> = read.notes.iter().map(|own| format!("{}: {}", own.name, own.value)).collect();
    assert!(notes.iter().any(|note| note == "default: conf-1"), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("image fdt-2: ")), "{notes:?}");
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("signature-1 of conf-1: sha256,rsa3072, key rsa3072, by mkimage")),
        "{notes:?}"
    );
}

/// mkimage 2023.01 salts with as many bytes as fit, later ones with 32, and
/// U-Boot takes any number: a signature is read with both.
#[test]
fn we_read_what_mkimage_salts() {
    let uboot = Uboot::new();
    let key = TestKey::load("rsa3072");
    for layout in LAYOUTS {
        let signed = uboot.signed("rsa3072", "padding = \"pss\";", layout);
        assert!(uboot.accepts(&signed, "rsa3072.dtb"));
        let read = inspect(&signed).unwrap();
        let [short, long] = read.signatures.as_slice() else { panic!("{layout}") };
        assert!(verifies(short, &key.public) || verifies(long, &key.public), "{layout}");
        assert!(!accepted(&signed, &TestKey::load("other-rsa3072").public));
        assert_eq!(short.signature, long.signature);
        let own = make("fit", &signed, &key, &[("padding", "pss")]).unwrap();
        assert!(uboot.accepts(&own, "rsa3072.dtb") && accepted(&own, &key.public));
        assert!(verifies(&inspect(&own).unwrap().signatures[0], &key.public), "ours has 32 bytes");
    }
}

#[test]
fn what_is_signed_is_what_uboot_hashes() {
    let uboot = Uboot::new();
    // Its verifier on a host judges no ECDSA: where such a key is required it
    // refuses everything, and where none is it takes everything. Here OpenSSL
    // judges, over bytes that U-Boot's walk gives.
    let key = TestKey::load("p256");
    for layout in LAYOUTS {
        let plain = uboot.make("", "", layout);
        let signed = make("fit", &plain, &key, &[]).unwrap();
        assert!(accepted(&signed, &key.public));
        uboot.write("regions", &regions::hashed(&uboot, &signed, "conf-1", "signature-1"));
        let raw = &inspect(&signed).unwrap().signatures[0].signature.0;
        uboot.write("value", &firmseal_manifest::ecdsa::to_der(raw).unwrap());
        let line = "dgst -sha256 -verify p256.pub.pem -signature value regions";
        uboot.openssl.ok(line);
        let algorithm = uboot.ok("fdtget", "judged.itb /configurations/conf-1/signature-1 algo");
        assert_eq!(algorithm.trim(), "sha256,ecdsa256");
        let value = uboot.ok("fdtget", "-t bx judged.itb /configurations/conf-1/signature-1 value");
        assert_eq!(value.split_whitespace().count(), 64, "r and s, one behind the other");
        uboot.write("regions", &regions::hashed(&uboot, &plain_with(&signed), "conf-1", "signature-1"));
        assert!(!uboot.openssl.run(line).status.success());
    }
}

/// The same with another load address.
fn plain_with(signed: &[u8]) -> Vec<u8> {
    let mut changed = signed.to_vec();
    changed[find_bytes(signed, &[0x40, 0x08, 0, 0]) + 1] = 9;
    changed
}

#[test]
fn a_devicetree_is_no_fit() {
    let uboot = Uboot::new();
    let tree = uboot.openssl.read("board.dtb");
    assert_eq!(firmseal_formats::detect(&tree).unwrap().name(), "raw");
    let error = find("fit").unwrap().inspect(&tree).unwrap_err().to_string();
    assert!(error.contains("a devicetree, but no FIT"), "{error}");
}
