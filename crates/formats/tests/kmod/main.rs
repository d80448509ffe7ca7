//! Kernel modules: OpenSSL judges ours by the kernel's rules, and we read what
//! sign-file and Debian signed.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;

use common::{OpenSsl, TestKey, accepted, fixture, make, verifies};
use firmseal_formats::{Covered, FormatError, detect, find, inspect};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Tbs};
use peer::{modinfo, sign_file, takes};

const KEYS: [&str; 4] = ["rsa2048", "rsa3072", "p256", "p384"];

#[test]
fn the_kernels_rules_accept_ours_and_refuse_tampered_and_foreign() {
    let openssl = OpenSsl::new(&[&KEYS[..], &["other-p256"]].concat());
    let real = std::fs::read(&peer::modules()[0]).unwrap();
    for module in [fixture("kmod/unsigned.bin"), real] {
        for name in KEYS {
            let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
            let wish = [("certificate", certificate.as_str())];
            let signed = make("kmod", &module, &key, &wish).unwrap();
            assert!(accepted(&signed, &key.public) && takes(&openssl, &signed, name), "{name}");
            assert!(!accepted(&signed, &TestKey::load("other-p256").public), "{name}");
            assert!(!takes(&openssl, &signed, "other-p256"), "{name}");
            let mut tampered = signed.clone();
            tampered[70] ^= 1;
            assert!(!accepted(&tampered, &key.public) && !takes(&openssl, &tampered, name), "{name}");
            // Signing again replaces the signature, and changes nothing else.
            let again = make("kmod", &signed, &key, &wish).unwrap();
            assert_eq!(peer::split(&again).unwrap().0, peer::split(&signed).unwrap().0);
            assert_eq!(inspect(&again).unwrap().digest(), inspect(&signed).unwrap().digest());
            assert!(takes(&openssl, &again, name));
        }
    }
}

#[test]
fn sign_file_writes_the_same() {
    let openssl = OpenSsl::new(&KEYS);
    let module = fixture("kmod/unsigned.bin");
    for (name, hash) in [("rsa2048", "sha256"), ("rsa3072", "sha256"), ("p256", "sha256"), ("p384", "sha384")]
    {
        let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
        let ours = make("kmod", &module, &key, &[("certificate", &certificate)]).unwrap();
        let theirs = sign_file(&openssl, &module, hash, name, &[]);
        // ECDSA differs from run to run.
        assert!(!name.starts_with("rsa") || ours == theirs, "{name}: byte for byte");
        assert!(accepted(&theirs, &key.public), "{name}");
        // Where it names the key by its id.
        let by_id = sign_file(&openssl, &module, hash, name, &["-k"]);
        assert!(accepted(&by_id, &key.public), "{name}");
        let read = inspect(&by_id).unwrap();
        assert!(
            read.notes[0].name == "signer" && read.notes[0].value.starts_with("key id "),
            "{:?}",
            read.notes
        );
        assert_eq!(read.digest(), inspect(&ours).unwrap().digest());
    }
}

