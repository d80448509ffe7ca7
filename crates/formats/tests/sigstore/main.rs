//! Sigstore bundles of own keys: the library that npm verifies with judges
//! ours, and we read what it writes.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod judge;

use base64ct::{Base64, Encoding};
use common::{OpenSsl, Random, TestKey, flip_each, make, mutate, verifies};
use firmseal_formats::{Covered, FormatError, Inspection, find};
use firmseal_manifest::Tbs;
use judge::Judge;
use serde_json::{Value, json};

const FIRMWARE: &[u8] = b"firmware of the gateway, 1.2.3";
const MESSAGE: [(&str, &str); 1] = [("content", "message")];

fn read(bundle: &[u8], file: &[u8]) -> Result<Inspection, FormatError> {
    find("sigstore").unwrap().beside().unwrap().read(&bundle.to_vec(), &file.to_vec())
}

fn we_take(bundle: &[u8], file: &[u8], key: &TestKey) -> bool {
    read(bundle, file).is_ok_and(|read| read.signatures.iter().any(|own| verifies(own, &key.public)))
}

fn field(inspection: &Inspection, name: &str) -> Option<String> {
    Some(inspection.fields.iter().find(|field| field.name == name)?.value.clone())
}

fn sign(name: &str, wish: &[(&str, &str)]) -> Result<Vec<u8>, FormatError> {
    make("sigstore", &FIRMWARE.to_vec(), &TestKey::load(name), wish)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn npm_accepts_ours_and_refuses_tampered_and_foreign() {
    let openssl = OpenSsl::new(&["p256", "p384", "ed25519", "rsa2048", "rsa3072", "other-p256"]);
    let judge = Judge::new();
    let attested: [(&str, &str); 3] = [
        ("predicate-type", "https://slsa.dev/provenance/v1"),
        ("predicate", " {\"b\": [1, 2], \"a\": \"\u{e9}\"}\n"),
        ("subject", "gateway \"1\""),
    ];
    let statement: [&[(&str, &str)]; 3] = [&[], &[("content", "dsse")], &attested];
    let cases = [
        ("p256", &statement[..]),
        ("ed25519", &statement),
        ("rsa2048", &statement),
        ("p256", &[&MESSAGE]),
        ("p384", &[&MESSAGE]),
        ("rsa3072", &[&MESSAGE]),
    ];
    for (name, wishes) in cases {
        let (key, pem) = (TestKey::load(name), openssl.text(&format!("{name}.pub.pem")));
        let other = openssl.text("other-p256.pub.pem");
        for wish in wishes {
            let bundle = sign(name, wish).unwrap();
            assert!(we_take(&bundle, FIRMWARE, &key), "{name} {wish:?}");
            assert!(judge.takes(&bundle, FIRMWARE, &pem), "{name} {wish:?}");
            assert!(!judge.takes(&bundle, FIRMWARE, &other), "{name} {wish:?}");
            assert!(!we_take(&bundle, FIRMWARE, &TestKey::load("other-p256")), "{name} {wish:?}");
            assert!(!we_take(&bundle, b"other firmware", &key), "{name} {wish:?}");
            // That a statement is about this file, the library leaves to
            // whoever calls it.
            assert_eq!(judge.takes(&bundle, b"other firmware", &pem), !wish.contains(&MESSAGE[0]), "{name}");
            let other = read(&bundle, b"other firmware").unwrap();
            assert_eq!(other.signatures[0].covered, Covered::Unknown("it is over something else"));
        }
    }
}

#[test]
fn what_npm_does_not_verify_is_not_signed() {
    for (name, wish) in [("p384", &[][..]), ("ed25519", &MESSAGE)] {
        let refused = sign(name, wish);
        assert!(matches!(refused, Err(FormatError::KeyAlgorithm { .. })), "{name}");
    }
    // It has SHA-256 under envelopes of P-384, and no other hash.
    let (openssl, judge) = (OpenSsl::new(&["p384", "ed25519"]), Judge::new());
    for (name, statement) in [("p384", Some(statement(&[FIRMWARE]))), ("ed25519", None)] {
        let bundle = judge.signs(FIRMWARE, statement.as_deref(), &openssl.text(&format!("{name}.pem")));
        assert_eq!(
            judge.takes(bundle.as_bytes(), FIRMWARE, &openssl.text(&format!("{name}.pub.pem"))),
            name == "p384"
        );
        assert!(!we_take(bundle.as_bytes(), FIRMWARE, &TestKey::load(name)), "{name}");
    }
}

/// A statement about files, as cosign writes it.
fn statement(files: &[&[u8]]) -> String {
    let subjects: Vec<Value> =
        files.iter().map(|file| json!({ "digest": { "sha256": sha256(file) }, "annotations": {} })).collect();
    let sign = "https://sigstore.dev/cosign/sign/v1";
    json!({ "_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": sign, "predicate": {} })
        .to_string()
}

#[test]
fn we_read_what_npm_writes() {
    let openssl = OpenSsl::new(&["p256", "ed25519", "rsa3072"]);
    let judge = Judge::new();
    for name in ["p256", "ed25519", "rsa3072"] {
        let (key, pem) = (TestKey::load(name), openssl.text(&format!("{name}.pem")));
        for statement in [Some(statement(&[FIRMWARE])), Some(statement(&[b"another", FIRMWARE])), None] {
            if name == "ed25519" && statement.is_none() {
                continue;
            }
            let bundle = judge.signs(FIRMWARE, statement.as_deref(), &pem);
            assert!(we_take(bundle.as_bytes(), FIRMWARE, &key), "{name} {bundle}");
            assert!(!we_take(bundle.as_bytes(), b"other", &key), "{name}");
            let read = read(bundle.as_bytes(), FIRMWARE).unwrap();
            assert_eq!(read.notes[0].value, "the key");
        }
    }
}

#[test]
fn a_statement_says_what_was_asked_for() {
    let bundle: Value = serde_json::from_slice(&sign("ed25519", &[]).unwrap()).unwrap();
    let payload = Base64::decode_vec(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    // Byte for byte: a signature is over these.
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        format!(
            "{{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{{\"digest\":{{\"sha256\":\"{}\"}},\
             \"annotations\":{{\"firmseal.version\":\"1.0.0\",\"firmseal.epoch\":\"0\"}}}}],\"predicateType\":\
             \"https://sigstore.dev/cosign/sign/v1\",\"predicate\":{{}}}}",
            sha256(FIRMWARE)
        )
    );
    let read = read(bundle.to_string().as_bytes(), FIRMWARE).unwrap();
    assert_eq!((read.version.as_deref(), read.epoch), (Some("1.0.0"), Some(0)));
    assert_eq!(field(&read, "predicate type").unwrap(), "https://sigstore.dev/cosign/sign/v1");
    assert_eq!(field(&read, "sha256").unwrap(), sha256(FIRMWARE));
    let wishes: [&[(&str, &str)]; 11] = [
        &[("content", "both")],
        &[("predicate", "{}")],
        &[("predicate-type", "https://slsa.dev/provenance/v1")],
        &[("predicate-type", "provenance"), ("predicate", "{}")],
        &[("predicate-type", "https://x/ \""), ("predicate", "{}")],
        &[("predicate-type", "https://x"), ("predicate", "[]")],
        &[("predicate-type", "https://x"), ("predicate", "{\"a\":1,\"a\":2}")],
        &[("predicate-type", "https://x"), ("predicate", "{},\"subject\":{}")],
        &[("subject", "a\u{202e}b")],
        &[("content", "message"), ("subject", "a")],
        &[("certificate", "x")],
    ];
    for wish in wishes {
        assert!(matches!(sign("p256", wish), Err(FormatError::Parameter { .. })), "{wish:?}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(65_400));
    let long = [("predicate-type", "https://x"), ("predicate", long.as_str())];
    assert!(sign("ed25519", &long).is_ok() && sign("p256", &long).is_ok());
}

/// What a key signs of a file beside it is a hash, and so is what it signs of
/// a statement: the file that *is* what is signed of one would be signed as
/// that.
#[test]
fn a_file_that_is_an_envelopes_content_is_signed_by_nobody() {
    let statement = statement(&[b"evil"]);
    let file = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len()).into_bytes();
    for (format, wish) in [("raw", &[][..]), ("sigstore", &MESSAGE), ("sigstore", &[])] {
        let key = TestKey::load("p256");
        let wish: firmseal_formats::Parameters = wish.iter().copied().collect();
        let version = semver::Version::new(1, 0, 0);
        let wanted = firmseal_formats::Wanted { version, epoch: 0, key: &key.public, parameters: &wish };
        let refused = firmseal_formats::lay_out(find(format).unwrap(), &file, &wanted);
        assert!(matches!(refused, Err(FormatError::Inner { .. })), "{format}");
    }
    // It would have been this signature.
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file);
    let own = TestKey::load("p256").sign(&Tbs::Sha256(hash.as_ref().try_into().unwrap()));
    let der = firmseal_manifest::ecdsa::to_der(&own.0).unwrap();
    let mut bundle = envelope(&statement);
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = Base64::encode_string(&der).into();
    assert!(we_take(bundle.to_string().as_bytes(), b"evil", &TestKey::load("p256")));
}

fn envelope(statement: &str) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "x" } },
        "dsseEnvelope": {
            "payload": Base64::encode_string(statement.as_bytes()),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": "MAYCAQECAQE=", "keyid": "" }],
        },
    })
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let good = envelope(&statement(&[FIRMWARE]));
    let with = |at: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(all) => all.push(value),
            _ => parent[name] = value,
        }
        changed.to_string()
    };
    assert!(read(good.to_string().as_bytes(), FIRMWARE).is_ok());
    let message =
        json!({ "messageDigest": { "algorithm": "SHA2_256", "digest": "AA==" }, "signature": "AA==" });
    let text = good.to_string();
    let cases = [
        (with("/mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2".into()), "version 0.3"),
        (with("/mediaType", Value::Null), "version 0.3"),
        (with("/messageSignature", message), "not just one of"),
        (with("/media_type", "x".into()), "has members"),
        (with("/verificationMaterial/certificate", json!({ "rawBytes": "AA==" })), "of a certificate"),
        (with("/verificationMaterial/x509CertificateChain", json!({})), "of a certificate"),
        (with("/verificationMaterial/publicKey", Value::Null), "object belongs"),
        (with("/verificationMaterial/publicKey/hint", "\u{1b}[2J".into()), "no plain text"),
        (with("/verificationMaterial/tlogEntries", json!([1])), "log entries"),
        (with("/dsseEnvelope/payloadType", "text/plain".into()), "no in-toto"),
        (with("/dsseEnvelope/signatures/-", json!({ "sig": "AA==" })), "not just one signature"),
        (with("/dsseEnvelope/signatures", json!([])), "not just one signature"),
        (with("/dsseEnvelope/signatures/0/cert", "x".into()), "has members"),
        (with("/dsseEnvelope/payload", "e30".into()), "base64"),
        (with("/dsseEnvelope/payload", "e3-_".into()), "base64"),
        (with("/dsseEnvelope/payload", "e31=".into()), "base64"),
        (with("/dsseEnvelope/payload", "".into()), "base64"),
        (text.replacen('{', "{\"mediaType\":\"x\",", 1), "twice"),
        (text.replacen("\"sig\":", "\"\\u0073ig\":\"AA==\",\"sig\":", 1), "twice"),
        (format!("{text}{{}}"), "not JSON"),
        (format!("{text}{}", " ".repeat(5 << 20)), "4 MiB"),
        (String::new(), "not JSON"),
        ("[]".to_owned(), "object belongs"),
    ];
    for (text, why) in cases {
        let refused = read(text.as_bytes(), FIRMWARE).unwrap_err().to_string();
        assert!(refused.contains(why), "{}: {refused}", &text[..text.len().min(300)]);
    }
    let own = statement(&[FIRMWARE]);
    let twice = statement(&[FIRMWARE, FIRMWARE]);
    let cases = [
        ("{}".to_owned(), "no in-toto"),
        (own.replace("Statement/v1", "Statement/v0.1"), "no in-toto Statement v1"),
        (own.replacen('{', "{\"a\":1,", 1), "has members"),
        (own.replacen('{', "{\"_type\":1,", 1), "twice"),
        (own.replace("https://sigstore.dev", " "), "predicateType"),
        (own.replace("\"predicate\":{}", "\"predicate\":[]"), "no object"),
        (own.replace(&sha256(FIRMWARE), &sha256(FIRMWARE).to_uppercase()), "lower-case"),
        (own.replace(&sha256(FIRMWARE), "00"), "lower-case"),
        (own.replace("\"sha256\"", "\"sha256\":\"\",\"x\""), "lower-case"),
        (statement(&[]), "no subject"),
        (own.replace("\"annotations\":{}", "\"annotations\":{\"firmseal.epoch\":\"07\"}"), "epoch"),
        (own.replace("\"annotations\":{}", "\"annotations\":{\"firmseal.epoch\":7}"), "epoch"),
        (own.replace("\"annotations\":{}", "\"annotations\":{\"firmseal.version\":\"new\"}"), "semver"),
        (twice.replacen("\"annotations\":{}", "\"annotations\":{\"firmseal.epoch\":\"7\"}", 1), "two things"),
    ];
    for (statement, why) in cases {
        let refused = read(envelope(&statement).to_string().as_bytes(), FIRMWARE).unwrap_err().to_string();
        assert!(refused.contains(why), "{statement}: {refused}");
    }
    assert!(read(envelope(&twice).to_string().as_bytes(), FIRMWARE).is_ok(), "the same, twice");
}

