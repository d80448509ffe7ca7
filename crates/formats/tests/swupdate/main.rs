//! SWUpdate packages: swupdate and OpenSSL are the judges of ours, and we read
//! what cpio and swugenerator make.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;
mod signatures;

use std::process::Command;

use common::{OpenSsl, TestKey, accepted, fixture, make, verifies};
use firmseal_formats::{FormatError, inspect};
use peer::{Device, IMAGE, SCRIPT, archive, json, libconfig, package, sha256};

const HERE: &str = "-H test:1.0";

#[test]
fn swupdate_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = OpenSsl::new(&["p256", "p384", "rsa2048", "rsa3072", "other-p256"]);
    let device = Device::new(&openssl);
    let cases = [
        ("p256", "070702", libconfig("1.0.0"), ""),
        ("p384", "070701", json("1.0.0"), ""),
        ("rsa2048", "070702", json("1.0.0"), "pss"),
        ("rsa3072", "070701", libconfig("1.0.0"), "pkcs1"),
    ];
    for (name, magic, description, padding) in cases {
        let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
        let mut wish = vec![("certificate", certificate.as_str()), ("signing-time", "2026-11-21T12:00:00Z")];
        wish.extend((!padding.is_empty()).then_some(("padding", padding)));
        let plain = package(magic, &description);
        let signed = make("swupdate", &plain, &key, &wish).unwrap();
        assert!(accepted(&signed, &key.public) && device.takes(&signed, name, HERE), "{name}");
        assert!(!accepted(&signed, &TestKey::load("other-p256").public), "{name}");
        if name != "p256" {
            continue;
        }
        assert!(!device.takes(&signed, "other-p256", HERE), "foreign");
        assert!(!device.takes(&plain, name, HERE) && !accepted(&plain, &key.public), "unsigned");
        let changed = |from: &[u8], to: &[u8]| {
            let at = signed.windows(from.len()).position(|window| window == from).unwrap();
            let mut out = signed.clone();
            out[at..at + to.len()].copy_from_slice(to);
            out
        };
        let edits: [(&str, &[u8], &[u8]); 4] = [
            ("description", b"1.0.0", b"1.0.1"),
            ("image", IMAGE, b"W"),
            ("script", SCRIPT, b"P"),
            ("name", b"rootfs.img\0", b"R"),
        ];
        for (what, from, to) in edits {
            let bad = changed(from, to);
            assert!(!accepted(&bad, &key.public) && !device.takes(&bad, name, HERE), "{name}: {what}");
        }
    }
}

#[test]
fn a_device_keeps_its_own_rules() {
    let openssl = OpenSsl::new(&["p256"]);
    let device = Device::new(&openssl);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let wish = [("certificate", certificate.as_str())];
    let signed = make("swupdate", &package("070702", &libconfig("1.0.0")), &key, &wish).unwrap();
    assert!(device.takes(&signed, "p256", "-H test:1.1 -N 0.9.0"));
    assert!(!device.takes(&signed, "p256", "-H test:2.0"), "made for other hardware");
    assert!(!device.takes(&signed, "p256", "-H test:1.0 -N 2.0.0"), "an older version");
    assert!(!device.takes(&signed, "p256", "-H test:1.0 -R 1.0.0"), "the same version");
    // What the certificate is for counts.
    assert!(device.takes(&signed, "p256", "-H test:1.0 --cert-purpose codeSigning"));
    openssl.ok("req -x509 -new -key p256.pem -subj /CN=x -days 30 -out code.crt -addext extendedKeyUsage=codeSigning");
    let code = openssl.text("code.crt");
    let signed =
        make("swupdate", &package("070702", &libconfig("1.0.0")), &key, &[("certificate", &code)]).unwrap();
    assert!(!device.takes(&signed, "code", HERE), "its purpose is no e-mail");
    assert!(device.takes(&signed, "code", "-H test:1.0 --cert-purpose codeSigning"));
}

