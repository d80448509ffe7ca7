//! SUIT envelopes: pycose and cryptography are the judges of ours, and we read
//! what they and cbor2 make, the examples of draft-ietf-suit-manifest-37 among
//! it.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod large;
mod mutations;
mod payloads;
mod peer;
mod refusals;
mod separation;

use std::path::Path;

use common::{TestKey, accepted};
use firmseal_core::mldsa::Set;
use firmseal_formats::{Covered, FormatError, Inspection, detect, inspect};
use firmseal_manifest::{KeyAlgorithm, PublicKey};
use peer::{Made, sign, sign_as};

fn fields(read: &Inspection) -> Vec<String> {
    read.fields.iter().map(|own| format!("{}: {}", own.name, own.value)).collect()
}

fn notes(read: &Inspection) -> Vec<String> {
    read.notes.iter().map(|own| format!("{}: {}", own.name, own.value)).collect()
}

#[test]
fn the_drafts_examples_are_read_as_they_are_meant() {
    let made = Made::new();
    let (key, other) = (TestKey::load("p256").public, TestKey::load("other-p256").public);
    // The digests are those that the draft prints.
    let published = [
        "6658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af",
        "1f2e7acca0dc2786f2fe4eb947f50873a6a3cfaa98866c5b02e621f42074daf2",
        "6a5197ed8f9dccf733d1c89a359441708e070b4c6dcb9a1c2c82c6165f609b90",
        "",
        "5b5f6586b1e6cdf19ee479a5adabf206581000bd584b0832a9bdaf4f72cdbdd6",
        "",
    ];
    let examples: Vec<_> = (0..6).map(|number| made.read(&format!("example{number}"))).collect();
    let ours = examples.iter().map(|own| (&key, own.as_slice()));
    let theirs = examples.iter().map(|own| (&other, own.as_slice()));
    let verdicts = made.verdicts(&ours.chain(theirs).collect::<Vec<_>>());
    assert_eq!(verdicts, [["good"; 6], ["signature"; 6]].concat());
    for (number, (digest, envelope)) in published.into_iter().zip(&examples).enumerate() {
        assert_eq!(detect(envelope).unwrap().name(), "suit");
        let read = inspect(envelope).unwrap();
        assert_eq!((read.epoch, read.image_size, read.encrypted), (Some(number as u64), 0, false));
        let target =
            "vendor fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe, class 1492af14-2569-5e48-bf42-9b2d51f2ab45";
        assert_eq!(read.target.as_deref(), Some(target), "example {number}");
        assert!(
            fields(&read)[0].starts_with(&format!("manifest digest: sha256 {digest}")),
            "example {number}"
        );
        assert!(accepted(envelope, &key) && !accepted(envelope, &other), "example {number}");
    }
    let read = inspect(&made.read("example2")).unwrap();
    let has = |all: &[String], line: &str| assert!(all.iter().any(|own| own == line), "{line} in {all:#?}");
    has(&fields(&read), "reference-uri: \"https://git.io/JJYoj\"");
    has(&fields(&read), "component 0: h'00'");
    has(&fields(&read), "install: uri=\"http://example.com/very/long/path/to/file/file.bin\"");
    has(&fields(&read), "shared: image-size=34768");
    has(&notes(&read), "text: severed and left out");
    has(&notes(&read), "signature 1: COSE_Sign1: ES256");
    let read = inspect(&made.read("example3")).unwrap();
    has(&fields(&read), "shared, alternative 2: component-slot=1");
    let read = inspect(&made.read("example4")).unwrap();
    has(&fields(&read), "load: source-component=0");
    has(&fields(&read), "load: copy");
    // Without its commands it is read, and nobody signs what they have not seen.
    let left_out = made.read("left_out");
    has(&notes(&inspect(&left_out).unwrap()), "install: severed and left out");
    assert!(accepted(&left_out, &key));
    let error = sign_as(&left_out, &other, |_| panic!("not signed"), ("1.0.0", 2), &[]).unwrap_err();
    assert!(error.to_string().contains("install commands were severed and left out"), "{error}");
}

/// The draft's own files: they lie beside the repository and are not ours to copy.
#[test]
fn the_drafts_own_signatures_verify() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/suit");
    if !folder.is_dir() {
        println!("left out: the draft's examples are not in {}", folder.display());
        return;
    }
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let key = PublicKey::from_pem(&text("public_key.pem")).unwrap();
    let mut signed = 0;
    for number in 0..3u64 {
        for block in text(&format!("example{number}.txt")).split("~~~") {
            let digits: String = block.split_whitespace().collect();
            if !digits.starts_with("d86b") {
                continue;
            }
            let envelope = firmseal_testkit::vectors::unhex(&digits).unwrap();
            let read = inspect(&envelope).unwrap();
            assert_eq!((read.epoch, read.signatures.len() <= 1), (Some(number), true));
            assert_eq!(accepted(&envelope, &key), !read.signatures.is_empty());
            signed += read.signatures.len();
        }
    }
    assert_eq!(signed, 4);
}

