//! Both directions, and tampering at each place.

use super::{Rauc, VERSION, cms_at, sign, tree_at};
use crate::common::{TestKey, accepted, fixture, verifies};
use firmseal_formats::{FormatError, detect, inspect};

const KEYS: [&str; 4] = ["p256", "p384", "rsa2048", "rsa3072"];

#[test]
fn we_read_what_rauc_makes() {
    let rauc = Rauc::new(&["p256", "rsa2048"]);
    for (format, name) in [
        ("verity", "p256"),
        ("crypt", "p256"),
        ("plain", "p256"),
        ("verity", "rsa2048"),
        ("plain", "rsa2048"),
    ] {
        let bundle = rauc.bundle(format, name);
        let read = inspect(&bundle).unwrap();
        let [signature] = read.signatures.as_slice() else { panic!("{format}") };
        assert!(verifies(signature, &TestKey::load(name).public), "{format} {name}");
        assert!(!accepted(&bundle, &TestKey::load("other-p256").public), "{format}");
        assert_eq!((read.format.as_str(), read.encrypted), ("rauc", format == "crypt"));
        let field =
            |name: &str| read.fields.iter().find(|own| own.name == name).map(|own| own.value.as_str());
        assert_eq!(field("bundle format"), Some(format));
        if format == "plain" {
            assert_eq!((read.target, read.version), (None, None));
            assert!(read.notes.iter().any(|own| own.name == "manifest"));
            continue;
        }
        assert_eq!((read.target.as_deref(), read.version.as_deref()), (Some("Test Board"), Some(VERSION)));
        assert_eq!((field("description"), field("hooks filename")), (Some("a test"), Some("hook.sh")));
        assert_eq!(
            (field("hooks hooks"), field("image.rootfs hooks")),
            (Some("install-check;"), Some("post-install;"))
        );
        assert_eq!(
            (field("image.rootfs filename"), field("image.rootfs size")),
            (Some("root.img"), Some("700000"))
        );
        // What opens the payload is told to nobody.
        let text = format!("{read:?}");
        let cms = String::from_utf8_lossy(&bundle[cms_at(&bundle)..]).into_owned();
        let key = cms.split_once("crypt-key=").map(|(_, rest)| rest[..64].to_owned());
        assert_eq!(key.is_some(), format == "crypt");
        assert!(key.is_none_or(|key| !text.contains(&key)), "{format}");
    }
}

/// What the mutation test and the fuzz target start from.
#[test]
fn every_fixture_reads_as_what_it_is() {
    let key = TestKey::load("p256");
    for name in ["verity", "crypt", "plain"] {
        let bundle = fixture(&format!("rauc/{name}.bin"));
        assert!(accepted(&bundle, &key.public), "{name}");
        assert_eq!(detect(&bundle).unwrap().name(), "rauc");
    }
    let sealed = inspect(&fixture("rauc/enveloped.bin")).unwrap();
    assert!(sealed.encrypted && sealed.signatures.is_empty());
}

#[test]
fn rauc_takes_ours_and_refuses_tampered_and_foreign() {
    let rauc = Rauc::new(&[&KEYS[..], &["other-p256"]].concat());
    let made: Vec<_> =
        ["verity", "crypt", "plain"].iter().map(|own| (*own, rauc.bundle(own, "p256"))).collect();
    for name in KEYS {
        let (key, certificate) = (TestKey::load(name), rauc.certificate(name));
        for (format, by_rauc) in &made {
            for padding in ["pss", "pkcs1", "pss-max"] {
                let mut wish =
                    vec![("certificate", certificate.as_str()), ("signing-time", "2026-11-21T12:00:00Z")];
                match (name.starts_with("rsa"), padding) {
                    (true, "pss-max") if name != "rsa3072" => continue,
                    (true, _) => wish.push(("padding", padding)),
                    (false, "pss") => {}
                    (false, _) => continue,
                }
                if *format == "plain" {
                    wish.push(("plain", "true"));
                }
                let what = format!("{name} {format} {padding}");
                let signed = sign(by_rauc, &key, VERSION, &wish).unwrap();
                assert!(accepted(&signed, &key.public), "{what}");
                assert!(!accepted(&signed, &TestKey::load("other-p256").public), "{what}");
                assert_eq!(
                    signed[..cms_at(&signed)],
                    by_rauc[..cms_at(by_rauc)],
                    "{what}: nothing else changes"
                );
                assert_eq!(inspect(&signed).unwrap().digest(), inspect(by_rauc).unwrap().digest(), "{what}");
                assert!(rauc.informs(&signed, name) && rauc.extracts(&signed, name), "{what}");
                assert!(
                    !rauc.informs(&signed, "other-p256") && !rauc.extracts(&signed, "other-p256"),
                    "{what}"
                );
                assert_eq!(rauc.openssl.read("content/root.img").len(), 700_000);
            }
        }
    }
}

