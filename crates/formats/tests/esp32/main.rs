//! ESP32 images: espsecure and esptool judge ours, and we read theirs. Given the
//! same signature both write the same file.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;

use common::{OpenSsl, TestKey, accepted, fixture, verifies};
use firmseal_formats::{FormatError, Inspection, inspect};
use firmseal_manifest::{KeyAlgorithm, ecdsa};
use peer::{KEYS, app, elf, make, mended, run, verify_all};

fn keys() -> OpenSsl {
    OpenSsl::new(&["rsa3072", "p256", "p384", "other-rsa3072", "other-p256", "other-p384"])
}

fn field<'a>(all: &'a [firmseal_formats::Field], name: &str) -> Option<&'a str> {
    all.iter().find(|own| own.name == name).map(|own| own.value.as_str())
}

/// The signature of the last block, as espsecure takes it.
fn last_signature(signed: &Inspection) -> Vec<u8> {
    let own = signed.signatures.last().unwrap();
    match own.algorithm {
        KeyAlgorithm::Rsa(_) => own.signature.0.clone(),
        _ => ecdsa::to_der(&own.signature.0).unwrap(),
    }
}

#[test]
fn espsecure_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = keys();
    for (name, chip) in KEYS {
        let (key, stranger) = (TestKey::load(name), TestKey::load(&format!("other-{name}")));
        let plain = app(chip, "v1.2.3", 7);
        let good = make(&plain, &key, "1.2.3", 7, &[]).unwrap();
        assert_eq!(good.len(), 8192);
        // Padded by its build, or signed by somebody else: what is signed is the same.
        let padded = [&plain[..], &vec![0xff; 4096 - plain.len()]].concat();
        let resigned =
            make(&make(&padded, &stranger, "1.2.3", 7, &[]).unwrap(), &key, "1.2.3", 7, &[]).unwrap();
        assert_eq!(resigned[..4096], good[..4096]);
        assert_eq!(resigned[4096..4096 + 36], good[4096..4096 + 36]);
        let changed = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        };
        // The version, a segment, the padding, the block's digest and signature.
        let bad = [50, 300, 4000, 4096 + 4, 4096 + 150].map(changed);
        assert!(bad.iter().all(|bad| !accepted(bad, &key.public)), "{name}");
        assert!(accepted(&good, &key.public) && accepted(&resigned, &key.public), "{name}");
        assert!(!accepted(&good, &stranger.public), "{name}");
        let all = [vec![good, resigned], bad.to_vec()].concat();
        assert_eq!(
            verify_all(&openssl, name, &all),
            [true, true, false, false, false, false, false],
            "{name}"
        );
        assert_eq!(verify_all(&openssl, &format!("other-{name}"), &all[..2]), [false; 2], "{name}");
        let text = run("esptool", &openssl, "image-info 0.bin");
        for line in ["App version: v1.2.3", "Secure version: 7", "(valid)"] {
            assert!(text.contains(line), "{text}");
        }
    }
}