#[test]
fn log_entries_and_timestamps_are_told_and_not_believed() {
    let mut bundle: Value = serde_json::from_slice(&sign("p256", &[]).unwrap()).unwrap();
    bundle["verificationMaterial"]["tlogEntries"] = json!([{ "logIndex": "7" }]);
    bundle["verificationMaterial"]["timestampVerificationData"] =
        json!({ "rfc3161Timestamps": [{ "signedTimestamp": "AA==" }] });
    let read = read(bundle.to_string().as_bytes(), FIRMWARE).unwrap();
    let notes: Vec<_> = read.notes.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
    let not = "1, not verified here";
    assert_eq!(notes[1..], [("transparency log entries", not), ("timestamps", not)]);
    assert!(read.fields.iter().all(|own| !own.name.contains("log")));
}

/// What either takes of mutated bundles. Of statements, that npm's library
/// does not ask what they are about, and where ours are stricter, makes for
/// refusals on our side alone.
#[test]
fn we_accept_no_mutation_that_npm_refuses() {
    let count: u64 = match std::env::var("FIRMSEAL_MUTATIONS") {
        Ok(text) => text.parse().expect("FIRMSEAL_MUTATIONS is a number"),
        Err(_) => 20,
    };
    let openssl = OpenSsl::new(&["p256", "ed25519"]);
    let judge = Judge::new();
    for (name, wish) in [("p256", &[][..]), ("ed25519", &[]), ("p256", &MESSAGE)] {
        let (key, pem) = (TestKey::load(name), openssl.text(&format!("{name}.pub.pem")));
        let good = sign(name, wish).unwrap();
        let check = |bundle: &[u8], what: &str| {
            if we_take(bundle, FIRMWARE, &key) {
                assert!(
                    judge.takes(bundle, FIRMWARE, &pem),
                    "{name} {what}: {}",
                    String::from_utf8_lossy(bundle)
                );
            }
        };
        for seed in 0..count {
            let mut random = Random(seed);
            let mut bundle = good.clone();
            mutate(&mut bundle, &mut random);
            check(&bundle, &format!("seed {seed}"));
        }
        for (at, with) in swaps(&good) {
            check(&with, &at);
        }
        if count > 20 {
            flip_each(&good, 0..0, check);
        }
    }
}

/// Every value replaced by some of each kind, and every member left out.
fn swaps(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    fn places(value: &Value, at: String, out: &mut Vec<String>) {
        out.push(at.clone());
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, own)| places(own, format!("{at}/{name}"), out))
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(i, own)| places(own, format!("{at}/{i}"), out))
            }
            _ => {}
        }
    }
    let document: Value = serde_json::from_slice(good).unwrap();
    let mut all = Vec::new();
    places(&document, String::new(), &mut all);
    let values = [json!(null), json!(0), json!(""), json!("AAAA"), json!([]), json!({}), json!(true)];
    let mut out = Vec::new();
    for at in all {
        for value in &values {
            let mut changed = document.clone();
            *changed.pointer_mut(&at).unwrap() = value.clone();
            out.push((format!("{at} = {value}"), changed.to_string().into_bytes()));
        }
        let Some((parent, name)) = at.rsplit_once('/') else { continue };
        let mut changed = document.clone();
        if let Some(Value::Object(members)) = changed.pointer_mut(parent) {
            members.remove(name);
            out.push((format!("without {at}"), changed.to_string().into_bytes()));
        }
    }
    out
}
