//! Certificates of Trusted Firmware-A: we read and verify what cert_create
//! makes, and OpenSSL takes ours.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mutations;
mod peer;
mod refusals;

use common::{TestKey, accepted, fixture};
use firmseal_formats::{Covered, Field, FormatError, Inspection, inspect};
use peer::{attach_own, cert_create, keys, make, taken, taken_by};

fn read(name: &str) -> Inspection {
    inspect(&fixture(&format!("tfa/{name}.bin"))).unwrap()
}

fn value<'a>(all: &'a [Field], name: &str) -> Option<&'a str> {
    all.iter().find(|own| own.name == name).map(|own| own.value.as_str())
}

/// Name of a fixture, the key that signed it, its counter.
const ALL: [(&str, &str, Option<u64>); 6] = [
    ("trusted_key", "p256", Some(7)),
    ("soc", "p256", Some(7)),
    ("fwu", "p256", None),
    ("soc_rsa2048", "rsa2048", Some(7)),
    ("soc_key_rsa2048", "rsa2048", Some(7)),
    ("non_trusted_rsa2048", "rsa2048", Some(5)),
];

#[test]
fn certificates_of_cert_create_are_verified_and_told() {
    for (name, key, counter) in ALL {
        let (own, file) = (read(name), fixture(&format!("tfa/{name}.bin")));
        assert_eq!((own.format.as_str(), own.epoch), ("tfa", counter), "{name}");
        assert!(accepted(&file, &TestKey::load(key).public), "{name}");
        assert!(!accepted(&file, &TestKey::load(&format!("other-{key}")).public), "{name}");
    }
    let soc = read("soc");
    assert_eq!(value(&soc.fields, "name"), Some("SoC Firmware Content Certificate"));
    assert_eq!(value(&soc.fields, "trusted firmware counter"), Some("7"));
    let hash = value(&soc.fields, "hash of the SoC AP firmware").unwrap();
    let openssl = keys();
    openssl.write("firmware", &fixture("firmware.bin"));
    openssl.ok("dgst -sha256 -r -out digest firmware");
    assert_eq!(hash, format!("sha256 {}", &openssl.text("digest")[..64]));
    let config = value(&soc.fields, "hash of the SoC firmware's configuration");
    assert_eq!(config, Some("sha256 of no image (zeros)"));
    // The chain: the key that is told of is the one that signs.
    let chain = read("trusted_key");
    for (name, key) in [("trusted world key", "p256"), ("non-trusted world key", "other-p256")] {
        let id = TestKey::load(key).public.id();
        assert_eq!(value(&chain.fields, name), Some(format!("p256 {id}").as_str()));
    }
    let id = TestKey::load("rsa2048").public.id();
    let content = read("soc_key_rsa2048");
    assert_eq!(value(&content.fields, "SoC firmware content key"), Some(format!("rsa2048 {id}").as_str()));
    let fwu = read("fwu");
    let updater = value(&fwu.fields, "hash of the AP firmware updater's configuration");
    assert_eq!(updater, Some(hash), "its number is the one that cert_create has");
    // What a fuse holds.
    openssl.ok("pkey -in p256.pem -pubout -outform DER -out p256.spki");
    openssl.ok("dgst -sha256 -r -out digest p256.spki");
    assert_eq!(value(&soc.notes, "public key sha256"), Some(&openssl.text("digest")[..64]));
}

