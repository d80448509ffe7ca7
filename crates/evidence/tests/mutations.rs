//! Mutations of good documents, given to other people's libraries too: of
//! envelopes to securesystemslib, of statements to in-toto-attestation, of bills
//! of materials to CycloneDX's strict validator. What we believe they take, but
//! for what is listed with its reason.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use base64ct::{Base64, Encoding};
use common::{GITHUB, Pair, artifact, provenance, python, verify};
use firmseal_evidence::{Builder, Builders, Facts, Gathering, Materials};
use firmseal_manifest::PublicKey;
use firmseal_testkit::places;
use serde_json::{Value, json};

const ENVELOPES: &str = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
key = SSlibKey.from_crypto(load_pem_public_key(open(sys.argv[2], "rb").read()))
for line in open(sys.argv[1]):
    try:
        # The key id is a hint of the signer's; here it is how the library finds the
        # signature to try, one after the other.
        errors = []
        for place in range(len(json.loads(bytes.fromhex(line).decode())["signatures"])):
            data = json.loads(bytes.fromhex(line).decode())
            for own, signature in enumerate(data["signatures"]):
                signature["keyid"] = key.keyid if own == place else str(own)
            try:
                Envelope.from_dict(data).verify([key], 1)
                break
            except Exception as error:
                errors.append(error)
        else:
            raise ValueError(errors)
        print("good")
    except Exception as error:
        print("bad", repr(error).replace("\n", " ")[:200])
"#;

const STATEMENTS: &str = r#"
import json, sys
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
for line in open(sys.argv[1]):
    try:
        pb = ParseDict(json.loads(bytes.fromhex(line).decode()), statement_pb2.Statement())
        Statement.copy_from_pb(pb).validate()
        print("good")
    except Exception as error:
        print("bad", repr(error).replace("\n", " ")[:200])
"#;

const CYCLONEDX: &str = r#"
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
versions = {"1.4": SchemaVersion.V1_4, "1.5": SchemaVersion.V1_5, "1.6": SchemaVersion.V1_6}
validators = {name: JsonStrictValidator(version) for name, version in versions.items()}
for line in open(sys.argv[1]):
    try:
        text = bytes.fromhex(line).decode()
        error = validators[json.loads(text)["specVersion"]].validate_str(text)
        print("good" if error is None else "bad " + repr(error).replace("\n", " ")[:200])
    except Exception as error:
        print("bad", repr(error).replace("\n", " ")[:200])
"#;

/// What a library says of each document.
fn judged(script: &str, documents: &[&[u8]], key: &str) -> Vec<String> {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let hex = |bytes: &&[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    std::fs::write(path("lines"), documents.iter().map(hex).collect::<Vec<_>>().join("\n")).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
    let (done, said) = python(script, &[&path("lines"), &path("key.pem")]);
    assert!(done, "{said}");
    let said: Vec<String> = said.lines().map(str::to_owned).collect();
    assert_eq!(said.len(), documents.len(), "{said:?}");
    said
}

fn count() -> usize {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

/// The same numbers on every machine (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Bytes of a text changed, left out and put in.
fn scrambled(good: &[u8], seed: u64) -> Vec<u8> {
    let (mut bytes, mut random) = (good.to_vec(), Random(seed));
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(7),
            1 => bytes[at] = b"{}[]\",: 0A=-_/\\"[random.below(15)],
            2 => drop(bytes.drain(at..(at + 1 + random.below(4)).min(bytes.len()))),
            _ => bytes.insert(at, b" \n\t,"[random.below(4)]),
        }
    }
    bytes
}

/// A document with each of its members as something else, gone or doubled, and
/// one more in each of its objects.
fn edited(good: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for at in &[vec![String::new()], places::all(good)].concat() {
        let now = good.pointer(at).unwrap();
        let mut values =
            vec![json!(null), json!(""), json!("x"), json!(0), json!(true), json!([]), json!({})];
        match now {
            Value::String(text) => values.extend([json!(format!("{text}x")), json!(text.to_uppercase())]),
            Value::Number(number) => {
                values.extend([json!(-number.as_i64().unwrap()), json!(1.5), json!("1")])
            }
            Value::Array(items) => values.push([&items[..], &items[..]].concat().into()),
            Value::Object(members) => {
                let mut more = members.clone();
                more.insert("unknown".to_owned(), json!("x"));
                values.push(more.into());
            }
            _ => {}
        }
        for value in values.into_iter().filter(|value| value != now) {
            let mut document = good.clone();
            *document.pointer_mut(at).unwrap() = value.clone();
            let value: String = value.to_string().chars().take(60).collect();
            all.push((format!("{at} = {value}"), document));
        }
        let mut document = good.clone();
        if places::remove(&mut document, at) {
            all.push((format!("without {at}"), document));
        }
    }
    all
}

fn facts(key: PublicKey, document: &[u8]) -> Option<Facts> {
    let product = "gateway".parse().unwrap();
    let one = Builder { id: GITHUB.to_owned(), key, products: vec![], attests: Builder::USUAL.to_vec() };
    let builders = Builders::new(vec![one]).unwrap();
    let artifacts = [artifact(1)];
    let mut gathering = Gathering::new(&product, &artifacts, &builders, &verify);
    gathering.read(document).ok()?;
    Some(gathering.finish())
}

fn believed(key: &PublicKey, document: &[u8]) -> bool {
    facts(key.clone(), document).is_some_and(|told| told.attested && told.unproven == 0)
}

