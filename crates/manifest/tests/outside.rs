//! What we sign, judged by pycose, cbor2 and cryptography, which live in a
//! Python environment at `FIRMSEAL_VENV`, or target/venv.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firmseal_testkit::vectors::{Scene, hex};
use firmseal_testkit::{TestKey, item};

/// Asks the judge about envelopes: name, key, bytes.
fn judged(cases: &[(&str, &TestKey, Vec<u8>)]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let venv = std::env::var_os("FIRMSEAL_VENV").map_or_else(|| root.join("target/venv"), PathBuf::from);
    let mut judge = Command::new(venv.join("bin/python3"))
        .arg(root.join("crates/testkit/judges/envelope.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judges are missing: run `cargo xtask setup`");
    let mut input = judge.stdin.take().unwrap();
    for (name, key, envelope) in cases {
        writeln!(input, "{name} {} {}", hex(&key.public().cose_key()), hex(envelope)).unwrap();
    }
    drop(input);
    let output = judge.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn other_peoples_code_accepts_ours_and_refuses_the_rest() {
    let mut cases = Vec::new();
    let keys = [TestKey::ed25519(1), TestKey::p256(2), TestKey::rsa(4096, 0)];
    let stranger = [TestKey::ed25519(9), TestKey::p256(9), TestKey::rsa(4096, 1)];
    for (at, key) in keys.iter().enumerate() {
        let mut scene = Scene::default();
        scene.release(|release| release.description = Some("fixes the clock".to_owned()));
        scene.components(&["radio"]);
        // As the author itself seals it, and with the older identifier,
        // which pycose knows.
        let manifest = scene.assembled();
        let signature = key.sign(&manifest.to_be_signed(key.public()).unwrap());
        let own = manifest.seal(&[(key.public(), signature)]).unwrap();
        let mut block = scene.craft.sign(key);
        block.protected.set(1, item::int([-8, -7, -37][at]));
        block.sign(key, b"", &manifest.digest());
        let older = scene.craft.assemble(&[block.encode()]);
        for (name, envelope) in [("own", own), ("older", older)] {
            let flip = |part: &[u8]| {
                let mut flipped = envelope.clone();
                let found = flipped.windows(part.len()).position(|window| window == part).unwrap();
                flipped[found + part.len() / 2] ^= 1;
                flipped
            };
            cases.push((format!("{name}{at}"), key, envelope.clone(), "good"));
            cases.push((format!("{name}{at}-wrong-key"), &stranger[at], envelope.clone(), "key"));
            cases.push((format!("{name}{at}-digest"), key, flip(manifest.digest().as_bytes()), "digest"));
            cases.push((
                format!("{name}{at}-manifest"),
                key,
                flip(scene.release.components[0].tree_root.as_bytes()),
                "digest",
            ));
            cases.push((format!("{name}{at}-text"), key, flip(b"fixes the clock"), "severed"));
            let mut forged = envelope.clone();
            let wrapper_end =
                forged.windows(32).position(|window| window == key.public().id().0.as_bytes()).unwrap();
            forged[wrapper_end + 40] ^= 1;
            cases.push((format!("{name}{at}-signature"), key, forged, "signature"));
        }
        let mut stolen = scene.craft.sign(&stranger[at]);
        stolen.unprotected = scene.craft.sign(key).unprotected;
        cases.push((format!("stranger{at}"), key, scene.craft.assemble(&[stolen.encode()]), "signature"));
        cases.push((format!("unsigned{at}"), key, scene.craft.seal(&[]), "unsigned"));
    }
    let asked: Vec<_> =
        cases.iter().map(|(name, key, envelope, _)| (name.as_str(), *key, envelope.clone())).collect();
    let expected: Vec<_> = cases.iter().map(|(name, .., verdict)| format!("{name} {verdict}")).collect();
    assert_eq!(judged(&asked), expected);
}
