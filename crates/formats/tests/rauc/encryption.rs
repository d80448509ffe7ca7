//! Crypt bundles for recipients: rauc opens ours, and we open rauc's.

use super::{Rauc, VERSION, cms_at, sign};
use crate::common::{TestKey, accepted};
use firmseal_formats::{DecryptionKey, FormatError, Parameters, Wanted, find, inspect, lay_out};

/// What a device reads.
fn opened(bundle: &[u8], pem: &str) -> Result<Vec<u8>, FormatError> {
    let (key, source) = (DecryptionKey::from_pem(pem).unwrap(), bundle.to_vec());
    let plan = find("rauc")?.decrypt(&source, &key)?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

/// Whether rauc extracts a bundle with a device's key.
fn extracts_with(rauc: &Rauc, bundle: &[u8], authority: &str, key: &str) -> bool {
    rauc.openssl.write("sealed.raucb", bundle);
    let _ = std::fs::remove_dir_all(rauc.path("out"));
    rauc.run("rauc", &format!("--keyring={authority}.crt --key={key}.pem extract sealed.raucb out"))
}

#[test]
fn we_open_what_rauc_encrypts() {
    let rauc = Rauc::new(&["p256", "other-p256", "rsa2048"]);
    let clear = rauc.bundle("crypt", "p256");
    rauc.ok("rauc", "--keyring=p256.crt --to=rsa2048.crt --to=other-p256.crt encrypt made.raucb by.rauc");
    let sealed = rauc.openssl.read("by.rauc");
    let read = inspect(&sealed).unwrap();
    assert!(read.encrypted && read.signatures.is_empty() && read.target.is_none());
    let told: Vec<_> =
        read.notes.iter().filter(|own| own.name == "recipient").map(|own| &own.value).collect();
    assert!(told[0].ends_with(" of CN=rsa2048") && told[1].ends_with(" of CN=other-p256"), "{told:?}");
    assert_eq!(opened(&sealed, &rauc.openssl.text("other-p256.pem")).unwrap(), clear);
    let other = opened(&sealed, &rauc.openssl.text("p256.pem"));
    assert!(matches!(other, Err(FormatError::NotForThisKey)));
    let transported = opened(&sealed, &rauc.openssl.text("rsa2048.pem")).unwrap_err().to_string();
    assert!(transported.contains("keys of P-256"), "{transported}");
    assert!(
        opened(&clear, &rauc.openssl.text("p256.pem")).unwrap_err().to_string().contains("not encrypted")
    );
}

#[test]
fn envelopes_around_anything_else_are_refused() {
    let rauc = Rauc::new(&["p256", "other-p256"]);
    for (format, takes) in [("crypt", true), ("plain", false)] {
        let bundle = rauc.bundle(format, "p256");
        let at = cms_at(&bundle);
        let mut inner = bundle[at..bundle.len() - 8].to_vec();
        // Once, and in another one.
        for takes in [takes, false] {
            rauc.openssl.write("inner.cms", &inner);
            rauc.openssl.ok(
                "cms -encrypt -binary -aes-256-cbc -in inner.cms -outform DER -out outer.cms other-p256.crt",
            );
            inner = rauc.openssl.read("outer.cms");
            let sealed = [&bundle[..at], &inner, &(inner.len() as u64).to_be_bytes()].concat();
            assert_eq!(extracts_with(&rauc, &sealed, "p256", "other-p256"), takes, "{format}");
            assert_eq!(opened(&sealed, &rauc.openssl.text("other-p256.pem")).is_ok(), takes, "{format}");
        }
    }
}

#[test]
fn rauc_opens_what_we_encrypt_and_nobody_else_does() {
    let rauc = Rauc::new(&["p256", "other-p256", "rsa2048", "rsa3072", "other-rsa2048"]);
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    let bundle = rauc.bundle("crypt", "p256");
    let all = ["other-p256", "rsa2048", "rsa3072"];
    let mut groups = vec![all.to_vec()];
    groups.extend(all.map(|one| vec![one]));
    for group in groups {
        let devices: String = group.iter().map(|name| rauc.certificate(name)).collect();
        let wish = [("certificate", certificate.as_str()), ("encrypt", devices.as_str())];
        // OpenSSL's ECDSA differs from one time to the next: one signature.
        let parameters: Parameters = wish.into_iter().collect();
        let wanted =
            Wanted { version: VERSION.parse().unwrap(), epoch: 0, key: &key.public, parameters: &parameters };
        let format = find("rauc").unwrap();
        let laid_out = lay_out(format, &bundle, &wanted).unwrap();
        let (unsigned, signature) = (laid_out.unsigned.unwrap(), key.sign(&laid_out.tbs));
        let write = || {
            let plan = firmseal_formats::attach(format, &unsigned, &bundle, &signature).unwrap();
            let mut out = Vec::new();
            plan.write_to(&bundle, &mut out).unwrap();
            out
        };
        let sealed = write();
        assert_eq!(sealed, write(), "the same wish makes the same file");
        assert!(unsigned.attach(&signature).is_err(), "what is to be sealed is not written in the clear");
        assert_eq!(sealed[..cms_at(&sealed)], bundle[..cms_at(&bundle)]);
        assert_eq!(inspect(&sealed).unwrap().signatures.len(), 0);
        assert!(!accepted(&sealed, &key.public) && !rauc.extracts(&sealed, "p256"), "for nobody else");
        for name in all {
            let is_for = group.contains(&name);
            assert_eq!(extracts_with(&rauc, &sealed, "p256", name), is_for, "{name}");
            if name == "other-p256" {
                let clear = opened(&sealed, &rauc.openssl.text("other-p256.pem"));
                assert_eq!(clear.is_ok_and(|clear| accepted(&clear, &key.public)), is_for);
            }
        }
        assert!(!extracts_with(&rauc, &sealed, "rsa2048", group[0]), "another authority");
        assert!(!extracts_with(&rauc, &sealed, "p256", "other-rsa2048"), "another device");
        // The manifest, of which each block is met twice in this mode. Names of
        // recipients are looked at by nobody; behind the manifest is a
        // certificate, of which rauc looks at what it believes.
        let name = group[0];
        let aes = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
        let content = sealed.windows(aes.len()).rposition(|own| own == aes).unwrap() + aes.len();
        for at in (content + 10..content + 500).step_by(37) {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(!extracts_with(&rauc, &bad, "p256", name), "{name} {at}");
            if name == "other-p256" {
                let clear = opened(&bad, &rauc.openssl.text("other-p256.pem"));
                assert!(!clear.is_ok_and(|clear| accepted(&clear, &key.public)), "byte {at}");
            }
        }
    }
}

#[test]
fn wishes_that_would_hide_nothing_are_refused() {
    let rauc = Rauc::new(&["p256", "p384", "rsa2048"]);
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    let (crypt, verity) = (rauc.bundle("crypt", "p256"), rauc.bundle("verity", "p256"));
    let device = rauc.certificate("rsa2048");
    for (bundle, devices, why) in [
        (&verity, device.clone(), "crypt bundles alone"),
        (&crypt, String::new(), "none, or more than 64"),
        (&crypt, rauc.openssl.text("rsa2048.pub.pem"), "no PEM of certificates"),
        (&crypt, format!("{device}{}", rauc.openssl.text("rsa2048.pem")), "no PEM of certificates"),
        (&crypt, format!("{device}{device}"), "certificate 2: it stands in it twice"),
        (&crypt, rauc.certificate("p384"), "certificate 1: its key is neither"),
        (&crypt, device.repeat(65), "none, or more than 64"),
    ] {
        let wish = [("certificate", certificate.as_str()), ("encrypt", devices.as_str())];
        let error = sign(bundle, &key, VERSION, &wish).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}