#[test]
fn openssl_takes_ours_and_refuses_tampered() {
    let openssl = keys();
    for (name, key, counter) in ALL {
        let file = fixture(&format!("tfa/{name}.bin"));
        // By the same key, by another one, and by one of another kind.
        let other = format!("other-{key}");
        let longer: &[&str] = if name == "soc" { &["rsa3072", "rsa4096"] } else { &[] };
        for signer in [key, &other, "p256", "rsa2048"].iter().chain(longer) {
            let signer = TestKey::load(signer);
            let signed = make(&file, &signer, counter.unwrap_or(0)).unwrap();
            assert!(taken(&openssl, &signed), "{name} {}", signer.name);
            assert!(accepted(&signed, &signer.public), "{name} {}", signer.name);
            assert_eq!(inspect(&signed).unwrap().digest(), read(name).digest(), "{name}");
            // OpenSSL shows the same of it, but for key, algorithm and signature.
            assert_eq!(told(&openssl, &signed), told(&openssl, &file), "{name} {}", signer.name);
            // In the serial number, an extension and the signature. With another
            // issuer or key identifier OpenSSL would not see that it is self-signed.
            let extension = signed.windows(2).rposition(|own| own == [0x90, 0x34]).unwrap();
            for at in [20, extension + 30, signed.len() - 40, signed.len() - 1] {
                let mut bad = signed.clone();
                bad[at] ^= 1;
                assert!(!taken(&openssl, &bad) && !accepted(&bad, &signer.public), "{name} {at}");
            }
        }
    }
}

/// Another certificate with the same names is no anchor for one, and one that
/// names the anchor's key and was signed by somebody else is refused.
#[test]
fn by_another_anchor_both_refuse() {
    let openssl = keys();
    for (name, key, counter) in ALL {
        let (key, stranger) = (TestKey::load(key), TestKey::load(&format!("other-{key}")));
        let file = fixture(&format!("tfa/{name}.bin"));
        let [own, foreign] =
            [&key, &stranger].map(|signer| make(&file, signer, counter.unwrap_or(0)).unwrap());
        let names = |file: &[u8]| told(&openssl, file)[1..3].to_vec();
        assert_eq!(names(&own), names(&foreign), "{name}");
        let forged = mutations::resigned(&own, &stranger).unwrap();
        for (anchor, public, judged, good) in [
            (&own, &key.public, &own, true),
            (&foreign, &stranger.public, &foreign, true),
            (&foreign, &stranger.public, &own, false),
            (&own, &key.public, &foreign, false),
            (&own, &key.public, &forged, false),
            (&foreign, &stranger.public, &forged, false),
        ] {
            assert_eq!(taken_by(&openssl, anchor, judged), good, "{name}");
            assert_eq!(accepted(judged, public), good, "{name}");
        }
    }
}

/// What `openssl x509 -text` shows of serial, names, dates and extensions.
fn told(openssl: &common::OpenSsl, file: &[u8]) -> Vec<String> {
    openssl.write("shown", file);
    openssl.ok("x509 -inform DER -in shown -noout -serial -subject -issuer -dates -out lines");
    openssl.ok("x509 -inform DER -in shown -noout -text -certopt no_pubkey,no_sigdump,no_signame -out text");
    let mut lines: Vec<String> =
        [openssl.text("lines"), openssl.text("text")].concat().lines().map(str::to_owned).collect();
    lines.retain(|line| !line.contains("Signature Algorithm"));
    assert!(lines.iter().any(|line| line.contains("1.3.6.1.4.1.4128.2100")), "{lines:?}");
    lines
}

