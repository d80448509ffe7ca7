//! Other people's libraries over the same documents: securesystemslib
//! verifies our envelopes and makes ones that we believe, in-toto-attestation
//! accepts our statements, and CycloneDX's strict validator accepts every
//! list that we take for one among the vectors.
//!
//! They live in a Python environment at `FIRMSEAL_VENV`, or target/venv.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{GITHUB, Pair, artifact, builder, provenance, python, verify};
use firmseal_evidence::scan::Report;
use firmseal_evidence::{Builder, Builders, Facts, Gathering, Materials, Reproduction};
use firmseal_fleet::Time;
use firmseal_manifest::PublicKey;

const VERIFY: &str = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
path, pem = sys.argv[1], sys.argv[2]
key = SSlibKey.from_crypto(load_pem_public_key(open(pem, "rb").read()))
data = json.load(open(path))
# The key id is a hint of the signer's; here it is how the library finds its key.
for signature in data["signatures"]:
    signature["keyid"] = key.keyid
Envelope.from_dict(data).verify([key], 1)
"#;

const SIGN: &str = r#"
import json, sys
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
kind, payload, directory = sys.argv[1], open(sys.argv[2], "rb").read(), sys.argv[3]
signer = {"ecdsa": CryptoSigner.generate_ecdsa, "ed25519": CryptoSigner.generate_ed25519,
          "rsa": CryptoSigner.generate_rsa}[kind]()
envelope = Envelope(payload, "application/vnd.in-toto+json", {})
envelope.sign(signer)
json.dump(envelope.to_dict(), open(directory + "/envelope.json", "w"))
open(directory + "/key.pem", "w").write(signer.public_key.keyval["public"]) if kind != "ed25519" else open(
    directory + "/key.pem", "wb").write(signer._private_key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
"#;

const STATEMENT: &str = r#"
import json, sys
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
pb = ParseDict(json.load(open(sys.argv[1])), statement_pb2.Statement())
Statement.copy_from_pb(pb).validate()
"#;

const CYCLONEDX: &str = r#"
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
versions = {"1.4": SchemaVersion.V1_4, "1.5": SchemaVersion.V1_5, "1.6": SchemaVersion.V1_6}
validators = {name: JsonStrictValidator(version) for name, version in versions.items()}
for line in open(sys.argv[1]):
    print(validators[json.loads(line)["specVersion"]].validate_str(line) is None)
"#;

fn facts(key: PublicKey, document: &[u8]) -> Facts {
    let product = "gateway".parse().unwrap();
    let one = Builder { id: GITHUB.to_owned(), key, products: vec![], attests: Builder::USUAL.to_vec() };
    let builders = Builders::new(vec![one]).unwrap();
    let artifacts = [artifact(1)];
    let mut gathering = Gathering::new(&product, &artifacts, &builders, &verify);
    gathering.read(document).unwrap();
    gathering.finish()
}

#[test]
fn securesystemslib_verifies_ours() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    for pair in [Pair::ed25519(7), Pair::p256()] {
        std::fs::write(path("key.pem"), pair.public().to_pem().unwrap()).unwrap();
        std::fs::write(path("stranger.pem"), Pair::p256().public().to_pem().unwrap()).unwrap();
        let envelope = pair.envelope(&provenance(&[1], GITHUB));
        std::fs::write(path("good"), &envelope).unwrap();
        let (good, said) = python(VERIFY, &[&path("good"), &path("key.pem")]);
        assert!(good, "{said}");
        assert!(!python(VERIFY, &[&path("good"), &path("stranger.pem")]).0);
        let other = String::from_utf8(envelope).unwrap().replace("vnd.in-toto", "vnd.in-totx");
        std::fs::write(path("bad"), other).unwrap();
        assert!(!python(VERIFY, &[&path("bad"), &path("key.pem")]).0);
    }
}

