//! fwupd's cabinets and jcats: fwupdtool, jcat-tool and gcab judge ours, and we
//! read what they make and sign.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;

use common::{OpenSsl, Random, TestKey, accepted, fixture, verifies};
use firmseal_formats::{Covered, FormatError, Inspection, Parameters, Wanted, detect, find, inspect};
use peer::{Files, METAINFO, cabinet, files, trusted};

const KEYS: [&str; 4] = ["p256", "p384", "rsa2048", "rsa3072"];

/// Prepares with a version and parameters, signs, and writes what comes of it.
fn signed(
    format: &str,
    file: &[u8],
    key: &TestKey,
    version: &str,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let (format, file) = (find(format)?, file.to_vec());
    let parameters: Parameters = parameters.iter().copied().collect();
    let version = semver::Version::parse(version).unwrap();
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let laid_out = firmseal_formats::lay_out(format, &file, &wanted)?;
    let signature = key.sign(&laid_out.tbs);
    let plan = firmseal_formats::attach(format, &laid_out.unsigned.unwrap(), &file, &signature)?;
    let mut out = Vec::new();
    plan.write_to(&file, &mut out)?;
    Ok(out)
}

/// A cabinet, with a signature of one of its files.
fn of(openssl: &OpenSsl, file: &[u8], key: &str, member: &str) -> Vec<u8> {
    let certificate = openssl.text(&format!("{key}.crt.pem"));
    signed("fwupd", file, &TestKey::load(key), "1.2.3", &[("certificate", &certificate), ("member", member)])
        .unwrap()
}

fn beside(openssl: &OpenSsl, file: &[u8], key: &str) -> Result<Vec<u8>, FormatError> {
    let certificate = openssl.text(&format!("{key}.crt.pem"));
    signed("jcat", file, &TestKey::load(key), "1.2.3", &[("certificate", &certificate), ("name", "fw.bin")])
}

fn read_beside(jcat: &[u8], file: &[u8]) -> Result<Inspection, FormatError> {
    find("jcat").unwrap().beside().unwrap().read(&jcat.to_vec(), &file.to_vec())
}

fn accepted_beside(jcat: &[u8], file: &[u8], key: &TestKey) -> bool {
    read_beside(jcat, file).is_ok_and(|read| read.signatures.iter().any(|own| verifies(own, &key.public)))
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(7);
    (0..len).map(|_| random.next() as u8).collect()
}

#[test]
fn jcat_tool_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = peer::place(&[&KEYS[..], &["other-p256"]].concat());
    let file = noise(5000);
    let mut tampered = file.clone();
    tampered[4999] ^= 1;
    for name in KEYS {
        let (key, jcat) = (TestKey::load(name), beside(&openssl, &file, name).unwrap());
        assert!(peer::verifies(&openssl, &jcat, &file, name), "{name}");
        assert!(accepted_beside(&jcat, &file, &key), "{name}");
        assert!(!peer::verifies(&openssl, &jcat, &file, "other-p256"), "{name}");
        assert!(!accepted_beside(&jcat, &file, &TestKey::load("other-p256")), "{name}");
        assert!(!peer::verifies(&openssl, &jcat, &tampered, name), "{name}");
        assert!(!accepted_beside(&jcat, &tampered, &key), "{name}");
    }
}

#[test]
fn what_jcat_tool_signs_is_read() {
    let openssl = peer::place(&KEYS);
    let file = noise(5000);
    openssl.write("fw.bin", &file);
    openssl.write("more.bin", b"more");
    // One after the other, into one jcat, which is also of another file.
    peer::jcat_sign(&openssl, "theirs.jcat", "more.bin", "p256");
    for name in KEYS {
        peer::jcat_sign(&openssl, "theirs.jcat", "fw.bin", name);
        let theirs = openssl.read("theirs.jcat");
        let read = read_beside(&theirs, &file).unwrap();
        // Without checksums nothing says of which file the first one is.
        assert_eq!(read.signatures.len(), 2);
        assert_eq!(read.signatures[0].covered, Covered::Unknown("it is over something else"));
        assert!(accepted_beside(&theirs, &file, &TestKey::load(name)), "{name}");
        assert!(!accepted_beside(&theirs, b"other", &TestKey::load(name)));
    }
    assert!(accepted_beside(&fixture("fwupd/beside.bin"), b"firmware", &TestKey::load("rsa2048")));
}