#[test]
fn what_is_tampered_with_is_refused_wherever_it_is() {
    let rauc = Rauc::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    for format in ["verity", "crypt", "plain"] {
        let wish = [("certificate", certificate.as_str()), ("plain", "true")];
        let good = sign(&rauc.bundle(format, "p256"), &key, VERSION, &wish).unwrap();
        assert!(rauc.extracts(&good, "p256"));
        let (tree, cms) = (tree_at(&good), cms_at(&good));
        let manifest = good.windows(12).position(|own| own == b"[update]\ncom");
        let mut places = vec![("payload", 5000), ("end of the payload", tree - 1), ("CMS", cms + 60)];
        places.extend([
            ("signature", good.len() - 20),
            ("length", good.len() - 1),
            ("length", good.len() - 8),
        ]);
        if format != "plain" {
            places.extend([("tree", tree), ("leaves", tree + 4096), ("end of the tree", cms - 1)]);
            places.push(("manifest", manifest.unwrap() + 20));
        }
        for (place, at) in places {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(!accepted(&bad, &key.public), "{format} {place}");
            assert!(!rauc.extracts(&bad, "p256"), "{format} {place}");
        }
        // Bytes that are put in or taken out, between the parts and behind.
        for at in [0, tree, cms, good.len()] {
            for len in [1, 4096] {
                let mut bad = good.clone();
                bad.splice(at..at, vec![0; len]);
                assert!(!accepted(&bad, &key.public), "{format} {at} {len}");
                assert!(!rauc.extracts(&bad, "p256"), "{format} {at} {len}");
            }
        }
        // `rauc info` looks at no payload; we do.
        let mut bad = good.clone();
        bad[5000] ^= 1;
        assert_eq!(rauc.informs(&bad, "p256"), format != "plain", "{format}");
        match inspect(&bad) {
            Err(FormatError::DigestMismatch { .. }) => assert_ne!(format, "plain"),
            Ok(_) => assert_eq!(format, "plain"),
            Err(error) => panic!("{format}: {error}"),
        }
    }
}

/// An expired certificate is rauc's to refuse: what is believed here is a key.
#[test]
fn certificates_that_have_expired_are_rauc_s_to_refuse() {
    let rauc = Rauc::new(&["p256"]);
    rauc.openssl.ok("req -new -key p256.pem -subj /CN=old -out old.csr");
    std::fs::write(rauc.path("index.txt"), "").unwrap();
    let conf = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\npolicy=any\n\
                default_md=sha256\n[any]\ncommonName=supplied\n";
    std::fs::write(rauc.path("ca.cnf"), conf).unwrap();
    rauc.openssl.ok("ca -batch -config ca.cnf -selfsign -keyfile p256.pem -in old.csr -out old.crt -notext \
         -startdate 20200101000000Z -enddate 20210101000000Z");
    let key = TestKey::load("p256");
    let bundle = rauc.bundle("verity", "p256");
    let signed = sign(&bundle, &key, VERSION, &[("certificate", &rauc.certificate("old"))]).unwrap();
    assert!(accepted(&signed, &key.public));
    assert!(!rauc.extracts(&signed, "old"));
}
