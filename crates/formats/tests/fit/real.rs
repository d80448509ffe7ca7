//! A real FIT: U-Boot for the ROCK64, of Debian's arm64 package.

use std::path::PathBuf;

use crate::common::{TestKey, accepted, make};
use crate::peer::Uboot;
use firmseal_formats::inspect;

fn rock64() -> Vec<u8> {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let venv = std::env::var_os("FIRMSEAL_VENV").map_or_else(|| target.join("venv"), PathBuf::from);
    let path = venv.join("share/u-boot/rock64.itb");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask setup`", path.display()))
}

#[test]
fn debians_uboot_for_a_board_is_inspected_and_signed() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let (key, image) = (TestKey::load("rsa3072"), rock64());
    let read = inspect(&image).unwrap();
    assert_eq!(read.format, "fit");
    assert_eq!(read.target.as_deref(), Some("arm64"));
    assert_eq!(read.load_addresses, [0x20_0000, 0x4_0000, 0xff09_0000]);
    assert!(read.fields.iter().any(|field| field.value.contains("firmware atf_1; loadables uboot, atf_2")));
    assert!(read.notes.iter().any(|note| note.name == "hash of atf_2"));
    // Debian's has no hashes: a signature would protect nothing of it.
    let error = make("fit", &image, &key, &[]).unwrap_err().to_string();
    assert!(error.contains("no hash") && error.contains("add-hashes=true"), "{error}");
    let signed = make("fit", &image, &key, &[("add-hashes", "true")]).unwrap();
    assert!(accepted(&signed, &key.public));
    let read = inspect(&signed).unwrap();
    assert!(read.fields.iter().any(|field| field.name == "image atf_2 sha256"));
    // What was there is there still, behind the tree.
    let total = |fit: &[u8]| u32::from_be_bytes(fit[4..8].try_into().unwrap()).next_multiple_of(4) as usize;
    assert_eq!(image[total(&image)..], signed[total(&signed)..]);
    let mut tampered = signed.clone();
    tampered[total(&signed) + 300_000] ^= 1;
    assert!(inspect(&tampered).unwrap_err().to_string().contains("image `uboot` does not match its sha256"));
    // The judge loads kernels alone: OpenSSL says that what was signed is
    // what U-Boot hashes.
    let hashed = crate::regions::hashed(&uboot, &signed, "config_1", "signature-1");
    uboot.write("regions", &hashed);
    uboot.write("value", &read.signatures[0].signature.0);
    uboot.openssl.ok("dgst -sha256 -verify rsa3072.pub.pem -signature value regions");
    for image in ["uboot", "atf_1", "atf_2", "fdt_1"] {
        uboot.ok("fdtget", &format!("judged.itb /images/{image}/hash-1 value"));
    }
}

/// libfdt makes the tree, and says otherwise than dtc what it is compatible with.
#[test]
fn what_mkimage_makes_without_a_description_is_read() {
    let uboot = Uboot::new();
    let line = "-f auto -A arm64 -O linux -T kernel -C none -a 0x40080000 -e 0x40080000 -n board -d kernel -b board.dtb";
    uboot.ok("mkimage", &format!("{line} auto.itb"));
    let image = uboot.openssl.read("auto.itb");
    assert_eq!(image[24..28], 2u32.to_be_bytes());
    let read = inspect(&image).unwrap();
    assert_eq!((read.target.as_deref(), read.load_addresses), (Some("arm64"), vec![0x4008_0000]));
    // Its hashes are CRC-32, which protects nothing.
    let error = make("fit", &image, &TestKey::load("rsa3072"), &[]).unwrap_err().to_string();
    assert!(error.contains("a hash that is not SHA-256"), "{error}");
}