#[test]
fn fwupd_trusts_metainfo_and_payload_after_two_passes() {
    let openssl = peer::place(&["p256", "rsa2048", "p384", "other-p256"]);
    let payload = noise(100_000);
    let all = files(METAINFO, &payload);
    let cabinets =
        [cabinet(std::slice::from_ref(&all)), peer::packed(&openssl, &all), peer::built(&openssl, &all)];
    let key = TestKey::load("p256");
    for (index, plain) in cabinets.iter().enumerate() {
        assert_eq!(trusted(&openssl, plain), Some((false, false)), "{index}");
        let first = of(&openssl, plain, "p256", "metainfo");
        assert_eq!(trusted(&openssl, &first), Some((false, true)), "{index}");
        assert!(accepted(&first, &key.public), "the metainfo covers the payload");
        let both = of(&openssl, &first, "p256", "payload");
        assert_eq!(trusted(&openssl, &both), Some((true, true)), "{index}");
        assert!(accepted(&both, &key.public) && !accepted(&both, &TestKey::load("other-p256").public));
        // The other way round the same.
        let payload_first = of(&openssl, plain, "p256", "payload");
        assert_eq!(trusted(&openssl, &payload_first), Some((true, false)), "{index}");
        assert!(!accepted(&payload_first, &key.public), "the payload's covers nothing else");
        assert_eq!(trusted(&openssl, &of(&openssl, &payload_first, "p256", "metainfo")), Some((true, true)));
        // Again: a signature is replaced, whoever's it was, as libjcat knows one
        // for each file. The other file's stays.
        let again = of(&openssl, &both, "rsa2048", "metainfo");
        assert_eq!(inspect(&again).unwrap().signatures.len(), 2);
        assert!(accepted(&again, &TestKey::load("rsa2048").public) && !accepted(&again, &key.public));
        assert_eq!(trusted(&openssl, &again), Some((true, false)));
        let last = of(&openssl, &of(&openssl, &again, "p384", "metainfo"), "p256", "metainfo");
        assert_eq!(trusted(&openssl, &last), Some((true, true)));
        let read = inspect(&last).unwrap();
        assert_eq!(read.digest(), inspect(plain).unwrap().digest(), "what was approved is what was signed");
        // Foreign signatures give no trust.
        assert_eq!(trusted(&openssl, &of(&openssl, plain, "other-p256", "metainfo")), Some((false, false)));
        for (name, content) in &all {
            assert_eq!(peer::extracted(&openssl, &last, name), *content, "{name}");
        }
    }
}

#[test]
fn what_is_tampered_is_accepted_by_nobody() {
    let openssl = peer::place(&["p256"]);
    let key = TestKey::load("p256");
    let all = files(METAINFO, b"firmware");
    let good = of(
        &openssl,
        &of(&openssl, &cabinet(std::slice::from_ref(&all)), "p256", "metainfo"),
        "p256",
        "payload",
    );
    let jcat = peer::extracted(&openssl, &good, "firmware.jcat");
    let with = |all: Files| cabinet(&[all, vec![("firmware.jcat".to_owned(), jcat.clone())]]);
    assert!(accepted(&with(all.clone()), &key.public));
    assert_eq!(trusted(&openssl, &with(all)), Some((true, true)));
    // Another version with a right checksum, and another payload.
    let other = with(files(&METAINFO.replace("1.2.3", "1.2.4"), b"firmware"));
    assert!(!accepted(&other, &key.public));
    assert_eq!(trusted(&openssl, &other), Some((true, false)), "that is why the payload's does not count");
    let other = with(files(METAINFO, b"firmwarf"));
    assert!(!accepted(&other, &key.public));
    assert_eq!(trusted(&openssl, &other), Some((false, false)));
}