#[test]
fn we_believe_what_securesystemslib_signs() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("payload"), provenance(&[1], GITHUB).to_string()).unwrap();
    for kind in ["ecdsa", "ed25519", "rsa"] {
        let (good, said) = python(SIGN, &[kind, &path("payload"), room.path().to_str().unwrap()]);
        assert!(good, "{said}");
        let key = PublicKey::from_pem(&std::fs::read_to_string(path("key.pem")).unwrap()).unwrap();
        let told = facts(key, &std::fs::read(path("envelope.json")).unwrap());
        assert!(told.attested && told.unproven == 0, "{kind}: {told:?}");
    }
}

#[test]
fn in_toto_accepts_our_statements() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("statement").to_str().unwrap().to_owned();
    let reproduction = Reproduction {
        artifact: artifact(1),
        name: "firmware.bin".to_owned(),
        other: artifact(2),
        same: false,
        commit: Some("abc".to_owned()),
        differences: vec!["byte 0x5".to_owned()],
    };
    std::fs::write(&path, reproduction.statement()).unwrap();
    let (good, said) = python(STATEMENT, &[&path]);
    assert!(good, "{said}");
    let report = Report {
        scanner: "https://www.clamav.net".to_owned(),
        version: "1.4.6".to_owned(),
        database: Some("27500".to_owned()),
        updated: Time::EPOCH,
        started: Time::EPOCH,
        finished: Time::from_millis(1),
        findings: vec!["Eins.UNOFFICIAL".to_owned()],
    };
    std::fs::write(&path, report.statement(&[("a", artifact(1)), ("b", artifact(2))])).unwrap();
    let (good, said) = python(STATEMENT, &[&path]);
    assert!(good, "{said}");
    std::fs::write(&path, String::from_utf8(reproduction.statement()).unwrap().replace("Statement/v1", "x"))
        .unwrap();
    assert!(!python(STATEMENT, &[&path]).0);
}

#[test]
fn lists_that_we_take_are_valid() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("bom").to_str().unwrap().to_owned();
    let component = r#"{"type":"library","name":"zlib","version":"1.3"}"#;
    let cases = [
        (
            format!(
                r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{component}]}}"#
            ),
            true,
        ),
        (format!(r#"{{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{component}]}}"#), true),
        (
            format!(
                r#"{{"bomFormat":"CycloneDX","specVersion":"1.4","version":1,"components":[{component}]}}"#
            ),
            true,
        ),
        (
            r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,
                "serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"}"#
                .to_owned(),
            true,
        ),
        (r#"{"bomFormat":"CycloneDX","specVersion":"1.4"}"#.to_owned(), true),
        (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":0}"#.to_owned(), false),
        (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:x"}"#.to_owned(), false),
        (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"x"}]}"#.to_owned(), false),
        (r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"file"}]}"#.to_owned(), false),
        (
            r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"x","name":"y"}]}"#
                .to_owned(),
            false,
        ),
    ];
    // One interpreter for all: it takes seconds to read the schemas.
    let lines: Vec<String> = cases.iter().map(|(text, _)| text.replace('\n', " ")).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let (done, said) = python(CYCLONEDX, &[&path]);
    assert!(done, "{said}");
    let valid: Vec<bool> = said.lines().map(|line| line == "True").collect();
    assert_eq!(valid.len(), cases.len(), "{said}");
    for ((text, good), valid) in cases.into_iter().zip(valid) {
        assert_eq!(Materials::read(text.as_bytes()).is_ok(), good, "{text}");
        assert_eq!(valid, good, "{text}");
    }
}

#[test]
fn a_stranger_of_theirs_proves_nothing() {
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("payload"), provenance(&[1], GITHUB).to_string()).unwrap();
    let payload = room.path().join("payload").to_str().unwrap().to_owned();
    assert!(python(SIGN, &["ecdsa", &payload, room.path().to_str().unwrap()]).0);
    let own = builder(GITHUB, &Pair::p256(), &Builder::USUAL);
    let told = facts(own.key, &std::fs::read(room.path().join("envelope.json")).unwrap());
    assert_eq!(told, Facts { unproven: 1, ..Facts::default() });
}
