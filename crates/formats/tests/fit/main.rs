//! FIT images: U-Boot's own verifier (fit_check_sign, built from Debian's
//! source of U-Boot) is the judge of ours, and we read what mkimage signs. RSA
//! and ECDSA, with Debian's U-Boot itself in a machine as the second judge.
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
use firmseal_formats::{ControlKey, control_tree, find, inspect};
use peer::Uboot;

/// Ways in which images are kept: in the tree, behind it, behind it on
/// sectors, at a place in the file.
const LAYOUTS: [&str; 4] = ["", "-E", "-E -B 0x200", "-E -p 0x2000"];

#[test]
fn fit_check_sign_accepts_ours_and_refuses_tampered_and_foreign() {
    let uboot = Uboot::new();
    let other = TestKey::load("other-rsa3072");
    uboot.signed("other-rsa3072", "", "");
    for name in ["rsa2048", "rsa3072", "rsa4096"] {
        let key = TestKey::load(name);
        uboot.signed(name, "", "");
        // Once is enough of the others.
        for layout in LAYOUTS.into_iter().take(if name == "rsa3072" { 4 } else { 1 }) {
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
                for (what, found) in places(&uboot, &signed) {
                    let mut tampered = signed.clone();
                    tampered[found] ^= 1;
                    assert!(!accepted(&tampered, &key.public), "{what}: {case}");
                    assert!(!uboot.accepts(&tampered, &format!("{name}.dtb")), "{what}: {case}");
                }
            }
        }
    }
}

/// Something of each kind that is signed, and the signature: what, and where.
fn places(uboot: &Uboot, signed: &[u8]) -> [(&'static str, usize); 6] {
    [
        ("a kernel", find_bytes(signed, &common::fixture("firmware.bin")) + 70),
        ("a load address", find_bytes(signed, &[0x40, 0x08, 0, 0]) + 1),
        ("a description", find_bytes(signed, b"a board")),
        ("a name", find_bytes(signed, b"conf-1\0\0")),
        ("a hash", find_bytes(signed, &hash_of(uboot, signed))),
        ("a signature", find_bytes(signed, &inspect(&signed.to_vec()).unwrap().signatures[0].signature.0)),
    ]
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
    for name in ["rsa2048", "rsa3072", "rsa4096"] {
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

/// Debian's verifier for hosts looks for ECDSA keys in files: set-up has it read
/// them from the devicetree, as U-Boot does, and changes nothing else of it.
#[test]
fn fit_check_sign_accepts_our_ecdsa_and_refuses_tampered_and_foreign() {
    let uboot = Uboot::new();
    let (key, other) = (TestKey::load("p256"), TestKey::load("other-p256"));
    for (name, key) in [("p256.dtb", &key), ("other.dtb", &other)] {
        let wanted = ControlKey { key: &key.public, hint: "board", any: false };
        uboot.write(name, &control_tree(&uboot.openssl.read("empty.dtb"), &wanted).unwrap());
        uboot.requires(name, "board");
    }
    for layout in LAYOUTS {
        let plain = uboot.make("", "", layout);
        assert!(!uboot.accepts_ecdsa(&plain, "p256.dtb"), "unsigned, {layout}");
        let signed = make("fit", &plain, &key, &[("key-name-hint", "board")]).unwrap();
        assert!(uboot.accepts_ecdsa(&signed, "p256.dtb") && accepted(&signed, &key.public), "{layout}");
        assert!(!uboot.accepts_ecdsa(&signed, "other.dtb") && !accepted(&signed, &other.public), "{layout}");
        let foreign = make("fit", &signed, &other, &[]).unwrap();
        assert!(uboot.accepts_ecdsa(&foreign, "other.dtb") && !uboot.accepts_ecdsa(&foreign, "p256.dtb"));
        for (what, at) in places(&uboot, &signed) {
            let mut tampered = signed.clone();
            tampered[at] ^= 1;
            assert!(!accepted(&tampered, &key.public), "{what}: {layout}");
            assert!(!uboot.accepts_ecdsa(&tampered, "p256.dtb"), "{what}: {layout}");
        }
    }
    // It judges RSA as ever.
    let rsa = uboot.signed("rsa3072", "", "");
    assert!(uboot.accepts_ecdsa(&rsa, "rsa3072.dtb") && !uboot.accepts_ecdsa(&rsa, "p256.dtb"));
}

/// What mkimage signs with ECDSA. Its node for the key is not required: ours is.
#[test]
fn we_read_what_mkimage_signs_with_ecdsa() {
    let uboot = Uboot::new();
    let key = TestKey::load("p256");
    let wanted = ControlKey { key: &key.public, hint: "board", any: false };
    uboot.write("p256.dtb", &control_tree(&uboot.openssl.read("empty.dtb"), &wanted).unwrap());
    let node = "signature-1 { algo = \"sha256,ecdsa256\"; key-name-hint = \"p256\"; \
                sign-images = \"kernel\", \"fdt\"; };";
    for layout in LAYOUTS {
        let signed = uboot.make(node, "", &format!("-k . {layout}"));
        assert!(uboot.accepts_ecdsa(&signed, "p256.dtb") && accepted(&signed, &key.public), "{layout}");
        assert!(!accepted(&signed, &TestKey::load("other-p256").public), "{layout}");
    }
}

/// The bytes by a walk of our own, for a signature by a key of any kind.
#[test]
fn what_is_signed_is_what_uboot_hashes() {
    let uboot = Uboot::new();
    let key = TestKey::load("p256");
    for layout in LAYOUTS {
        let signed = make("fit", &uboot.make("", "", layout), &key, &[]).unwrap();
        uboot.write("regions", &regions::hashed(&uboot, &signed, "conf-1", "signature-1"));
        let raw = &inspect(&signed).unwrap().signatures[0].signature.0;
        assert_eq!(raw.len(), 64, "r and s, one behind the other");
        uboot.write("value", &firmseal_manifest::ecdsa::to_der(raw).unwrap());
        uboot.openssl.ok("dgst -sha256 -verify p256.pub.pem -signature value regions");
    }
}

#[test]
fn a_devicetree_is_no_fit() {
    let uboot = Uboot::new();
    let tree = uboot.openssl.read("board.dtb");
    assert_eq!(firmseal_formats::detect(&tree).unwrap().name(), "raw");
    let error = find("fit").unwrap().inspect(&tree).unwrap_err().to_string();
    assert!(error.contains("a devicetree, but no FIT"), "{error}");
}