#[test]
fn espsecure_and_we_write_the_same_around_a_signature() {
    let openssl = keys();
    for (name, chip) in [("rsa3072", 13), ("p256", 13), ("p384", 23)] {
        let (first, second) = (TestKey::load(name), TestKey::load(&format!("other-{name}")));
        let plain = app(chip, "1.2.3", 7);
        let one = make(&plain, &first, "1.2.3", 7, &[]).unwrap();
        openssl.write("padded.bin", &one[..4096]);
        openssl.write("one.sig", &last_signature(&inspect(&one).unwrap()));
        let line = "sign-data --version 2";
        run(
            "espsecure",
            &openssl,
            &format!("{line} --pub-key {name}.pub.pem --signature one.sig --output one.bin padded.bin"),
        );
        assert_eq!(openssl.read("one.bin"), one, "{name}");
        let two = make(&one, &second, "1.2.3", 7, &[("append", "true")]).unwrap();
        openssl.write("two.sig", &last_signature(&inspect(&two).unwrap()));
        run(
            "espsecure",
            &openssl,
            &format!(
                "{line} --append-signatures --pub-key other-{name}.pub.pem --signature two.sig --output two.bin one.bin"
            ),
        );
        assert_eq!(openssl.read("two.bin"), two, "{name}");
        for key in [&first, &second] {
            assert!(accepted(&two, &key.public), "{name}");
            assert_eq!(verify_all(&openssl, &key.name, std::slice::from_ref(&two)), [true], "{name}");
            // Which of them is in the fuses decides.
            run(
                "espsecure",
                &openssl,
                &format!("digest-sbv2-public-key --keyfile {}.pub.pem --output d", key.name),
            );
            let digest: String = openssl.read("d").iter().map(|byte| format!("{byte:02x}")).collect();
            let notes = inspect(&two).unwrap().notes;
            assert!(
                notes.iter().any(|own| own.name.ends_with("key digest") && own.value == digest),
                "{name}"
            );
        }
        let error = make(&two, &first, "1.2.3", 7, &[("append", "true")]).unwrap_err().to_string();
        assert!(error.contains("by this key already"), "{error}");
        let replaced = make(&two, &second, "1.2.3", 7, &[]).unwrap();
        assert_eq!(inspect(&replaced).unwrap().signatures.len(), 1);
    }
    // A full sector, and chips that look at one block only.
    openssl.write("app.bin", &app(13, "1.2.3", 7));
    openssl.ok("ecparam -name prime256v1 -genkey -noout -out third.pem");
    run(
        "espsecure",
        &openssl,
        "sign-data --version 2 --keyfile p256.pem other-p256.pem third.pem --output full.bin app.bin",
    );
    let full = openssl.read("full.bin");
    let read = inspect(&full).unwrap();
    assert_eq!(read.signatures.len(), 3);
    assert!(verifies(&read.signatures[0], &TestKey::load("p256").public));
    assert!(verifies(&read.signatures[1], &TestKey::load("other-p256").public));
    let error =
        make(&full, &TestKey::load("p256"), "1.2.3", 7, &[("append", "true")]).unwrap_err().to_string();
    assert!(error.contains("3 of the 3 signatures"), "{error}");
    let one = fixture("esp32/rsa3072.bin");
    let error = make(&one, &TestKey::load("other-rsa3072"), "1.2.3", 7, &[("append", "true")]).unwrap_err();
    assert!(error.to_string().contains("1 of the 1 signatures that an esp32"), "{error}");
    // Signatures of one kind only.
    let error = make(&fixture("esp32/p384.bin"), &TestKey::load("p256"), "1.2.3", 7, &[("append", "true")]);
    assert!(error.unwrap_err().to_string().contains("of another kind"));
}

#[test]
fn we_read_what_espsecure_signs() {
    for (name, chip) in [("rsa3072", "esp32"), ("p256", "esp32c6"), ("p384", "esp32c5")] {
        let read = inspect(&fixture(&format!("esp32/{name}.bin"))).unwrap();
        let [signature] = read.signatures.as_slice() else { panic!("{name}") };
        assert!(verifies(signature, &TestKey::load(name).public), "{name}");
        assert!(!verifies(signature, &TestKey::load(&format!("other-{name}")).public), "{name}");
        assert_eq!((read.target.as_deref(), read.epoch), (Some(chip), Some(7)), "{name}");
        assert_eq!((read.version.as_deref(), read.image_size), (Some("1.2.3"), 560), "{name}");
        let flash = if chip == "esp32" { 0x3f40_0020 } else { 0x4200_0020 };
        assert_eq!(read.load_addresses, [flash, 0x4008_0000]);
        for (name, value) in [
            ("app version", "v1.2.3"),
            ("project", "lab"),
            ("built", "Nov 21 2026 12:00:00"),
            ("esp-idf", "v5.4"),
            ("entry point", "0x40080004"),
            ("chip revisions", "v0.0 to v3.99"),
            ("own hash", "appended"),
        ] {
            assert_eq!(field(&read.fields, name), Some(value), "{name}");
        }
    }
    let unsigned = inspect(&fixture("esp32/esp32.bin")).unwrap();
    assert_eq!(unsigned.digest(), inspect(&fixture("esp32/rsa3072.bin")).unwrap().digest());
    // P-192, which C2 and C6 verify and no key here is of.
    let openssl = keys();
    openssl.ok("ecparam -name prime192v1 -genkey -noout -out p192.pem");
    openssl.write("app.bin", &app(12, "1.2.3", 7));
    run("espsecure", &openssl, "sign-data --version 2 --keyfile p192.pem --output p192.bin app.bin");
    let read = inspect(&openssl.read("p192.bin")).unwrap();
    assert!(read.signatures.is_empty());
    assert!(field(&read.notes, "signature block 1").unwrap().starts_with("P-192"));
    let owned = make(&openssl.read("p192.bin"), &TestKey::load("p256"), "1.2.3", 7, &[]).unwrap();
    assert_eq!(verify_all(&openssl, "p256", &[owned]), [true]);
}

