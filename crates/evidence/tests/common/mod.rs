//! Builders with keys, and what they sign.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::process::Command;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use firmseal_evidence::{Attests, Builder, dsse};
use firmseal_manifest::{ArtifactId, Digest, KeyAlgorithm, PublicKey, Signature};
use serde_json::{Value, json};

pub const GITHUB: &str = "https://github.com/actions/runner/github-hosted";

/// Whether a Python script ends well, and what it says. Its libraries live in
/// an environment at `FIRMSEAL_VENV`, or target/venv.
pub fn python(script: &str, arguments: &[&str]) -> (bool, String) {
    let venv = std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let python = venv.join("bin/python");
    let out = Command::new(&python)
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask setup`", python.display()));
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// A builder's key pair.
pub enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Pair {
    pub fn ed25519(seed: u8) -> Pair {
        Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub fn p256() -> Pair {
        Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn public(&self) -> PublicKey {
        match self {
            Pair::Ed25519(pair) => {
                PublicKey::from_ed25519(pair.public_key().as_ref().try_into().unwrap()).unwrap()
            }
            Pair::P256(pair) => {
                PublicKey::from_point(KeyAlgorithm::P256, pair.public_key().as_ref()).unwrap()
            }
        }
    }

    /// A statement in an envelope.
    pub fn envelope(&self, statement: &Value) -> Vec<u8> {
        self.sign(dsse::STATEMENT, statement.to_string().as_bytes())
    }

    pub fn sign(&self, payload_type: &str, payload: &[u8]) -> Vec<u8> {
        let message = dsse::pae(payload_type, payload);
        let signature = match self {
            Pair::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec(),
        };
        dsse::encode(payload_type, payload, &self.public(), &Signature(signature))
    }
}

pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    firmseal_keys::verify::verify_message(key, message, signature).is_ok()
}

pub fn artifact(byte: u8) -> ArtifactId {
    ArtifactId(Digest([byte; 32]))
}

pub fn builder(id: &str, pair: &Pair, attests: &[Attests]) -> Builder {
    Builder { id: id.to_owned(), key: pair.public(), products: vec![], attests: attests.to_vec() }
}

pub fn statement(artifacts: &[u8], predicate_type: &str, predicate: Value) -> Value {
    let subject: Vec<Value> = artifacts
        .iter()
        .map(
            |byte| json!({ "name": format!("a{byte}"), "digest": { "sha256": artifact(*byte).to_string() } }),
        )
        .collect();
    json!({ "_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": predicate_type, "predicate": predicate })
}

/// Provenance as GitHub's runners write it.
pub fn provenance(artifacts: &[u8], builder: &str) -> Value {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": { "workflow": {
                "ref": "refs/heads/main", "repository": "https://github.com/o/firmware", "path": ".github/workflows/b.yml"
            } },
            "internalParameters": { "github": { "event_name": "push" } },
            "resolvedDependencies": [
                { "uri": "git+https://github.com/o/firmware@refs/heads/main", "digest": { "gitCommit": "c".repeat(40) } },
                { "uri": "git+https://github.com/o/library@v1", "digest": { "gitCommit": "d".repeat(40) } },
            ],
        },
        "runDetails": { "builder": { "id": builder }, "metadata": { "invocationId": "https://github.com/o/firmware/actions/runs/1" } },
    });
    statement(artifacts, "https://slsa.dev/provenance/v1", predicate)
}

pub const SCAN: &str = "https://in-toto.io/attestation/vulns/v0.2";
pub const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";
pub const VSA: &str = "https://slsa.dev/verification_summary/v1";

/// A scan with a finding for each of these scores.
pub fn scanned(scores: &[&str]) -> Value {
    let finding =
        |score: &&str| json!({ "id": "CVE-2026-1", "severity": [{ "method": "cvss", "score": score }] });
    json!({
        "scanner": {
            "uri": "https://scanner.example.com", "version": "1.4.6",
            "db": { "uri": "https://db.example.com", "version": "27500", "lastUpdate": "2026-11-18T07:00:00.25Z" },
            "result": scores.iter().map(finding).collect::<Vec<_>>(),
        },
        "metadata": { "scanStartedOn": "2026-11-18T08:59:00Z", "scanFinishedOn": "2026-11-18T09:00:00Z" },
    })
}

/// A Simple Verification Result.
pub fn evaluated(evaluator: &str, properties: &[&str]) -> Value {
    json!({
        "verifier": { "id": evaluator }, "timeCreated": "2026-11-01T12:00:00Z", "properties": properties,
        "firmseal_validUntil": "2027-11-01T00:00:00Z",
    })
}

/// A Verification Summary of SLSA's.
pub fn summary(evaluator: &str, result: &str, levels: &[&str]) -> Value {
    json!({
        "verifier": { "id": evaluator }, "timeVerified": "2026-11-01T12:00:00Z",
        "resourceUri": "https://example.com/firmware.bin", "policy": { "uri": "https://example.com/policy" },
        "verificationResult": result, "verifiedLevels": levels, "slsaVersion": "1.0",
    })
}