#[test]
fn what_fwupdtool_and_gcab_make_is_read() {
    for name in ["unsigned", "packed", "signed"] {
        let file = fixture(&format!("fwupd/{name}.bin"));
        assert_eq!(detect(&file).unwrap().name(), "fwupd");
        let read = inspect(&file).unwrap();
        assert_eq!((read.version.as_deref(), read.image_size), (Some("1.2.3"), 8), "{name}");
        assert_eq!(read.target.as_deref(), Some("09d7cf52-0720-4710-91d1-08469b7fe9c8"));
        let told = |key: &str| read.fields.iter().find(|own| own.name == key).map(|own| own.value.as_str());
        assert_eq!((told("id"), told("name")), (Some("com.example.board.firmware"), Some("Board")));
        assert_eq!(told("requires id"), Some("compare=ge version=1.0.0 org.freedesktop.fwupd"));
        assert_eq!(told("LVFS::VersionFormat"), Some("triplet"));
        assert_eq!(
            told("payload"),
            Some(format!("firmware.img 8 bytes sha256:{}", peer::sha256(b"firmware")).as_str())
        );
        assert_eq!(read.signatures.len(), if name == "signed" { 2 } else { 0 }, "{name}");
        assert_eq!(accepted(&file, &TestKey::load("p256").public), name == "signed");
    }
    // A jcat in the first folder stays there, of no name, and the one that
    // counts has what else stood in it.
    let openssl = peer::place(&["rsa2048"]);
    let again = of(&openssl, &fixture("fwupd/signed.bin"), "rsa2048", "metainfo");
    assert_eq!(inspect(&again).unwrap().signatures.len(), 2);
    assert!(!accepted(&again, &TestKey::load("p256").public));
    assert!(accepted(&again, &TestKey::load("rsa2048").public));
    assert_eq!(trusted(&openssl, &again), Some((false, true)));
}

#[test]
fn what_was_asked_for_is_what_stands_in_it() {
    let openssl = peer::place(&["p256", "ed25519"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt.pem"));
    let plain = cabinet(&[files(METAINFO, b"firmware")]);
    let named = ("certificate", certificate.as_str());
    let error = signed("fwupd", &plain, &key, "1.2.4", &[named]).unwrap_err();
    assert!(matches!(error, FormatError::Disagrees { field: "version", .. }), "{error}");
    let other = openssl.text("ed25519.crt.pem");
    let error =
        signed("fwupd", &plain, &TestKey::load("ed25519"), "1.2.3", &[("certificate", &other)]).unwrap_err();
    assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{error}");
    let bad: [&[(&str, &str)]; 3] = [&[], &[named, ("member", "fw.bin")], &[named, ("padding", "pss")]];
    for parameters in bad {
        let error = signed("fwupd", &plain, &key, "1.2.3", parameters).unwrap_err();
        assert!(matches!(error, FormatError::Parameter { .. }), "{error}");
    }
    for name in ["", "../fw.bin", ".hidden", "a/b"] {
        let error = signed("jcat", b"firmware", &key, "1.0.0", &[named, ("name", name)]).unwrap_err();
        assert!(matches!(error, FormatError::Parameter { .. }), "{name}: {error}");
    }
    // Vendors' own numbers are told, and compared by people.
    let quad = cabinet(&[files(&METAINFO.replace("1.2.3", "1.2.3.4"), b"firmware")]);
    assert!(inspect(&quad).unwrap().version.is_none());
    assert!(signed("fwupd", &quad, &key, "7.0.0", &[named]).is_ok());
    // Without a checksum the metainfo's signature would cover nothing else.
    let silent = cabinet(&[files(&METAINFO.replace("SHA256", ""), b"firmware")]);
    assert!(inspect(&silent).is_ok());
    assert!(
        signed("fwupd", &silent, &key, "1.2.3", &[named]).unwrap_err().to_string().contains("no SHA-256")
    );
}

/// Decision 41: what is signed is a file like any other, in CMS, so that what
/// is refused beside a file is refused in a cabinet.
#[test]
fn what_formats_sign_inside_is_no_payload() {
    let openssl = peer::place(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt.pem"));
    let digits = "0a".repeat(32);
    let inner: [&[u8]; 3] = [b"FSVerity\x01\0 \0digest", &[0x31, 2, 5, 0], digits.as_bytes()];
    for payload in inner {
        let error = beside(&openssl, payload, "p256").unwrap_err();
        assert!(matches!(error, FormatError::Inner { .. }), "{error}");
        for plain in [cabinet(&[files(METAINFO, payload)]), peer::packed(&openssl, &files(METAINFO, payload))]
        {
            let wish = [("certificate", certificate.as_str()), ("member", "payload")];
            let error = signed("fwupd", &plain, &key, "1.2.3", &wish).unwrap_err();
            assert!(matches!(error, FormatError::Inner { .. }), "{error}");
        }
    }
}
