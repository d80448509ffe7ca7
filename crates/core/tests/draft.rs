//! The draft's own examples: decode, authenticate, run, print.
//!
//! They have no facts, so they never pass `admit`. They lie beside the
//! repository and are not ours to copy; where they are absent, this says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{
    Component, Device, Digest, Envelope, Environment, Identity, Machine, Refusal, Role, Root, Takes, Trust,
    admit,
};
use firmseal_manifest::print;
use firmseal_testkit::engine::{Script, authenticated, run};
use firmseal_testkit::vectors::{Measurable, unhex};
use firmseal_testkit::{TestKey, World};
use firmseal_trust::Holder;

/// fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe and
/// 1492af14-2569-5e48-bf42-9b2d51f2ab45: the ids of the examples.
const VENDOR: [u8; 16] = 0xfa6b_4a53_d5ad_5fdf_be9d_e663_e4d4_1ffe_u128.to_be_bytes();
const CLASS: [u8; 16] = 0x1492_af14_2569_5e48_bf42_9b2d_51f2_ab45_u128.to_be_bytes();

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/suit");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("left out: the draft's examples are not in {}", folder.display());
    None
}

/// The hexadecimal blocks of an example, in order: the envelope without
/// signature, with it, and with severed members where it has some.
fn envelopes(folder: &Path, example: u8) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder.join(format!("example{example}.txt"))).unwrap();
    text.split("~~~")
        .map(|block| block.split_whitespace().collect::<String>())
        .filter(|block| block.starts_with("d86b"))
        .map(|block| unhex(&block).expect("hexadecimal"))
        .collect()
}

/// A root document that trusts the examples' key.
fn root(folder: &Path) -> Vec<u8> {
    let pem = fs::read_to_string(folder.join("public_key.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let spki = unbase64(&base64);
    let mut world = World::default();
    world.root.roles[1].holders = vec![Holder {
        name: "the draft".to_owned(),
        keys: vec![firmseal_manifest::PublicKey::from_spki(&spki).unwrap()],
    }];
    world.root_document()
}

fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut value) = (Vec::new(), 0, 0u32);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        value = value << 6 | ALPHABET.iter().position(|own| *own == digit).unwrap() as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((value >> bits) as u8);
        }
    }
    out
}

/// What the examples' components hold once they are installed.
fn installed() -> Script {
    let digest = unhex("00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210").unwrap();
    let image = Measurable { digest: Digest::from_slice(&digest).unwrap(), size: 34768 };
    Script { images: vec![Some(image)], failing: vec![], content: true }
}

const IDENTITY: Identity<'static> = Identity { vendor: &VENDOR, class: &CLASS, device: None };

fn update(
    envelope: &[u8],
    root: &[u8],
    identity: Identity<'_>,
    script: &Script,
) -> (Vec<String>, Result<(), Refusal>) {
    let run =
        authenticated(envelope, root, |own| run(Machine::update(&own, identity, &[0]), script, 100)).unwrap();
    (run.actions, run.end)
}

#[test]
fn the_examples_authenticate_and_run() {
    let Some(folder) = folder() else { return };
    let root = root(&folder);
    let boot = ["measure 0", "invoke 0"].map(str::to_owned);
    // Example 1 installs and does not invoke.
    for (example, with_severed, actions) in [(0, false, 2), (1, false, 1), (2, true, 2)] {
        let envelopes = envelopes(&folder, example);
        assert_eq!(envelopes.len(), 2 + usize::from(with_severed), "example {example}");
        for (place, envelope) in envelopes.iter().enumerate() {
            let result = authenticated(envelope, &root, |own| {
                assert_eq!(own.manifest().sequence, u64::from(example));
                run(Machine::invocation(&own, IDENTITY, &[0]), &installed(), 100)
            });
            if place == 0 {
                assert_eq!(result.map(|_| ()), Err(Refusal::ThresholdNotMet { have: 0, need: 1 }));
                continue;
            }
            let run = result.unwrap();
            assert_eq!((run.actions, run.end), (boot[..actions].to_vec(), Ok(())), "example {example}");
        }
    }
}

