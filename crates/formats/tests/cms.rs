//! CMS beside a file: OpenSSL is the judge of ours, and we read OpenSSL's.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{OpenSsl, Random, TestKey, flip_each, make, mutate, verifies};
use firmseal_formats::{Covered, FormatError, Inspection, Parameters, Wanted, find, lay_out};
use firmseal_manifest::Tbs;

const FIRMWARE: &[u8] = b"firmware of the gateway, 1.2.3";
const KEYS: [&str; 5] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072"];

/// What OpenSSL says of a signature's file.
fn openssl_takes(openssl: &OpenSsl, signature: &[u8], file: &[u8], authority: &str, form: &str) -> bool {
    openssl.write("verify.cms", signature);
    openssl.write("verify.bin", file);
    let line = format!(
        "cms -verify -binary -inform {form} -in verify.cms -content verify.bin -CAfile {authority}.crt \
         -purpose any -out /dev/null"
    );
    openssl.run(&line).status.success()
}

fn read(signature: &[u8], file: &[u8]) -> Result<Inspection, FormatError> {
    find("cms").unwrap().beside().unwrap().read(&signature.to_vec(), &file.to_vec())
}

/// Whether we take it, under a key.
fn we_take(signature: &[u8], file: &[u8], key: &TestKey) -> bool {
    read(signature, file).is_ok_and(|read| read.signatures.iter().any(|own| verifies(own, &key.public)))
}

#[test]
fn openssl_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = OpenSsl::new(&[&KEYS[..], &["other-p256", "other-rsa2048"]].concat());
    for name in KEYS {
        let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
        let wishes: [&[(&str, &str)]; 5] = [
            &[],
            &[("form", "pem")],
            &[("signing-time", "2026-11-21T12:00:00Z"), ("signing-certificate", "true")],
            &[("padding", "pkcs1")],
            &[("padding", "pss-max")],
        ];
        for wish in wishes {
            // Our verifier knows the longest salts of keys that we make.
            let pads = match wish {
                [("padding", "pss-max")] => name == "rsa3072",
                [("padding", _)] => name.starts_with("rsa"),
                _ => true,
            };
            if !pads {
                continue;
            }
            let form = if wish.contains(&("form", "pem")) { "PEM" } else { "DER" };
            let wish: Vec<_> = [("certificate", certificate.as_str())].iter().chain(wish).copied().collect();
            let signed = make("cms", &FIRMWARE.to_vec(), &key, &wish).unwrap();
            assert!(we_take(&signed, FIRMWARE, &key), "{name} {wish:?}");
            assert!(!we_take(&signed, b"other firmware", &key), "{name}");
            assert!(!we_take(&signed, FIRMWARE, &TestKey::load("other-p256")), "{name}");
            // OpenSSL 3.0 has no CMS with Ed25519: `beside` asks a later one.
            if name == "ed25519" {
                continue;
            }
            assert!(openssl_takes(&openssl, &signed, FIRMWARE, name, form), "{name} {wish:?}");
            assert!(!openssl_takes(&openssl, &signed, b"other firmware", name, form), "{name}");
            assert!(!openssl_takes(&openssl, &signed, FIRMWARE, "other-p256", form), "{name}");
        }
    }
}

#[test]
fn we_read_what_openssl_signs_and_refuse_what_could_be_read_in_two_ways() {
    let openssl = OpenSsl::new(&["p256", "p384", "rsa3072"]);
    openssl.write("file.bin", FIRMWARE);
    let sign = |name: &str, more: &str| {
        openssl.ok(&format!(
            "cms -sign -binary -in file.bin -signer {name}.crt -inkey {name}.pem -outform DER -out made.cms {more}"
        ));
        openssl.read("made.cms")
    };
    let pss = "-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:32 -keyopt rsa_mgf1_md:sha256";
    for (name, more) in
        [("p256", ""), ("p384", "-md sha384"), ("rsa3072", ""), ("rsa3072", pss), ("p256", "-cades")]
    {
        let made = sign(name, more);
        let key = TestKey::load(name);
        assert!(we_take(&made, FIRMWARE, &key), "{name} {more}: {:?}", read(&made, FIRMWARE));
        let other = read(&made, b"other").unwrap();
        assert_eq!(other.signatures[0].covered, Covered::Unknown("it is over something else"));
    }
    for (name, more, why) in [
        ("p256", "-noattr", "it has no signed attributes"),
        ("p256", "-md sha512", "its algorithms are none that are believed here"),
        ("p256", "-md sha1", "it hashes with something else than SHA-2"),
        ("rsa3072", "-md sha512", "its algorithms are none that are believed here"),
        (
            "rsa3072",
            "-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:20",
            "its algorithms are none that are believed here",
        ),
    ] {
        let made = sign(name, more);
        let covered = read(&made, FIRMWARE).unwrap().signatures[0].covered.clone();
        assert_eq!(covered, Covered::Unknown(why), "{name} {more}");
    }
    for (more, why) in [
        ("-nodetach", "a content of its own"),
        ("-nocerts", "the certificate of a signer is not in it"),
        ("-keyid", "named by something else"),
        ("-stream", "lengths are definite"),
    ] {
        let error = read(&sign("p256", more), FIRMWARE).unwrap_err().to_string();
        assert!(error.contains(why), "{more}: {error}");
    }
    // Two signers are two signatures.
    let both = sign("p256", "-signer p384.crt -inkey p384.pem -md sha384");
    assert_eq!(read(&both, FIRMWARE).unwrap().signatures.len(), 2);
    let good = sign("p256", "");
    assert!(read(&[&good[..], &[0]].concat(), FIRMWARE).is_err(), "trailing byte");
    assert!(read(&good[..good.len() - 1], FIRMWARE).is_err(), "cut short");
    assert!(read(&vec![0x30; 300 * 1024], FIRMWARE).is_err(), "too long");
    assert!(read(b"-----BEGIN CMS-----\n-----END CMS-----\n", FIRMWARE).is_err(), "empty PEM");
}