#[test]
fn nothing_but_the_signature_changes() {
    let openssl = OpenSsl::new(&["p256", "rsa3072"]);
    let (first, second) = (TestKey::load("p256"), TestKey::load("rsa3072"));
    let (one, two) = (openssl.text("p256.crt"), openssl.text("rsa3072.crt"));
    let plain = package("070702", &libconfig("1.0.0"));
    let signed = make("swupdate", &plain, &first, &[("certificate", &one)]).unwrap();
    assert_eq!(signed.len() % 512, 0);
    openssl.write("x.swu", &signed);
    // cpio unpacks it, in this order.
    let cpio = |option: &str| {
        let mut command = Command::new("cpio");
        command.args(["-i", "--quiet", option, "-F", "x.swu"]).current_dir(openssl.dir.path());
        let out = command.output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(cpio("-t"), "sw-description\nsw-description.sig\nrootfs.img\nafter.sh\n");
    cpio("-u");
    let signature = openssl.read("sw-description.sig");
    assert_eq!((openssl.read("rootfs.img"), openssl.read("after.sh")), (IMAGE.to_vec(), SCRIPT.to_vec()));
    openssl.ok("cms -verify -binary -inform DER -in sw-description.sig -content sw-description -CAfile p256.crt -out out");
    // Without the signature it is what it was.
    let at = signed.windows(6).skip(6).position(|window| window == b"070702").unwrap() + 6;
    let member = (110 + 19usize).next_multiple_of(4) + signature.len().next_multiple_of(4);
    let mut without = [&signed[..at], &signed[at + member..]].concat();
    without.resize(plain.len(), 0);
    let differ = without.iter().zip(&plain).position(|(one, other)| one != other);
    assert_eq!(differ, None, "nothing else has changed");
    // Another owner's signature takes its place, of any length.
    let wish = [("certificate", two.as_str()), ("padding", "pkcs1")];
    let again = make("swupdate", &signed, &second, &wish).unwrap();
    assert!(again == make("swupdate", &plain, &second, &wish).unwrap(), "as if there had been none");
    assert!(accepted(&again, &second.public) && !accepted(&again, &first.public));
    assert_eq!(inspect(&again).unwrap().digest(), inspect(&plain).unwrap().digest());
    // An archive that is not filled up stays so.
    let end = plain.windows(11).position(|window| window == b"TRAILER!!!\0").unwrap() + 11;
    let short = make("swupdate", &plain[..end].to_vec(), &first, &[("certificate", &one)]).unwrap();
    assert!(short.ends_with(b"TRAILER!!!\0"));
}

#[test]
fn what_others_pack_is_read() {
    let read = inspect(&fixture("swupdate/cms_p256.bin")).unwrap();
    assert!(verifies(&read.signatures[0], &TestKey::load("p256").public));
    assert_eq!(
        (read.version.as_deref(), read.target.as_deref(), read.image_size, read.encrypted),
        (Some("1.0.0"), Some("1.0, gateway:2.0, gateway:2.1"), 16, false)
    );
    let fields: Vec<_> = read.fields.iter().map(|own| format!("{}: {}", own.name, own.value)).collect();
    let (rootfs, after) = (sha256(b"rootfs"), sha256(b"echo done\n"));
    assert_eq!(
        fields[..fields.len() - 1],
        [
            "bootenv: name=slot, value=b",
            "description: fixture",
            "gateway.hardware-compatibility: 2.0, 2.1",
            &format!("gateway.images: device=/dev/mmcblk0p2, filename=rootfs.img, sha256={rootfs}, type=raw"),
            "hardware-compatibility: 1.0",
            &format!("scripts: filename=after.sh, sha256={after}, type=postinstall"),
            "version: 1.0.0",
        ]
    );
    assert_eq!(read.digest(), inspect(&fixture("swupdate/unsigned.bin")).unwrap().digest());
    let bare = inspect(&fixture("swupdate/pkcs1_rsa2048.bin")).unwrap();
    assert!(bare.signatures.iter().any(|own| verifies(own, &TestKey::load("rsa2048").public)));
}

/// Debian's swugenerator makes packages of a template, and signs them.
#[test]
fn what_swugenerator_makes_is_read_and_signed_again() {
    let openssl = OpenSsl::new(&["p256", "rsa3072"]);
    let device = Device::new(&openssl);
    openssl.write("rootfs.img", IMAGE);
    openssl.write("after.sh", SCRIPT);
    let template = "software = { version = \"1.0.0\"; hardware-compatibility: [ \"1.0\" ];
        images: ( { filename = \"rootfs.img\"; type = \"raw\"; device = \"/dev/null\"; compressed = \"zlib\"; sha256 = \"@rootfs.img\"; } );
        scripts: ( { filename = \"after.sh\"; type = \"shellscript\"; sha256 = \"@after.sh\"; } ); };\n";
    openssl.write("template", template.as_bytes());
    let generate = |sign: &[&str]| {
        let out = Command::new("swugenerator")
            .args(["-s", "template", "-a", ".", "-o", "made.swu"])
            .args(sign)
            .arg("create")
            .current_dir(openssl.dir.path())
            .output()
            .unwrap_or_else(|error| panic!("swugenerator: {error}; run `cargo xtask setup`"));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        openssl.read("made.swu")
    };
    let theirs = generate(&["-k", "CMS,p256.pem,p256.crt"]);
    assert!(accepted(&theirs, &TestKey::load("p256").public) && device.takes(&theirs, "p256", HERE));
    let bare = generate(&["-k", "RSA,rsa3072.pem"]);
    assert!(accepted(&bare, &TestKey::load("rsa3072").public));
    let plain = generate(&[]);
    let (key, certificate) = (TestKey::load("rsa3072"), openssl.text("rsa3072.crt"));
    for file in [theirs, bare, plain] {
        let ours = make("swupdate", &file, &key, &[("certificate", &certificate)]).unwrap();
        assert!(accepted(&ours, &key.public) && device.takes(&ours, "rsa3072", HERE));
    }
}

#[test]
fn a_version_that_is_another_is_not_signed() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let board = |version: &str| {
        libconfig("1.0.0").replace("\n}\n", &format!("\n  gateway: {{ version = \"{version}\"; }};\n}}\n"))
    };
    let sign =
        |text: &str| make("swupdate", &package("070702", text), &key, &[("certificate", &certificate)]);
    assert!(sign(&board("1.0.0")).is_ok());
    for text in [libconfig("1.0.1"), libconfig("1.0"), board("1.0.1")] {
        let refused = sign(&text);
        assert!(matches!(refused, Err(FormatError::Disagrees { field: "version", .. })), "{text}");
    }
    let error = sign(&libconfig("1.0.0").replace("version", "edition")).unwrap_err().to_string();
    assert!(error.contains("has no version"), "{error}");
    assert_eq!(inspect(&package("070702", &board("1.0.1"))).unwrap().version, None);
    // Settings without files are a package too.
    let settings = "software = { version = \"1.0.0\"; bootenv: ( { name = \"a\"; value = \"b\"; } ); };\n";
    let small = archive("070702", &[("sw-description", settings.as_bytes())]);
    assert!(accepted(
        &make("swupdate", &small, &key, &[("certificate", &certificate)]).unwrap(),
        &key.public
    ));
}