#[test]
fn the_examples_install() {
    let Some(folder) = folder() else { return };
    let root = root(&folder);
    let fetch = |uri: &str| vec![format!("fetch 0 {uri}"), "measure 0".to_owned(), "measure 0".to_owned()];
    let example1 = &envelopes(&folder, 1)[1];
    assert_eq!(
        update(example1, &root, IDENTITY, &installed()),
        (fetch("http://example.com/file.bin"), Ok(()))
    );
    // Example 2 names another source only in its severed section.
    let example2 = envelopes(&folder, 2);
    let uri = "http://example.com/very/long/path/to/file/file.bin";
    assert_eq!(update(&example2[2], &root, IDENTITY, &installed()), (fetch(uri), Ok(())));
    assert_eq!(update(&example2[1], &root, IDENTITY, &installed()).0, ["measure 0"], "without the section");

    let mut damaged = installed();
    damaged.images[0].as_mut().unwrap().size -= 1;
    let (actions, end) = update(example1, &root, IDENTITY, &damaged);
    assert_eq!((actions.len(), end), (2, Err(Refusal::ImageMismatch)));
    let stranger = Identity { vendor: &CLASS, ..IDENTITY };
    assert_eq!(update(example1, &root, stranger, &installed()), (vec![], Err(Refusal::ConditionFailed(1))));
    let other = Identity { class: &VENDOR, ..IDENTITY };
    assert_eq!(update(example1, &root, other, &installed()), (vec![], Err(Refusal::ConditionFailed(2))));
}

#[test]
fn every_byte_of_the_examples_counts() {
    let Some(folder) = folder() else { return };
    let root = root(&folder);
    let whole = &envelopes(&folder, 2)[2];
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(authenticated(&flipped, &root, |_| ()).is_err(), "byte {at}");
    }
}

#[test]
fn the_examples_are_refused_without_facts() {
    let Some(folder) = folder() else { return };
    let document = root(&folder);
    let root = Root::decode(&document).unwrap();
    assert_eq!((root.environment(), root.roles().count()), (Environment::Test, 2));
    assert!(root.role(Role::Release, "anything").is_ok());
    let device = Device {
        trust: Trust::anchored(&root),
        stranded: false,
        takes: Takes::General,
        product: "gateway",
        vendor: &VENDOR,
        class: &CLASS,
        id: None,
        epoch: 0,
        delegation: 0,
        components: &[Component { id: &[&[0]], slot: 0, capacity: 1 << 20, sequence: 0 }],
    };
    for example in 0..3 {
        let envelope = envelopes(&folder, example).pop().unwrap();
        assert_eq!(admit(&envelope, &device, &RustCrypto).map(|_| ()), Err(Refusal::FactsMissing));
    }
}

#[test]
fn another_key_does_not_authenticate_the_examples() {
    let Some(folder) = folder() else { return };
    let world = World::new(1, vec![("alice", vec![TestKey::p256(9)])]);
    let envelope = envelopes(&folder, 0).remove(1);
    let refused = authenticated(&envelope, &world.root_document(), |_| ());
    assert_eq!(refused, Err(Refusal::BadSignature));
}

#[test]
fn the_examples_print() {
    let Some(folder) = folder() else { return };
    for (example, words) in [
        (0, vec!["condition-image-match", "directive-invoke", "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe"]),
        (1, vec!["directive-fetch", "http://example.com/file.bin", "34768"]),
        (2, vec!["https://git.io/JJYoj", "ES256", "text"]),
    ] {
        let envelope = envelopes(&folder, example).pop().unwrap();
        Envelope::decode(&envelope).unwrap();
        let text = print::envelope(&envelope).unwrap().to_string();
        for word in words {
            assert!(text.contains(word), "example {example} lacks `{word}`:\n{text}");
        }
    }
}
