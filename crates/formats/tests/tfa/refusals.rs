//! What is refused, each for what is wrong with it.

use firmseal_formats::{FORMATS, FormatError, detect, inspect};

use crate::common::{TestKey, accepted, fixture, sign};
use crate::mutations::resigned;
use crate::peer::{keys, make, taken};

fn refused(file: &[u8]) -> String {
    inspect(&file.to_vec()).unwrap_err().to_string()
}

/// The file with these bytes, which stand in it once at least, put for others of
/// the same length, signed anew.
fn edited(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = file.windows(from.len()).position(|own| own == from).unwrap();
    let mut out = file.to_vec();
    out[at..at + to.len()].copy_from_slice(to);
    resigned(&out, &TestKey::load("p256")).unwrap()
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let (soc, key) = (fixture("tfa/soc.bin"), TestKey::load("p256"));
    let counter: &[u8] = &[0x90, 0x34, 1, 1, 1, 0xff, 4, 3, 2, 1, 7];
    let with = |from: &[u8], to: &[u8]| edited(&soc, from, to);
    let counted = |to: &[u8]| with(counter, &[&[0x90, 0x34, 1, 1, 1, 0xff], to].concat());
    let place = soc.windows(4).position(|own| own == [0x30, 0x16, 0x80, 0x14]).unwrap();
    let authority = &soc[place..place + 5];
    let config = [0x90, 0x34, 0x84, 0x5c];
    let cases: [(Vec<u8>, &str); 14] = [
        (counted(&[4, 3, 2, 1, 0xf9]), "negative"),
        (counted(&[4, 3, 2, 2, 7]), "too early"),
        (counted(&[4, 3, 1, 1, 0xff]), "something else"),
        (with(counter, &[0x90, 0x34, 1, 1, 1, 1, 4, 3, 2, 1, 7]), "what is not critical"),
        (with(&config, &[0x90, 0x34, 0x84, 0x5b]), "an extension twice"),
        (with(&[0x55, 0x1d, 0x13], &[0x55, 0x1d, 0x0f]), "neither TBBR's nor a maker's"),
        (with(&[0x55, 0x1d, 0x0e, 4], &[0x2b, 6, 1, 4]), "neither TBBR's nor a maker's"),
        (with(authority, &[0x30, 0x16, 0x80, 0x14, authority[4] ^ 1]), "names another key"),
        (with(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1]), "version 3"),
        (with(b"Z\x17\x0d", b"[\x17\x0d"), "a date"),
        (with(b"SoC Firmware Content", b"SoC Firmware C0ntent"), "issuer and subject differ"),
        (with(&[0x55, 4, 3], &[0x55, 4, 4]), "issuer and subject differ"),
        (with(&[0x30, 0x31, 0x30, 0x0d], &[0x30, 0x31, 0x30, 0x0c]), "something"),
        ([&soc[..], &[0]].concat(), ""),
    ];
    for (index, (file, why)) in cases.iter().enumerate() {
        assert!(!accepted(file, &key.public), "{index}");
        match inspect(file) {
            Err(error) => assert!(error.to_string().contains(why), "{index}: {error}"),
            // No certificate: any file is raw.
            Ok(own) => assert_eq!((own.format.as_str(), *why), ("raw", ""), "{index}"),
        }
    }
}

#[test]
fn pem_is_refused_with_what_to_do() {
    let openssl = keys();
    openssl.write("soc.crt", &fixture("tfa/soc.bin"));
    openssl.ok("x509 -inform DER -in soc.crt -out soc.pem");
    let pem = openssl.read("soc.pem");
    assert_eq!(detect(&pem).unwrap().name(), "tfa");
    assert!(refused(&pem).contains("openssl x509 -in FILE -outform DER"));
    openssl.ok("x509 -in soc.pem -outform DER -out again.crt");
    assert!(openssl.read("again.crt") == fixture("tfa/soc.bin"));
}

#[test]
fn other_certificates_and_other_keys_are_none_of_it() {
    let openssl = keys();
    openssl.ok("x509 -in p256.crt -outform DER -out p256.der");
    for name in ["p256.der", "p256.crt"] {
        assert_eq!(detect(&openssl.read(name)).unwrap().name(), "raw", "{name}");
    }
    for name in ["p384", "ed25519"] {
        let error = make(&fixture("tfa/soc.bin"), &TestKey::load(name), 7).unwrap_err();
        assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{error}");
    }
}

/// A signature counts for the key in the certificate, or for none.
#[test]
fn a_signature_by_another_key_than_the_one_in_it_is_not_believed() {
    let (key, other) = (TestKey::load("p256"), TestKey::load("other-p256"));
    let file = resigned(&fixture("tfa/soc.bin"), &other).unwrap();
    assert_eq!(inspect(&file).unwrap().signatures.len(), 1);
    assert!(!accepted(&file, &key.public) && !accepted(&file, &other.public));
    assert!(!taken(&keys(), &file));
}

/// Decision 41: a signature beside a file that is what is signed of a certificate
/// would be one in it.
#[test]
fn what_is_signed_of_a_certificate_is_no_file() {
    for name in ["soc", "trusted_key", "soc_rsa2048"] {
        let file = fixture(&format!("tfa/{name}.bin"));
        let len = usize::from(u16::from_be_bytes([file[6], file[7]]));
        let tbs = file[4..8 + len].to_vec();
        assert!(matches!(inspect(&tbs), Err(FormatError::Inner { .. })), "{name}");
        let key = TestKey::load("p256");
        for format in FORMATS.iter().filter(|format| format.name() != "digest") {
            let parameters = firmseal_formats::Parameters::default();
            let version = semver::Version::new(1, 0, 0);
            let wanted =
                firmseal_formats::Wanted { version, epoch: 7, key: &key.public, parameters: &parameters };
            assert!(firmseal_formats::lay_out(*format, &tbs, &wanted).is_err(), "{name} {}", format.name());
        }
        // MCUboot puts a header before what it signs.
        assert!(sign(&tbs, &key, "1.2.3", 7, &[("header-size", "64"), ("slot-size", "0x10000")]).is_err());
    }
}
