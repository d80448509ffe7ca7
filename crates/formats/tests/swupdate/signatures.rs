//! Bare signatures, which keys sign what, and what a signature over a
//! description counts for elsewhere.

use firmseal_formats::{Covered, FormatError, detect, find, inspect};
use firmseal_manifest::Tbs;

use crate::common::{OpenSsl, TestKey, accepted, make, verifies};
use crate::peer::{archive, json, libconfig, package, sha256};

/// The second file of a package: where its content lies.
fn signature_of(signed: &[u8], len: usize) -> Vec<u8> {
    let name = b"sw-description.sig\0";
    let at = signed.windows(name.len()).position(|window| window == name).unwrap();
    let start = (at + name.len()).next_multiple_of(4);
    signed[start..start + len].to_vec()
}

#[test]
fn bare_signatures_are_those_that_openssl_verifies() {
    let openssl = OpenSsl::new(&["rsa2048", "rsa3072", "other-rsa3072"]);
    let text = libconfig("1.0.0");
    openssl.write("sw-description", text.as_bytes());
    for (name, len) in [("rsa2048", 256), ("rsa3072", 384)] {
        let key = TestKey::load(name);
        for (kind, options) in [
            ("rsa-pkcs1", ""),
            // SWUpdate takes salts of any length (-2 is "auto" to OpenSSL).
            ("rsa-pss", "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-2"),
        ] {
            let signed = make("swupdate", &package("070702", &text), &key, &[("signature", kind)]).unwrap();
            assert!(accepted(&signed, &key.public), "{name} {kind}");
            assert!(!accepted(&signed, &TestKey::load("other-rsa3072").public));
            openssl.write("sw-description.sig", &signature_of(&signed, len));
            let line = |key: &str, file: &str| {
                format!("dgst -sha256 -verify {key}.pub.pem -signature sw-description.sig {options} {file}")
            };
            openssl.ok(&line(name, "sw-description"));
            openssl.write("tampered", text.replace("1.0.0", "1.0.1").as_bytes());
            assert!(!openssl.run(&line(name, "tampered")).status.success());
            assert!(!openssl.run(&line("other-rsa3072", "sw-description")).status.success());
            // Each reading of the padding is told, one of which verifies.
            let found = inspect(&signed).unwrap().signatures;
            assert_eq!(found.iter().filter(|own| verifies(own, &key.public)).count(), 1);
            // And the other way round, with the salts that OpenSSL makes. Keys of
            // 2048 bits are verified with the first one alone.
            let sign = format!("dgst -sha256 -sign {name}.pem {options} -out theirs sw-description");
            for salt in [":32", ":max"].into_iter().take(if len == 384 { 2 } else { 1 }) {
                openssl.ok(&sign.replace(":-2", salt));
                let files: [(&str, &[u8]); 2] =
                    [("sw-description", text.as_bytes()), ("sw-description.sig", &openssl.read("theirs"))];
                let rest: [(&str, &[u8]); 2] = [("rootfs.img", crate::IMAGE), ("after.sh", crate::SCRIPT)];
                let theirs = archive("070702", &[files, rest].concat());
                assert!(accepted(&theirs, &key.public), "{name} {kind} {salt}");
            }
        }
    }
}

#[test]
fn keys_and_parameters_that_no_device_would_take_are_refused() {
    let openssl = OpenSsl::new(&["p256", "rsa2048"]);
    let certificate = openssl.text("p256.crt");
    let file = package("070702", &libconfig("1.0.0"));
    let sign = |name: &str, wish: &[(&str, &str)]| {
        make("swupdate", &file, &TestKey::load(name), wish).expect_err(name)
    };
    assert!(matches!(sign("ed25519", &[("certificate", &certificate)]), FormatError::KeyAlgorithm { .. }));
    assert!(matches!(sign("p256", &[("signature", "rsa-pss")]), FormatError::KeyAlgorithm { .. }));
    assert!(matches!(
        sign("rsa2048", &[("certificate", &certificate)]),
        FormatError::OtherCertificate { .. }
    ));
    for wish in [
        &[][..],
        &[("signature", "gpg")],
        &[("signature", "rsa-pss"), ("certificate", &certificate)],
        &[("signature", "rsa-pkcs1"), ("padding", "pkcs1")],
        &[("form", "pem")],
    ] {
        assert!(matches!(sign("rsa2048", wish), FormatError::Parameter { .. }), "{wish:?}");
    }
}

/// Decision 41: SWUpdate signs the description as it is, so that a signature
/// beside a file that is one would be one in a package that no gate has seen.
#[test]
fn a_description_is_signed_by_nobody_but_in_its_package() {
    let openssl = OpenSsl::new(&["rsa3072"]);
    let (key, certificate) = (TestKey::load("rsa3072"), openssl.text("rsa3072.crt"));
    for text in [libconfig("1.0.0"), json("1.0.0"), format!("# firmware\n{}", libconfig("1.0.0"))] {
        let file = text.into_bytes();
        assert!(matches!(detect(&file), Err(FormatError::Inner { .. })));
        for (format, wish) in [
            ("raw", ("padding", "pkcs1")),
            ("raw", ("padding", "pss")),
            ("cms", ("certificate", certificate.as_str())),
        ] {
            let refused = make(format, &file, &key, &[wish]);
            assert!(matches!(refused, Err(FormatError::Inner { .. })), "{format}");
        }
        let plain = package("070702", std::str::from_utf8(&file).unwrap());
        let signed = make("swupdate", &plain, &key, &[("signature", "rsa-pkcs1")]).unwrap();
        let digest = sha256(&file);
        let covered = inspect(&signed).unwrap().signatures.into_iter().map(|own| own.covered);
        let same = |own: Covered| matches!(own, Covered::Tbs(Tbs::Pkcs1(own)) if hex(&own) == digest);
        assert!(covered.into_iter().any(same), "this is what a signature beside it would be over");
    }
    // The hash of a package is what nothing in it is over.
    assert!(!find("swupdate").unwrap().hashes_whole());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