/// What `esptool elf2image` makes of a program, padded to a page of flash as
/// builds with Secure Boot on the ESP32 have it.
#[test]
fn an_image_of_elf2image_is_signed() {
    let openssl = keys();
    let plain = fixture("esp32/esp32.bin");
    let elf = elf(&[(0x3f40_0020, &plain[32..288]), (0x4008_0000, &plain[296..496])]);
    openssl.write("app.elf", &elf);
    run(
        "esptool",
        &openssl,
        "--chip esp32 elf2image --use-segments --secure-pad-v2 --output app.bin app.elf",
    );
    let image = openssl.read("app.bin");
    let key = TestKey::load("rsa3072");
    let signed = make(&image, &key, "1.2.3", 7, &[]).unwrap();
    assert_eq!(signed.len() as u64, inspect(&image).unwrap().image_size.next_multiple_of(4096) + 4096);
    assert!(accepted(&signed, &key.public));
    assert_eq!(verify_all(&openssl, "rsa3072", &[signed]), [true]);
}

#[test]
fn the_order_says_what_the_app_says() {
    let key = TestKey::load("p256");
    for (version, order) in [
        ("1.2.3", "1.2.3"),
        ("v1.2", "1.2.0"),
        ("1", "1.0.0"),
        ("v1.2.3-4-g1234567-dirty", "1.2.3-4-g1234567-dirty"),
    ] {
        let image = app(13, version, 7);
        assert!(make(&image, &key, order, 7, &[]).is_ok(), "{version}");
        for (wrong, epoch) in [("1.2.4", 7), (order, 6), (order, 8), (order, 1 << 32 | 7)] {
            let error = make(&image, &key, wrong, epoch, &[]).unwrap_err();
            assert!(matches!(error, FormatError::Disagrees { .. }), "{version}: {error}");
        }
    }
    let unnamed = app(13, "latest", 7);
    let read = inspect(&unnamed).unwrap();
    assert_eq!((read.version.as_deref(), field(&read.fields, "app version")), (None, Some("latest")));
    let error = make(&unnamed, &key, "1.2.3", 7, &[]).unwrap_err().to_string();
    assert!(error.contains("PROJECT_VER"), "{error}");
    // A bootloader: no app's version, no secure version that is compared.
    let mut bootloader = app(13, "1.2.3", 7);
    let mut description = [0; 256];
    description[0] = 0x50;
    description[4] = 3;
    description[8..12].copy_from_slice(b"v5.4");
    description[40..51].copy_from_slice(b"Nov 21 2026");
    bootloader[32..288].copy_from_slice(&description);
    let bootloader = mended(bootloader);
    let read = inspect(&bootloader).unwrap();
    assert_eq!((read.version.as_deref(), read.epoch), (None, None));
    assert_eq!(field(&read.fields, "bootloader version"), Some("3"));
    assert_eq!(field(&read.fields, "esp-idf"), Some("v5.4"));
    assert!(make(&bootloader, &key, "9.9.9", 1, &[]).is_ok());
}

#[test]
fn chips_get_keys_that_they_verify_with() {
    for (chip, name, takes) in [
        (0, "p256", false),
        (2, "p384", false),
        (5, "p256", false),
        (9, "p256", false),
        (9, "rsa3072", true),
        (12, "rsa3072", false),
        (12, "p384", false),
        (12, "p256", true),
        (13, "rsa3072", true),
        (18, "p384", true),
        // A chip that is newer than this list.
        (63, "p256", true),
        (13, "rsa2048", false),
        (13, "ed25519", false),
    ] {
        let made = make(&app(chip, "1.2.3", 7), &TestKey::load(name), "1.2.3", 7, &[]);
        match takes {
            true => assert!(made.is_ok(), "{chip} {name}"),
            false => assert!(matches!(made, Err(FormatError::KeyAlgorithm { .. })), "{chip} {name}"),
        }
    }
}