/// Known: envelope.md allows base64 for URLs and says nothing of padding, where
/// writers differ; securesystemslib reads standard base64 with padding. What is
/// signed are the bytes.
fn is_other_base64(document: &Value) -> bool {
    let texts = [document.get("payload"), document.pointer("/signatures/0/sig")];
    texts.into_iter().flatten().filter_map(Value::as_str).any(|text| Base64::decode_vec(text).is_err())
}

#[test]
fn envelopes_that_we_believe_securesystemslib_verifies() {
    for pair in [Pair::ed25519(7), Pair::p256()] {
        let key = pair.public();
        let good = pair.envelope(&provenance(&[1], GITHUB));
        let document: Value = serde_json::from_slice(&good).unwrap();
        let mut all: Vec<(String, Vec<u8>)> = edited(&document)
            .into_iter()
            .map(|(what, value)| (what, value.to_string().into_bytes()))
            .collect();
        let with = |edit: &dyn Fn(&mut Value)| {
            let mut document = document.clone();
            edit(&mut document);
            document.to_string().into_bytes()
        };
        let own = document["signatures"][0].clone();
        let strange = json!({ "keyid": "x", "sig": "AAAA" });
        let lists = [
            json!([own, strange]),
            json!([strange, own]),
            json!([own, own]),
            json!([strange]),
            json!([{ "sig": own["sig"] }]),
            json!([{ "keyid": "another", "sig": own["sig"] }]),
        ];
        for list in lists {
            all.push((format!("signatures {list}"), with(&|own| own["signatures"] = list.clone())));
        }
        for (what, from, to) in [("for URLs", "+/", "-_"), ("without padding", "=", "")] {
            let other = |value: &Value| {
                let text = value.as_str().unwrap();
                let each =
                    |c: char| from.find(c).map_or(c.to_string(), |at| to.get(at..=at).unwrap_or("").into());
                json!(text.chars().map(each).collect::<String>())
            };
            all.push((format!("payload {what}"), with(&|own| own["payload"] = other(&own["payload"]))));
            let sig = |own: &mut Value| own["signatures"][0]["sig"] = other(&own["signatures"][0]["sig"]);
            all.push((format!("signature {what}"), with(&sig)));
        }
        all.extend((0..20 * count() as u64).map(|seed| (format!("seed {seed}"), scrambled(&good, seed))));
        all.push(("good".to_owned(), good.clone()));
        let taken: Vec<_> = all.into_iter().filter(|(_, bytes)| believed(&key, bytes)).collect();
        assert!(taken.len() > 15, "key ids, order, white space and what nobody knows: {}", taken.len());
        let bytes: Vec<&[u8]> = taken.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let said = judged(ENVELOPES, &bytes, &key.to_pem().unwrap());
        let each = taken.iter().zip(said);
        let is_known = |bytes: &[u8]| is_other_base64(&serde_json::from_slice(bytes).unwrap());
        let wrong = each.filter(|((_, bytes), said)| said != "good" && !is_known(bytes));
        let wrong: Vec<_> = wrong.map(|((what, _), said)| (what, said)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn statements_that_we_believe_in_toto_accepts() {
    let (pair, good) = (Pair::ed25519(7), provenance(&[1], GITHUB));
    let mut all = edited(&good);
    all.push(("good".to_owned(), good));
    let is_believed = |value: &Value| believed(&pair.public(), &pair.envelope(value));
    let taken: Vec<_> = all.into_iter().filter(|(_, value)| is_believed(value)).collect();
    assert!(taken.len() > 40, "{}", taken.len());
    let bytes: Vec<Vec<u8>> = taken.iter().map(|(_, value)| value.to_string().into_bytes()).collect();
    let said = judged(STATEMENTS, &bytes.iter().map(Vec::as_slice).collect::<Vec<_>>(), "");
    // Known: "Consumers MUST ignore unrecognized fields" (in-toto, parsing rules);
    // the library reads statements as its protobuf, which has no others.
    let is_known = |said: &str| said.contains("has no field named");
    let wrong = taken.iter().zip(said).filter(|(_, said)| said != "good" && !is_known(said));
    let wrong: Vec<_> = wrong.map(|((what, _), said)| (what, said)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn bills_of_materials_that_we_take_are_valid() {
    let part = json!({ "type": "library", "group": "org", "name": "zlib", "version": "1.3",
                       "components": [{ "type": "file", "name": "inflate.c" }] });
    let mut taken = Vec::new();
    for version in ["1.4", "1.5", "1.6"] {
        let good = json!({ "bomFormat": "CycloneDX", "specVersion": version, "version": 2, "components": [part],
                           "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79" });
        let mut all = edited(&good);
        all.push(("good".to_owned(), good));
        let takes = |value: &Value| Materials::read(value.to_string().as_bytes()).is_ok();
        taken.extend(
            all.into_iter().filter(|(_, value)| takes(value)).map(|(what, value)| (version, what, value)),
        );
    }
    assert!(taken.len() > 40, "{}", taken.len());
    let bytes: Vec<Vec<u8>> = taken.iter().map(|(_, _, value)| value.to_string().into_bytes()).collect();
    let said = judged(CYCLONEDX, &bytes.iter().map(Vec::as_slice).collect::<Vec<_>>(), "");
    // Known: members that nobody knows say nothing here, and the bytes are kept as
    // they came; the strict validator refuses them.
    let is_known = |said: &str| said.contains("Additional properties are not allowed");
    let wrong = taken.iter().zip(said).filter(|(_, said)| said != "good" && !is_known(said));
    let wrong: Vec<_> = wrong.map(|((version, what, _), said)| (version, what, said)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
