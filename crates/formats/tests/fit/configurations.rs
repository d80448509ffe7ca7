//! Several configurations in one file, and several signatures in one
//! configuration.

use crate::common::{TestKey, accepted, make, verifies};
use crate::peer::Uboot;
use firmseal_formats::{Covered, inspect};

const SECOND: &str = "conf-2 { description = \"two\"; kernel = \"kernel-1\"; fdt = \"fdt-2\"; };";

#[test]
fn each_configuration_is_signed_by_itself() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let key = TestKey::load("rsa3072");
    let plain = uboot.make("", SECOND, "-E");
    let first = make("fit", &plain, &key, &[]).unwrap();
    assert!(uboot.accepts(&first, "rsa3072.dtb") && accepted(&first, &key.public));
    assert!(!uboot.accepts_configuration(&first, "rsa3072.dtb", "conf-2"));
    let read = inspect(&first).unwrap();
    let loud = read.notes.iter().find(|note| note.name == "configuration conf-2").unwrap();
    assert_eq!(loud.value, "no signature: U-Boot that requires one does not start it");
    let both = make("fit", &first, &key, &[("configuration", "conf-2")]).unwrap();
    assert!(uboot.accepts(&both, "rsa3072.dtb"));
    assert!(uboot.accepts_configuration(&both, "rsa3072.dtb", "conf-2"));
    let read = inspect(&both).unwrap();
    assert_eq!(read.signatures.len(), 2);
    assert!(verifies(&read.signatures[0], &key.public));
    assert_eq!(
        read.signatures[1].covered,
        Covered::Unknown("it is over another configuration than the default one")
    );
    assert!(read.fields.iter().any(|field| field.name == "other image fdt-2"));
    // The other way round, both are the same in the end.
    let other = make("fit", &plain, &key, &[("configuration", "conf-2")]).unwrap();
    assert!(!accepted(&other, &key.public) && !uboot.accepts(&other, "rsa3072.dtb"));
    let other = make("fit", &other, &key, &[("configuration", "conf-1")]).unwrap();
    assert_eq!(inspect(&other).unwrap().digest(), read.digest());
    assert!(accepted(&other, &key.public) && uboot.accepts(&other, "rsa3072.dtb"));
    let error = make("fit", &plain, &key, &[("configuration", "conf-3")]).unwrap_err().to_string();
    assert!(error.contains("it has conf-1, conf-2"), "{error}");
}

/// Nothing covers which configuration is the default one.
#[test]
fn nobody_brings_a_default_of_their_own_under_a_good_signature() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let (key, thief) = (TestKey::load("rsa3072"), TestKey::load("other-rsa3072"));
    let signed = make("fit", &uboot.make("", SECOND, ""), &key, &[]).unwrap();
    let signed = make("fit", &signed, &thief, &[("configuration", "conf-2")]).unwrap();
    assert!(accepted(&signed, &key.public) && uboot.accepts(&signed, "rsa3072.dtb"));
    uboot.write("swapped.itb", &signed);
    uboot.ok("fdtput", "-t s swapped.itb /configurations default conf-2");
    let swapped = uboot.openssl.read("swapped.itb");
    assert!(!uboot.accepts(&swapped, "rsa3072.dtb"));
    assert!(!accepted(&swapped, &key.public), "the device would not start it");
    uboot.ok("fdtput", "-d swapped.itb /configurations default");
    let without = uboot.openssl.read("swapped.itb");
    assert!(!accepted(&without, &key.public));
    let error = make("fit", &without, &key, &[]).unwrap_err().to_string();
    assert!(error.contains("choose one of conf-1, conf-2"), "{error}");
}

/// Two keys sign one configuration where both have a node in it: a further
/// node would change what the first one has signed.
#[test]
fn two_owners_sign_where_there_is_room_for_both() {
    let uboot = Uboot::new();
    let (first, second) = (TestKey::load("rsa3072"), TestKey::load("rsa2048"));
    uboot.signed("rsa3072", "", "");
    uboot.signed("rsa2048", "", "");
    uboot.write("two.itb", &uboot.make("", "", ""));
    // By fdtput: mkimage would sign at once.
    for (number, name) in [("1", "one"), ("2", "two")] {
        let node = format!("two.itb /configurations/conf-1/signature-{number}");
        uboot.ok("fdtput", &format!("-c {node}"));
        uboot.ok("fdtput", &format!("-t s {node} key-name-hint {name}"));
    }
    let plain = uboot.openssl.read("two.itb");
    let error = make("fit", &plain, &first, &[]).unwrap_err().to_string();
    assert!(error.contains("say which one it takes the place of"), "{error}");
    let one = make("fit", &plain, &first, &[("signature", "signature-1")]).unwrap();
    let both = make("fit", &one, &second, &[("signature", "signature-2")]).unwrap();
    for (key, name) in [(&first, "rsa3072"), (&second, "rsa2048")] {
        assert!(accepted(&both, &key.public), "{name}");
        assert!(uboot.accepts(&both, &format!("{name}.dtb")), "{name}");
    }
    let error = make("fit", &one, &second, &[("signature", "signature-3")]).unwrap_err().to_string();
    assert!(error.contains("a new node would break the signatures"), "{error}");
}
