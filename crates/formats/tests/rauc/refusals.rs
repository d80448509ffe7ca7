//! What is refused, and why.

use super::{Rauc, VERSION, cms_at, sign};
use crate::common::{TestKey, make};
use firmseal_formats::{FormatError, detect, find, inspect};

#[test]
fn manifests_that_do_not_fit_their_payload_are_refused() {
    let rauc = Rauc::new(&["p256", "rsa2048"]);
    let good = rauc.bundle("verity", "p256");
    let (payload, manifest) = (&good[..cms_at(&good)], rauc.manifest_of(&good));
    let judged = |manifest: &str, more: &str| inspect(&rauc.signed(payload, manifest.as_bytes(), more));
    assert!(judged(&manifest, "").is_ok());
    let line = |key: &str| manifest.lines().find(|own| own.starts_with(key)).unwrap().to_owned();
    let (hash, salt, size) = (line("verity-hash"), line("verity-salt"), line("verity-size"));
    let zeros = "0".repeat(64);
    for (manifest, why) in [
        (manifest.replace(&hash, &format!("verity-hash={zeros}")), "does not match"),
        (manifest.replace(&salt, &format!("verity-salt={zeros}")), "does not match"),
        (manifest.replace(&hash, ""), "verity-hash"),
        (manifest.replace(&size, "verity-size=8192"), "length of its tree"),
        (manifest.replace(&size, "verity-size=4294967296"), "longer than the bundle"),
        (manifest.replace(&size, "verity-size=4097"), "no multiple"),
        (manifest.replace("format=verity", "format=plain"), "verity or a crypt"),
        (manifest.replace("format=verity", "format=crypt"), "crypt-key"),
        (manifest.replace("format=verity", &format!("format=crypt\ncrypt-key={zeros}")), "opens no squashfs"),
        (manifest.replace("format=verity", "format=verity\nformat=crypt"), "twice"),
        (manifest.replace("root.img", "../root.img"), "no name of a file"),
    ] {
        let error = judged(&manifest, "").unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    for (more, why) in [
        ("-signer rsa2048.crt -inkey rsa2048.pem", "more than one signer"),
        ("-nocerts", "certificate of a signer"),
        ("-stream -indef", "does not end in CMS"),
        ("-econtent_type 1.2.3.4", "something else than data"),
    ] {
        let error = find("rauc").unwrap().inspect(&rauc.signed(payload, manifest.as_bytes(), more));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn what_a_gate_could_not_see_is_not_signed_by_the_way() {
    let rauc = Rauc::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    let certified = ("certificate", certificate.as_str());
    let refused = |source: &[u8], version: &str, wish: &[(&str, &str)]| {
        sign(source, &key, version, wish).unwrap_err().to_string()
    };
    let plain = rauc.bundle("plain", "p256");
    assert!(refused(&plain, VERSION, &[certified]).contains("plain=true"));
    assert!(refused(&plain, VERSION, &[certified, ("plain", "yes")]).contains("true or false"));
    let crypt = rauc.bundle("crypt", "p256");
    let error = refused(&crypt, "1.2.4", &[certified]);
    assert!(error.contains("the file says version 1.2.3, the request says 1.2.4"), "{error}");
    assert!(refused(&crypt, VERSION, &[]).contains("certificate"));
    assert!(refused(&crypt, VERSION, &[certified, ("append", "true")]).contains("not known here"));
    rauc.ok("rauc", "--keyring=p256.crt --to=p256.crt encrypt made.raucb sealed.raucb");
    let sealed = rauc.openssl.read("sealed.raucb");
    assert!(refused(&sealed, VERSION, &[certified]).contains("encrypted for its recipients"));
    let read = inspect(&sealed).unwrap();
    assert!(read.encrypted && read.signatures.is_empty());
    let told = read.notes.iter().find(|own| own.name == "recipient").unwrap();
    assert!(told.value.ends_with(" of CN=p256"), "{}", told.value);
    let refused = sign(&crypt, &TestKey::load("ed25519"), VERSION, &[certified]);
    assert!(matches!(refused, Err(FormatError::KeyAlgorithm { .. })));
}

/// A CMS signature beside a manifest is one around it, with two lengths
/// changed: who signs files for a `cms` product would sign bundles.
#[test]
fn manifests_are_signed_in_bundles_alone() {
    let rauc = Rauc::new(&["p256"]);
    let manifest = rauc.manifest_of(&rauc.bundle("verity", "p256"));
    let certificate = rauc.certificate("p256");
    let refused =
        make("cms", &manifest.into_bytes(), &TestKey::load("p256"), &[("certificate", &certificate)]);
    assert!(matches!(refused, Err(FormatError::Inner { .. })));
}

#[test]
fn a_bundle_is_told_by_its_end() {
    let rauc = Rauc::new(&["p256"]);
    let good = rauc.bundle("verity", "p256");
    assert_eq!(detect(&good).unwrap().name(), "rauc");
    for cut in [1, 7, 8, 9, 100] {
        let cut = good[..good.len() - cut].to_vec();
        assert_eq!(detect(&cut).unwrap().name(), "raw");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(detect(&longer).unwrap().name(), "raw");
    assert!(find("rauc").unwrap().inspect(&longer).unwrap_err().to_string().contains("does not end in CMS"));
}
