//! Keys in U-Boot's devicetree: what `mkimage -K` writes, property by
//! property, and what its verifier takes.

use crate::common::{TestKey, make};
use crate::peer::Uboot;
use firmseal_formats::{ControlKey, FormatError, control_tree};

#[test]
fn keys_are_what_mkimage_writes() {
    let uboot = Uboot::new();
    for name in ["rsa2048", "rsa3072"] {
        uboot.signed(name, "", "");
        let key = TestKey::load(name);
        let wanted = ControlKey { key: &key.public, hint: name, any: false };
        let ours = control_tree(&uboot.openssl.read("empty.dtb"), &wanted).unwrap();
        uboot.write("ours.dtb", &ours);
        let node = format!("/signature/key-{name}");
        let list = |tree: &str| {
            let mut list: Vec<String> =
                uboot.ok("fdtget", &format!("-p {tree} {node}")).lines().map(str::to_owned).collect();
            list.sort();
            list
        };
        let names = list("ours.dtb");
        assert_eq!(names, list(&format!("{name}.dtb")));
        assert_eq!(names.len(), 8);
        for property in names {
            let value = |tree: &str| uboot.ok("fdtget", &format!("-t bx {tree} {node} {property}"));
            assert_eq!(value("ours.dtb"), value(&format!("{name}.dtb")), "{property}");
        }
        // And with it the judge takes what that key signs, and nothing else.
        let signed = make("fit", &uboot.make("", "", ""), &key, &[]).unwrap();
        assert!(uboot.accepts(&signed, "ours.dtb"));
        let foreign = make("fit", &signed, &TestKey::load("other-rsa3072"), &[]).unwrap();
        assert!(!uboot.accepts(&foreign, "ours.dtb"));
        // Again changes nothing; another key under the name takes its place.
        assert_eq!(control_tree(&ours, &wanted).unwrap(), ours);
        let other = TestKey::load("other-rsa3072");
        let replaced = control_tree(&ours, &ControlKey { key: &other.public, ..wanted }).unwrap();
        uboot.write("replaced.dtb", &replaced);
        assert!(uboot.accepts(&foreign, "replaced.dtb") && !uboot.accepts(&signed, "replaced.dtb"));
    }
}

#[test]
fn one_of_two_keys_is_enough_if_it_is_said() {
    let uboot = Uboot::new();
    let (old, new) = (TestKey::load("rsa2048"), TestKey::load("rsa3072"));
    let first = ControlKey { key: &old.public, hint: "old", any: false };
    let second = ControlKey { key: &new.public, hint: "new", any: false };
    let one = control_tree(&uboot.openssl.read("empty.dtb"), &first).unwrap();
    uboot.write("both.dtb", &control_tree(&one, &second).unwrap());
    uboot.write("any.dtb", &control_tree(&one, &ControlKey { any: true, ..second }).unwrap());
    let plain = uboot.make("", "", "");
    for key in [&old, &new] {
        let signed = make("fit", &plain, key, &[]).unwrap();
        assert!(!uboot.accepts(&signed, "both.dtb"), "the other one has not signed");
        assert!(uboot.accepts(&signed, "any.dtb"));
    }
    assert!(!uboot.accepts(&plain, "any.dtb"));
    let foreign = make("fit", &plain, &TestKey::load("other-rsa3072"), &[]).unwrap();
    assert!(!uboot.accepts(&foreign, "any.dtb"));
    // In a tree without keys, and where it was said before.
    let alone = control_tree(&uboot.openssl.read("empty.dtb"), &ControlKey { any: true, ..first }).unwrap();
    assert_eq!(control_tree(&alone, &ControlKey { any: true, ..first }).unwrap(), alone);
    // And where there is a node for keys, and none in it.
    uboot.write("node.dts", b"/dts-v1/; / { signature { }; };");
    uboot.ok("dtc", "-q -I dts -O dtb -o node.dtb node.dts");
    let node = control_tree(&uboot.openssl.read("node.dtb"), &ControlKey { any: true, ..first }).unwrap();
    uboot.write("node.dtb", &node);
    assert!(uboot.accepts(&make("fit", &plain, &old, &[]).unwrap(), "node.dtb"));
    assert_eq!(control_tree(&node, &ControlKey { any: true, ..first }).unwrap(), node);
    uboot.write("alone.dtb", &alone);
    assert_eq!(uboot.ok("fdtget", "alone.dtb /signature required-mode").trim(), "any");
}

#[test]
fn a_p256_key_is_a_point() {
    let uboot = Uboot::new();
    let key = TestKey::load("p256");
    // What else is in a tree stays: this one reserves memory, and has unit
    // addresses.
    uboot.write(
        "board.dts",
        b"/dts-v1/; /memreserve/ 0x1000 0x2000; / { a@1 { reg = <1>; }; signature { key-x { algo = \"y\"; }; }; };",
    );
    uboot.ok("dtc", "-q -I dts -O dtb -o board.dtb board.dts");
    let wanted = ControlKey { key: &key.public, hint: "board-1", any: false };
    let tree = control_tree(&uboot.openssl.read("board.dtb"), &wanted).unwrap();
    uboot.write("ours.dtb", &tree);
    let text = uboot.ok("dtc", "-q -I dtb -O dts ours.dtb");
    assert!(text.contains("/memreserve/\t0x0000000000001000 0x0000000000002000;"), "{text}");
    assert!(text.contains("reg = <0x01>") && text.contains("key-x"), "{text}");
    let value = |name: &str| uboot.ok("fdtget", &format!("-t bx ours.dtb /signature/key-board-1 {name}"));
    let said = |name: &str| uboot.ok("fdtget", &format!("ours.dtb /signature/key-board-1 {name}"));
    let bytes = |name: &str| -> Vec<u8> {
        value(name).split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    let point = key.public.bits();
    assert_eq!(
        (bytes("ecdsa,x-point"), bytes("ecdsa,y-point")),
        (point[1..33].to_vec(), point[33..].to_vec())
    );
    for (name, text) in [
        ("required", "conf"),
        ("algo", "sha256,ecdsa256"),
        ("key-name-hint", "board-1"),
        ("ecdsa,curve", "prime256v1"),
    ] {
        assert_eq!(said(name).trim(), text);
    }
}

#[test]
fn keys_that_uboot_does_not_know_and_trees_that_are_none_are_refused() {
    let uboot = Uboot::new();
    let (key, empty) = (TestKey::load("rsa3072"), uboot.openssl.read("empty.dtb"));
    let wanted = ControlKey { key: &key.public, hint: "board", any: false };
    for name in ["ed25519", "p384"] {
        let key = TestKey::load(name);
        let refused = control_tree(&empty, &ControlKey { key: &key.public, ..wanted });
        assert!(matches!(refused, Err(FormatError::KeyAlgorithm { .. })), "{name}");
    }
    for hint in ["", "a/b", "a@1", "a b", "a-name-of-more-than-31-characters-in-all"] {
        assert!(control_tree(&empty, &ControlKey { hint, ..wanted }).is_err(), "{hint}");
    }
    let fit = uboot.make("", "", "");
    let error = control_tree(&fit, &wanted).unwrap_err().to_string();
    assert!(error.contains("devicetree: it is a FIT"), "{error}");
    assert!(control_tree(&empty[..empty.len() - 1], &wanted).is_err());
    assert!(control_tree(b"text", &wanted).is_err());
}
