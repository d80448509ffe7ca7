//! UEFI capsules: OpenSSL judges ours, as FMP drivers verify them with it;
//! mkeficapsule and edk2's tool library make what we read and sign, and the
//! latter reads ours.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod confusion;
mod mutations;
mod peer;
mod refusals;

use common::{OpenSsl, TestKey, accepted, fixture, verifies};
use firmseal_formats::{
    Covered, FormatError, Inspection, Parameters, Wanted, attach, find, inspect, lay_out,
};
use firmseal_manifest::Tbs;
use peer::{GUID, cut, edk2, mkeficapsule, payload, smime};

/// Makes a capsule with an epoch, of a payload or of another capsule.
pub(crate) fn make(
    source: &[u8],
    key: &TestKey,
    epoch: u64,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let source = source.to_vec();
    let parameters: Parameters = parameters.iter().copied().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch, key: &key.public, parameters: &parameters };
    let format = find("capsule")?;
    let laid_out = lay_out(format, &source, &wanted)?;
    let plan = attach(format, &laid_out.unsigned.unwrap(), &source, &key.sign(&laid_out.tbs))?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

fn field<'a>(inspection: &'a Inspection, name: &str) -> Option<&'a str> {
    let all = inspection.fields.iter().chain(&inspection.notes);
    all.filter(|own| own.name == name).map(|own| own.value.as_str()).next()
}

#[test]
fn openssl_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = OpenSsl::new(&["p256", "rsa2048", "rsa3072", "other-rsa2048"]);
    let unsigned = fixture("capsule/unsigned.bin");
    for name in ["p256", "rsa2048", "rsa3072"] {
        let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
        let wish = [("certificate", certificate.as_str()), ("signing-time", "2026-11-21T12:00:00Z")];
        let wrapped = make(&payload(), &key, 7, &[wish[0], wish[1], ("guid", GUID)]).unwrap();
        let filled = make(&unsigned, &key, 7, &wish).unwrap();
        // The same headers, by mkeficapsule and by us.
        let read = inspect(&wrapped).unwrap();
        assert_eq!(read.notes, inspect(&filled).unwrap().notes, "{name}");
        assert_eq!(wrapped[..24], unsigned[..24]);
        assert_eq!(wrapped[28..68], unsigned[28..68]);
        assert_eq!((read.epoch, read.image_size, read.target.as_deref()), (Some(7), 200, None));
        for good in [wrapped, filled] {
            let (signed, signature) = cut(&good, 92);
            assert_eq!(signed, [&payload()[..], &7u64.to_le_bytes()].concat());
            assert!(accepted(&good, &key.public), "{name}");
            assert!(smime(&openssl, &signature, &signed, name), "{name}");
            let stranger = TestKey::load("other-rsa2048");
            assert!(!accepted(&good, &stranger.public), "{name}");
            assert!(!smime(&openssl, &signature, &signed, "other-rsa2048"), "{name}");
            // The payload, and the count.
            for at in [good.len() - 1, 92] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                let (signed, signature) = cut(&bad, 92);
                assert!(!accepted(&bad, &key.public), "{name} {at}");
                assert!(!smime(&openssl, &signature, &signed, name), "{name} {at}");
                let covered = &inspect(&bad).unwrap().signatures[0].covered;
                assert_eq!(*covered, Covered::Unknown("it is over something else"), "{name} {at}");
            }
        }
    }
}

#[test]
fn we_read_what_mkeficapsule_makes_and_sign_it_again() {
    let openssl = OpenSsl::new(&["p256", "rsa2048"]);
    let unsigned = inspect(&fixture("capsule/unsigned.bin")).unwrap();
    assert_eq!((unsigned.epoch, unsigned.signatures.len()), (None, 0));
    let own = openssl.text("p256.crt");
    for name in ["rsa2048", "p256"] {
        let line = format!(
            "--index 2 --instance 3 --capoemflag 0x8000 --guid {GUID} --monotonic-count 18446744073709551615 \
             --private-key {name}.pem --certificate {name}.crt payload.bin"
        );
        let made = mkeficapsule(&openssl, &line);
        for (file, count) in [(made, u64::MAX), (fixture(&format!("capsule/{name}.bin")), 7)] {
            let read = inspect(&file).unwrap();
            assert_eq!(read.epoch, Some(count), "{name}");
            assert!(verifies(&read.signatures[0], &TestKey::load(name).public), "{name}");
            assert_eq!(field(&read, "payload sha256"), field(&unsigned, "payload sha256"));
            for (note, value) in [
                ("capsule flags", "0x18000 (persist across reset)"),
                ("image type", GUID),
                ("image index", "2"),
                ("hardware instance", "3"),
                ("image header", "version 3"),
            ] {
                assert!(read.notes.iter().any(|own| own.name == note && own.value == value), "{note}");
            }
            // An owner replaces the signature, and nothing else.
            let again = make(&file, &TestKey::load("p256"), count, &[("certificate", &own)]).unwrap();
            assert_eq!(inspect(&again).unwrap().digest(), read.digest());
            assert_eq!(inspect(&again).unwrap().notes, read.notes);
            let (signed, signature) = cut(&again, 92);
            assert!(smime(&openssl, &signature, &signed, "p256"));
            assert!(!accepted(&again, &TestKey::load("rsa2048").public));
        }
    }
}