#[test]
fn the_certificate_is_that_of_the_key() {
    let openssl = OpenSsl::new(&["p256", "other-p256"]);
    let key = TestKey::load("p256");
    let (own, other) = (openssl.text("p256.crt"), openssl.text("other-p256.crt"));
    let sign = |certificate: &str| make("cms", &FIRMWARE.to_vec(), &key, &[("certificate", certificate)]);
    let named = sign(&other).unwrap_err().to_string();
    assert!(named.contains(&key.public.id().to_string()), "{named}");
    assert!(named.contains(&TestKey::load("other-p256").public.id().to_string()), "{named}");
    // What leads to its authority goes with it.
    let chain = sign(&format!("{own}{other}")).unwrap();
    assert!(we_take(&chain, FIRMWARE, &key));
    let digits: String = other.lines().filter(|line| !line.starts_with("---")).collect();
    let bad = [
        ("nothing", String::new()),
        ("a text", "certificate".to_owned()),
        ("a key", openssl.text("p256.pub.pem")),
        ("a private key behind it", format!("{own}{}", openssl.text("p256.pem"))),
        ("cut short", own[..own.len() - 30].to_owned()),
        ("no DER", own.replacen("MII", "MIJ", 1)),
        ("twice the same", format!("{own}{own}")),
        ("very long", format!("{own}{}", " ".repeat(16 * 1024))),
        ("no base64", own.replace(&digits[..4], "????")).clone(),
    ];
    for (name, text) in bad.iter().filter(|(_, text)| *text != own) {
        assert!(matches!(sign(text), Err(FormatError::Parameter { .. })), "{name}");
    }
    let without = make("cms", &FIRMWARE.to_vec(), &key, &[]);
    assert!(without.unwrap_err().to_string().contains("--param certificate=@"), "says what to do");
    for (name, value) in
        [("form", "smime"), ("signing-time", "today"), ("padding", "pkcs1"), ("slot-size", "1")]
    {
        assert!(
            make("cms", &FIRMWARE.to_vec(), &key, &[("certificate", &own), (name, value)]).is_err(),
            "{name}"
        );
    }
}

/// What a key signs of a file beside it is a hash, and so is what it signs in
/// CMS: the file that *is* the attributes for other firmware would be signed
/// as that firmware.
#[test]
fn a_file_that_is_signed_attributes_is_signed_by_nobody() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let evil = make("cms", &b"evil".to_vec(), &key, &[("certificate", &certificate)]).unwrap();
    // [0] in the file, SET where it is signed.
    let kind = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
    let at = evil.windows(kind.len()).position(|window| window == kind).unwrap() - 4;
    let mut attributes = evil[at..at + 2 + usize::from(evil[at + 1])].to_vec();
    assert_eq!(attributes[0], 0xa0);
    attributes[0] = 0x31;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &attributes);
    let read = read(&evil, b"evil").unwrap();
    assert_eq!(
        read.signatures[0].covered,
        Covered::Tbs(Tbs::Sha256(hash.as_ref().try_into().unwrap())),
        "a signature over the hash of this file is one over the evil one"
    );
    let parameters = Parameters::default();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let refused = lay_out(find("raw").unwrap(), &attributes, &wanted);
    assert!(matches!(refused, Err(FormatError::Inner { .. })));
    // Nor is it taken as an artifact, from which a hash alone is known later.
    assert!(matches!(firmseal_formats::detect(&attributes), Err(FormatError::Inner { .. })));
    let refused = make("cms", &attributes, &key, &[("certificate", &certificate)]);
    assert!(matches!(refused, Err(FormatError::Inner { .. })));
}

#[test]
fn what_we_accept_openssl_accepts() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let good = make("cms", &FIRMWARE.to_vec(), &key, &[("certificate", &certificate)]).unwrap();
    // The certificate says which key signed, and is not what is believed here:
    // OpenSSL is asked about everything else.
    let kind = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let start = good.windows(kind.len()).position(|window| window == kind).unwrap() + kind.len();
    let end = start + 4 + usize::from(u16::from_be_bytes([good[start + 2], good[start + 3]]));
    let outside = |bytes: &[u8]| [&bytes[..start], &bytes[bytes.len() + end - good.len()..]].concat();
    let judge = |bytes: &[u8], what: &str| {
        if we_take(bytes, FIRMWARE, &key) && !openssl_takes(&openssl, bytes, FIRMWARE, "p256", "DER") {
            assert_eq!(outside(bytes), outside(&good), "{what}");
        }
    };
    flip_each(&good, start..end, judge);
    for seed in 0..count {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut random);
        judge(&bytes, &format!("seed {seed}"));
    }
}