#[test]
fn what_pycose_signs_is_verified_and_what_it_refuses_is_refused() {
    let made = Made::new();
    for name in ["p256", "p384", "ed25519", "rsa3072", "untagged", "severable"] {
        let envelope = made.read(name);
        let signer = if matches!(name, "untagged" | "severable") { "p256" } else { name };
        let (key, other) = (TestKey::load(signer).public, TestKey::load(&format!("other-{signer}")).public);
        let read = inspect(&envelope).unwrap();
        assert_eq!((read.version.as_deref(), read.epoch, read.image_size), (Some("1.2.3"), Some(7), 300));
        assert!(accepted(&envelope, &key) && made.takes(&key, &envelope), "{name}");
        assert!(!accepted(&envelope, &other) && !made.takes(&other, &envelope), "{name}");
    }
    let all = made.read("all_kinds");
    let read = inspect(&all).unwrap();
    let algorithms: Vec<_> = read.signatures.iter().map(|own| own.algorithm).collect();
    assert_eq!(algorithms, [KeyAlgorithm::P256, KeyAlgorithm::Ed25519, KeyAlgorithm::P384]);
    assert!(read.signatures.iter().all(|own| matches!(own.covered, Covered::Tbs(_))));
    for name in ["p256", "ed25519", "p384"] {
        assert!(accepted(&all, &TestKey::load(name).public), "{name}");
    }
    let expected = [
        "delegation: 1 chains of 1 links in all, not read here",
        "member 99: 16 bytes, of a kind that is not known here",
        "payload \"#app.bin\": 300 bytes, as the manifest's image digest says",
        "signature 1: COSE_Sign: ; by ES256, key id 'p256'; by EdDSA, key id 'ed25519'",
        "signature 2: COSE_Mac0: HMAC 256/256, key id 'shared'",
        "signature 3: COSE_Sign1: ES384, key id 'maker'",
    ];
    assert_eq!(notes(&read), expected);
    let text = fields(&inspect(&made.read("severable")).unwrap());
    assert!(
        text.contains(&r#"text: {"en": {1: "fixture", ['app']: {5: "an app"}}}"#.to_owned()),
        "{text:#?}"
    );
    assert_eq!(notes(&inspect(&made.read("untagged")).unwrap())[0], "tag: left out");
}

#[test]
fn an_owner_signs_beside_the_maker() {
    let made = Made::new();
    let maker = TestKey::load("p256");
    let signed = made.read("p256");
    let before = inspect(&signed).unwrap();
    let mut all = Vec::new();
    for name in ["other-p256", "p384", "ed25519", "rsa3072"] {
        for id in ["fully-specified", "older"] {
            let owner = TestKey::load(name);
            let both = sign(&signed, &owner, &[("algorithm-id", id)]).unwrap();
            for key in [&maker.public, &owner.public] {
                assert!(accepted(&both, key), "{name}, {id}");
                all.push((key.clone(), both.clone()));
            }
            let after = inspect(&both).unwrap();
            assert_eq!((after.signatures.len(), after.digest()), (2, before.digest()));
            // Every other byte is where it was, and as it was.
            let tail = signed.len() - 400;
            assert_eq!(both[both.len() - 400..], signed[tail..]);
        }
    }
    let named = notes(
        &inspect(&sign(&signed, &TestKey::load("ed25519"), &[("key-id", "6f776e6572")]).unwrap()).unwrap(),
    );
    assert_eq!(named.last().unwrap(), "signature 2: COSE_Sign1: Ed25519, key id 'owner'");
    let owner = TestKey::load("p384");
    let unnamed = sign(&signed, &owner, &[("key-id", "none"), ("algorithm-id", "older")]).unwrap();
    assert_eq!(notes(&inspect(&unnamed).unwrap()).last().unwrap(), "signature 2: COSE_Sign1: ES384");
    // One of an envelope without tag, and of the first signature of one.
    for name in ["untagged", "unsigned", "severable", "all_kinds"] {
        let both = sign(&made.read(name), &owner, &[]).unwrap();
        assert!(accepted(&both, &owner.public) && made.takes(&owner.public, &both), "{name}");
    }
}

#[test]
fn keys_that_outlive_quantum_computers_sign_as_well() {
    let made = Made::new();
    let signed = made.read("p256");
    for (set, id) in [(Set::MlDsa44, "ML-DSA-44"), (Set::MlDsa65, "ML-DSA-65"), (Set::MlDsa87, "ML-DSA-87")] {
        let key = firmseal_testkit::TestKey::ml_dsa(set, 7);
        let both = sign_as(&signed, key.public(), |tbs| key.sign(tbs), ("1.2.3", 7), &[]).unwrap();
        assert!(made.takes(key.public(), &both) && made.takes(&TestKey::load("p256").public, &both), "{id}");
        let read = inspect(&both).unwrap();
        let own = &read.signatures[1];
        assert_eq!(own.algorithm, KeyAlgorithm::MlDsa(set));
        assert!(notes(&read).last().unwrap().contains(id));
        // What it covers is what that key signs, which is deterministic here.
        let Covered::Tbs(tbs) = &own.covered else { panic!("{id}") };
        assert!(key.sign(tbs) == own.signature);
    }
    let lms = firmseal_testkit::TestKey::lms(1);
    let error = sign_as(&signed, lms.public(), |tbs| lms.sign(tbs), ("1.2.3", 7), &[]).unwrap_err();
    assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{error}");
}

#[test]
fn an_owner_signs_anew() {
    let made = Made::new();
    let (maker, owner) = (TestKey::load("p256"), TestKey::load("other-p256"));
    for name in ["p256", "all_kinds", "unsigned"] {
        let anew = sign(&made.read(name), &owner, &[("existing", "replace")]).unwrap();
        assert!(accepted(&anew, &owner.public) && made.takes(&owner.public, &anew), "{name}");
        assert!(!accepted(&anew, &maker.public) && !made.takes(&maker.public, &anew), "{name}");
        assert_eq!(inspect(&anew).unwrap().signatures.len(), 1, "{name}");
    }
    // The one of the same key id, in its place; another one stays.
    let both = sign(&made.read("p256"), &owner, &[("key-id", "6f6e65")]).unwrap();
    let wish = [("key-id", "6f6e65"), ("existing", "replace-same"), ("algorithm-id", "older")];
    let next = TestKey::load("ed25519");
    let rolled = sign(&both, &next, &wish).unwrap();
    assert!(accepted(&rolled, &maker.public) && made.takes(&maker.public, &rolled));
    assert!(accepted(&rolled, &next.public) && made.takes(&next.public, &rolled));
    assert!(!accepted(&rolled, &owner.public) && !made.takes(&owner.public, &rolled));
    assert_eq!(inspect(&rolled).unwrap().signatures[1].algorithm, KeyAlgorithm::Ed25519);
    // pycose's own, named `maker`, goes the same way.
    let wish = [("key-id", "6d616b6572"), ("existing", "replace-same")];
    let first = sign(&made.read("all_kinds"), &next, &wish).unwrap();
    assert_eq!(notes(&inspect(&first).unwrap())[5], "signature 3: COSE_Sign1: Ed25519, key id 'maker'");
    let refused = |wish: &[(&str, &str)], source: &Vec<u8>, why: &str| {
        let error = sign(source, &next, wish).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&[("existing", "replace-same")], &both, "no COSE_Sign1 has this key id");
    refused(&[("existing", "replace-same"), ("key-id", "none")], &both, "needs a key id");
    refused(&[("key-id", "6f6e65")], &both, "there is a COSE_Sign1 with this key id");
    refused(&[("existing", "some")], &both, "use keep, replace or replace-same");
    refused(&[("key-id", "6f6")], &both, "hexadecimal");
    refused(&[("key-id", "")], &both, "hexadecimal");
    refused(&[("algorithm-id", "new")], &both, "fully-specified or older");
    refused(&[("certificate", "x")], &both, "not known here");
}

#[test]
fn tampered_foreign_and_other_orders_are_refused() {
    let made = Made::new();
    let key = TestKey::load("p256");
    let signed = sign(&made.read("unsigned"), &key, &[("algorithm-id", "older")]).unwrap();
    assert!(accepted(&signed, &key.public) && made.takes(&key.public, &signed));
    let changed = |from: &[u8], to: u8| {
        let at = signed.windows(from.len()).position(|window| window == from).unwrap();
        let mut out = signed.clone();
        out[at] ^= to;
        out
    };
    let vendor = [0xfa, 0x6b, 0x4a, 0x53];
    for (what, bytes) in [("vendor", changed(&vendor, 1)), ("uri", changed(b"#app.bin", 0x40))] {
        assert!(!accepted(&bytes, &key.public) && !made.takes(&key.public, &bytes), "{what}");
        assert!(matches!(inspect(&bytes), Err(FormatError::DigestMismatch { .. })), "{what}");
    }
    let payload = changed(&[3, 10, 31, 66], 1);
    let error = inspect(&payload).unwrap_err().to_string();
    assert!(error.contains("which is not the manifest's image digest"), "{error}");
    let order = |version, epoch| {
        sign_as(&signed, &key.public, |tbs| key.sign(tbs), (version, epoch), &[("existing", "replace")])
    };
    assert!(order("1.2.3", 7).is_ok());
    let error = order("1.2.3", 8).unwrap_err().to_string();
    assert!(error.contains("the file says sequence number 7, the request says 8"), "{error}");
    let error = order("1.2.4", 7).unwrap_err().to_string();
    assert!(error.contains("the file says version 1.2.3, the request says 1.2.4"), "{error}");
}