#[test]
fn edk2_reads_ours_and_we_read_edk2s() {
    let openssl = OpenSsl::new(&["p256", "rsa2048"]);
    openssl.write("build.bin", &payload());
    let made = |signature: &str| {
        let wish = serde_json::json!(["build.bin", GUID, 3, 9, 21, 0x0102_0003, 0x0100_0000, signature]);
        assert_eq!(edk2(&openssl, &[wish]), [serde_json::Value::Null]);
        openssl.read("build.bin.cap")
    };
    let unsigned = made("");
    // As GenerateCapsule asks OpenSSL.
    openssl.ok(
        "smime -sign -binary -outform DER -md sha256 -signer rsa2048.crt -inkey rsa2048.pem -in build.bin.tbs \
         -out build.p7",
    );
    let theirs = made("build.p7");
    let read = inspect(&theirs).unwrap();
    assert!(verifies(&read.signatures[0], &TestKey::load("rsa2048").public));
    assert_eq!(read.epoch, Some(21));
    assert_eq!(field(&read, "firmware version"), Some("16908291 (0x01020003)"));
    assert_eq!(field(&read, "lowest supported version"), Some("16777216 (0x01000000)"));
    let told = field(&read, "payload sha256");
    assert_eq!(told, field(&inspect(&fixture("capsule/unsigned.bin")).unwrap(), "payload sha256"));
    assert_eq!(field(&read, "image header"), Some("version 2"));
    let certificate = openssl.text("p256.crt");
    let versions = [("firmware-version", "0x01020003"), ("lowest-supported-version", "0x01000000")];
    let wish = [("certificate", certificate.as_str()), versions[0], versions[1], ("index", "3")];
    for source in [&unsigned, &theirs] {
        let ours = make(source, &TestKey::load("p256"), 21, &wish).unwrap();
        assert_eq!(inspect(&ours).unwrap().digest(), read.digest(), "what is signed is the same");
        openssl.write("ours.cap", &ours);
        let answers = edk2(&openssl, &[serde_json::json!("ours.cap")]);
        assert_eq!(answers, [serde_json::json!([GUID, 3, 9, 21, 0x0102_0003, 0x0100_0000])]);
        let (signed, signature) = (openssl.read("ours.cap.tbs"), openssl.read("ours.cap.p7"));
        assert!(smime(&openssl, &signature, &signed, "p256"));
        assert_eq!((signed, signature), cut(&ours, 88));
    }
    // The same payload header, put before a payload by us.
    let wrapped =
        make(&payload(), &TestKey::load("p256"), 21, &[&wish[..], &[("guid", GUID)]].concat()).unwrap();
    assert_eq!(cut(&wrapped, 92).0, openssl.read("ours.cap.tbs"));
    assert_eq!(inspect(&wrapped).unwrap().digest(), read.digest());
}

#[test]
fn a_capsule_says_what_the_order_says() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let own = ("certificate", certificate.as_str());
    let signed = fixture("capsule/p256.bin");
    for (name, value) in [
        ("guid", "19d7cf52-0720-4710-91d1-08469b7fe9c8"),
        ("index", "1"),
        ("hardware-instance", "0"),
        ("flags", "0x10000"),
        ("firmware-version", "1"),
    ] {
        let error = make(&signed, &key, 7, &[own, (name, value)]).unwrap_err();
        assert!(matches!(error, FormatError::Disagrees { .. }), "{name}: {error}");
    }
    let upper = GUID.to_uppercase();
    let same = [("guid", upper.as_str()), ("index", "2"), ("hardware-instance", "3"), ("flags", "0x18000")];
    assert!(make(&signed, &key, 7, &[&[own], &same[..]].concat()).is_ok());
    for epoch in [0, 6, 8, u64::MAX] {
        let error = make(&signed, &key, epoch, &[own]).unwrap_err().to_string();
        assert!(error.contains("the file says monotonic count 7"), "{error}");
    }
    for (name, value) in [
        ("guid", "09d7cf52072047109 1d108469b7fe9c8"),
        ("guid", "{09d7cf52-0720-4710-91d1-08469b7fe9c8}"),
        ("guid", "09d7cf520720471091d108469b7fe9c8"),
        ("index", "0"),
        ("index", "256"),
        ("flags", "0x20000"),
        ("flags", "0x40000"),
        ("lowest-supported-version", "1"),
        ("firmware-version", "0x100000000"),
        ("slot-size", "1"),
        ("append", "true"),
    ] {
        let error = make(&payload(), &key, 7, &[own, ("guid", GUID), (name, value)]).unwrap_err();
        assert!(matches!(error, FormatError::Parameter { .. }), "{name} {value}: {error}");
    }
    let lower = [own, ("guid", GUID), ("firmware-version", "1"), ("lowest-supported-version", "2")];
    assert!(make(&payload(), &key, 7, &lower).unwrap_err().to_string().contains("above its own version"));
    let error = make(&payload(), &key, 7, &[own]).unwrap_err().to_string();
    assert!(error.contains("`guid`: needed to wrap"), "{error}");
    for name in ["p384", "ed25519"] {
        let error = make(&payload(), &TestKey::load(name), 7, &[own, ("guid", GUID)]).unwrap_err();
        assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{name}");
    }
}

/// Keys of capsules sign attributes with PKCS #1 v1.5 or ECDSA, and the same
/// wish gives the same bytes.
#[test]
fn what_leaves_for_the_key_is_a_digest_of_attributes() {
    let openssl = OpenSsl::new(&["rsa2048"]);
    let (key, certificate) = (TestKey::load("rsa2048"), openssl.text("rsa2048.crt"));
    let parameters: Parameters =
        [("certificate", certificate.as_str()), ("guid", GUID)].into_iter().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 7, key: &key.public, parameters: &parameters };
    let tbs = || lay_out(find("capsule").unwrap(), &payload(), &wanted).unwrap().tbs;
    assert!(matches!(tbs(), Tbs::Pkcs1(_)));
    assert_eq!(tbs(), tbs());
}