#[test]
fn what_debian_signed_verifies_with_the_certificate_in_its_kernel() {
    let openssl = OpenSsl::new(&["p256"]);
    openssl.write("debian.der", &peer::certificate());
    openssl.ok("x509 -inform DER -in debian.der -out debian.crt");
    openssl.ok("x509 -in debian.crt -noout -pubkey -out debian.pub.pem");
    let key = PublicKey::from_pem(&openssl.text("debian.pub.pem")).unwrap();
    assert_eq!(key.algorithm(), KeyAlgorithm::Rsa(4096));
    let modules = peer::modules();
    assert!(modules.len() >= 40);
    for path in &modules {
        let file = std::fs::read(path).unwrap();
        let read = inspect(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(accepted(&file, &key), "{}", path.display());
        let told = |name: &str| {
            let field = read.fields.iter().find(|field| field.name == name);
            field.map(|field| field.value.clone()).unwrap_or_default()
        };
        for name in ["name", "version", "srcversion", "depends"] {
            assert_eq!(told(name), modinfo(path, name), "{}", path.display());
        }
        assert_eq!(told("license"), modinfo(path, "license").replace('\n', ", "));
        assert_eq!(read.target.unwrap(), modinfo(path, "vermagic"));
        let number = modinfo(path, "sig_key").replace(':', "").to_lowercase();
        assert_eq!(read.notes[0].value, format!("number {number}"));
    }
    // The peer says the same, of some.
    for path in modules.iter().step_by(20) {
        let file = std::fs::read(path).unwrap();
        assert!(takes(&openssl, &file, "debian") && !takes(&openssl, &file, "p256"));
        let mut tampered = file;
        tampered[100] ^= 1;
        assert!(!accepted(&tampered, &key) && !takes(&openssl, &tampered, "debian"));
    }
}

#[test]
fn what_sign_file_made_is_read() {
    let unsigned = inspect(&fixture("kmod/unsigned.bin")).unwrap();
    assert_eq!(unsigned.target.as_deref(), Some("6.1.0 SMP mod_unload"));
    let fields: Vec<_> = unsigned.fields.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
    assert_eq!(
        fields[..4],
        [("machine", "x86_64"), ("name", "small"), ("version", "1.2"), ("license", "GPL")]
    );
    assert!(unsigned.version.is_none() && unsigned.signatures.is_empty());
    for (name, key) in [("sha256_p256", "p256"), ("sha256_rsa2048", "rsa2048"), ("key_id_p256", "p256")] {
        let read = inspect(&fixture(&format!("kmod/{name}.bin"))).unwrap();
        assert!(verifies(&read.signatures[0], &TestKey::load(key).public), "{name}");
        assert_eq!(read.digest(), unsigned.digest(), "{name}");
    }
    let read = inspect(&fixture("kmod/sha512_rsa2048.bin")).unwrap();
    let why = Covered::Unknown("its key is believed with another hash alone");
    assert_eq!(read.signatures[0].covered, why);
}

/// Decision 41: the signature is over the module itself, so that one beside it
/// would be one in it. Whoever signs beside files refuses modules, and tells
/// them by what the kernel looks at.
#[test]
fn a_module_is_told_from_other_files() {
    let openssl = OpenSsl::new(&["p256"]);
    let certificate = openssl.text("p256.crt");
    let module = fixture("kmod/unsigned.bin");
    let signed = make("kmod", &module, &TestKey::load("p256"), &[("certificate", &certificate)]).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &module);
    let covered = &inspect(&signed).unwrap().signatures[0].covered;
    assert!(matches!(covered, Covered::Tbs(Tbs::Sha256(own)) if own == digest.as_ref()));
    assert!(find("kmod").unwrap().hashes_whole());
    // Whatever else is wrong with a relocatable file, it is one.
    for at in [6, 7, 18, 20, 40, 58, 60, 62, 200, 500] {
        let mut file = module.clone();
        file[at] ^= 0xff;
        assert_eq!(detect(&file).unwrap().name(), "kmod", "{at}");
    }
    let mut program = module;
    program[16] = 2;
    assert_eq!(detect(&program).unwrap().name(), "raw");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let openssl = OpenSsl::new(&["p256", "ed25519"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let plain = fixture("kmod/unsigned.bin");
    let signed = make("kmod", &plain, &key, &[("certificate", &certificate)]).unwrap();
    let len = plain.len();
    let tail = signed.len() - 40;
    let refused = |file: &[u8], why: &str| {
        let error = find("kmod").unwrap().inspect(&file.to_vec()).expect_err(why).to_string();
        assert!(error.contains(why), "{why}: {error}");
    };
    let edited = |base: &[u8], at: usize, bytes: &[u8], why: &str| {
        let mut file = base.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file, why);
    };
    for at in [tail, tail + 1, tail + 2, tail + 3, tail + 4, tail + 5, tail + 7] {
        edited(&signed, at, &[1], "fields that have to be zero");
    }
    edited(&signed, tail + 8, &[0, 1], "longer than the file, or than 64 KiB");
    edited(&signed, tail + 11, &[signed[tail + 11] - 1], "its signature");
    edited(&signed, tail + 11, &[signed[tail + 11] + 1], "section table does not fit");
    refused(&[&signed[..], &signed[len..]].concat(), "stands in front of its signature");
    refused(&signed[tail + 12..], "nothing but the end");
    refused(&[&plain[..], &signed[tail + 12..]].concat(), "its signature");
    // The section table stands at the end; `.modinfo` is the second section.
    let table = len - 5 * 64;
    edited(&plain, 58, &[63], "section table does not fit");
    edited(&plain, 60, &[6], "section table does not fit");
    edited(&plain, 62, &[5], "section table does not fit");
    edited(&plain, 62, &[0], "section table does not fit");
    edited(&plain, table + 2 * 64 + 8, &[0], "not one section `.modinfo`");
    edited(&plain, table + 2 * 64, &[0], "not one section `.modinfo`");
    edited(&plain, table + 3 * 64, &[0], "not one section `.gnu.linkonce.this_module`");
    edited(&plain, table + 2 * 64 + 34, &[1], "a section lies behind its end");
    edited(&signed, table + 3 * 64 + 32, &[0, 3], "a section lies behind its end");
    edited(&plain, table + 2 * 64 + 32, &[20], "does not end with a NUL");
    // Sections over each other, in the header, and in their own table; but those
    // without bytes, or none in the file, are anywhere.
    let offset = |section: usize| table + section * 64 + 24;
    let stands = |section: usize| u64::from_le_bytes(plain[offset(section)..][..8].try_into().unwrap());
    for at in [stands(2), stands(2) + 1, 0, 63, table as u64 - 1] {
        edited(&plain, offset(1), &at.to_le_bytes(), "sections overlap");
    }
    for (field, value) in [(4, 8), (32, 0)] {
        let mut file = plain.clone();
        file[offset(1)..][..8].copy_from_slice(&stands(2).to_le_bytes());
        file[table + 64 + field..][..4].copy_from_slice(&[value, 0, 0, 0]);
        assert!(inspect(&file).is_ok(), "{field}");
    }
    let name = plain.windows(5).position(|window| window == b"name=").unwrap();
    edited(&plain, name, b"nameX", "has no value");
    let mut twice = plain.clone();
    let depends = plain.windows(8).position(|window| window == b"depends=").unwrap();
    twice[depends..depends + 8].copy_from_slice(b"name=abc");
    refused(&twice, "says name twice");
    for cut in [0, 20, 63, 64, 100, table, len - 1] {
        assert!(find("kmod").unwrap().inspect(&plain[..cut].to_vec()).is_err(), "{cut}");
    }
    // Keys that the kernel does not know, and certificates that it need not.
    let error = make("kmod", &plain, &TestKey::load("ed25519"), &[]).unwrap_err();
    assert!(matches!(error, FormatError::KeyAlgorithm { .. }));
    for certificate in ["", &format!("{certificate}{}", openssl.text("ed25519.crt"))] {
        let error = make("kmod", &plain, &key, &[("certificate", certificate)]).unwrap_err();
        assert!(matches!(error, FormatError::Parameter { .. }), "{error}");
    }
}