/// With the signature that is there, and the same key, the file is the same.
#[test]
fn we_write_what_cert_create_writes() {
    for (name, key, counter) in ALL {
        let file = fixture(&format!("tfa/{name}.bin"));
        assert!(attach_own(&file, &TestKey::load(key), counter.unwrap_or(0)) == file, "{name}");
    }
    // Made now, by keys that it makes.
    let openssl = keys();
    let images = "--tb-fw f --soc-fw f --tos-fw f --nt-fw f --scp-fw f --tos-fw-extra1 f --sp-pkg1 f --fwu f";
    let kinds = [
        "trusted-key",
        "tb-fw",
        "soc-fw-key",
        "soc-fw",
        "scp-fw-key",
        "scp-fw",
        "tos-fw-key",
        "tos-fw",
        "nt-fw-key",
        "nt-fw",
        "sip-sp",
        "fwu",
    ];
    let files: String = kinds.iter().map(|kind| format!(" --{kind}-cert {kind}.crt")).collect();
    openssl.write("f", b"firmware");
    for algorithm in ["ecdsa", "rsa"] {
        let line = format!("-n -a {algorithm} --tfw-nvctr 31 --ntfw-nvctr 0 {images}{files}");
        cert_create(&openssl, &line);
        for kind in kinds {
            let file = openssl.read(&format!("{kind}.crt"));
            let own = inspect(&file).unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert!(own.fields.iter().all(|own| !own.name.starts_with("extension")), "{kind}: {own:?}");
            openssl.ok(&format!("x509 -inform DER -in {kind}.crt -noout -pubkey -out own.pem"));
            let key = firmseal_manifest::PublicKey::from_pem(&openssl.text("own.pem")).unwrap();
            assert!(accepted(&file, &key), "{kind} {algorithm}");
            let counter = match kind {
                "fwu" => None,
                _ if kind.starts_with("nt-fw") => Some(0),
                // Its counter follows the owner of the partitions.
                "sip-sp" => own.epoch,
                _ => Some(31),
            };
            assert_eq!(own.epoch, counter, "{kind}");
        }
    }
}

/// A key certificate around a public key, which cert_create 2.8 does not make: as
/// the how-to has it.
#[test]
fn key_certificates_are_made_with_openssl() {
    let openssl = keys();
    openssl.write("tfa.cnf", b"[req]\ndistinguished_name=d\n[d]\n");
    let below = TestKey::load("other-p256").public;
    let hex: String = below.spki().iter().map(|byte| format!("{byte:02x}")).collect();
    openssl.ok(&format!(
        "req -x509 -config tfa.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout throwaway.key \
         -days 7300 -subj /CN=SoC_Firmware_Key_Certificate -addext 1.3.6.1.4.1.4128.2100.1=critical,DER:020103 \
         -addext 1.3.6.1.4.1.4128.2100.501=critical,DER:{hex} -outform DER -out made.crt"
    ));
    let key = TestKey::load("p256");
    let signed = make(&openssl.read("made.crt"), &key, 3).unwrap();
    assert!(accepted(&signed, &key.public) && taken(&openssl, &signed));
    let own = inspect(&signed).unwrap();
    assert_eq!(value(&own.fields, "SoC firmware content key"), Some(format!("p256 {}", below.id()).as_str()));
}

#[test]
fn other_hashes_are_shown_and_not_believed() {
    let own = read("sha384");
    let [signature] = own.signatures.as_slice() else { panic!("{own:?}") };
    assert!(matches!(signature.covered, Covered::Unknown(why) if why.contains("SHA-256")));
    assert!(value(&own.fields, "hash of the SoC AP firmware").unwrap().starts_with("sha384 "));
    // Signed again it is with SHA-256, its hashes stay.
    let key = TestKey::load("p256");
    let signed = make(&fixture("tfa/sha384.bin"), &key, 7).unwrap();
    assert!(accepted(&signed, &key.public) && taken(&keys(), &signed));
    assert_eq!(inspect(&signed).unwrap().digest(), own.digest());
}

#[test]
fn the_order_says_the_counter() {
    let key = TestKey::load("p256");
    for (name, _, counter) in ALL {
        let file = fixture(&format!("tfa/{name}.bin"));
        for epoch in [0, 1, 5, 6, 7, 8, u64::MAX] {
            match (make(&file, &key, epoch), counter) {
                (Ok(_), _) => assert_eq!(epoch, counter.unwrap_or(0), "{name}"),
                (Err(FormatError::Disagrees { field: "counter", .. }), Some(own)) => assert_ne!(own, epoch),
                (Err(FormatError::DoesNotFit { field: "epoch", .. }), None) => assert_ne!(epoch, 0),
                (Err(error), _) => panic!("{name}: {error}"),
            }
        }
    }
}
