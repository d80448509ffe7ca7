//! What people read of an envelope that carries everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_manifest::{DelegationChain, print};
use firmseal_testkit::story::{self, NOW};
use firmseal_testkit::{TestKey, World};

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/../../spec/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let line = text.lines().find_map(|line| line.strip_prefix("envelope: ")).expect("an envelope");
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    line.trim().as_bytes().chunks(2).map(digit).collect()
}

#[test]
fn evidence_and_delegations_are_printed_by_name() {
    let text = print::envelope(&vector("ok_delegated_strict")).unwrap().to_string();
    for line in [
        "delegation\n  chain 0\n    link 0\n      algorithm: Ed25519",
        "      payload\n        expires: 20",
        "        certifies\n          key: {1: 1, -1: 6",
        "          versions\n            lowest: \"1.0.0\"\n            highest: \"1.99.0\"",
        "          highest security epoch: 3\n          index: 5",
        "evidence\n  intent\n    purpose: release\n    subject: ",
        "    keys\n      key 0: ",
        "  statements\n    statement 0\n      says\n        purpose: approval\n        environment: test",
        "      signatures\n        signature 0\n          COSE\n            algorithm: ",
        "  birth proof\n    checkpoint\n      origin: ",
        "      cosignatures\n        cosignature 0\n          key: ",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains("unknown"), "{text}");
}

#[test]
fn a_delegation_file_is_read_back_and_printed() {
    let world = World::default();
    let (alice, delegate, build) = (TestKey::ed25519(1), story::delegate(), TestKey::ed25519(77));
    let first = story::link(&world);
    let mut second = first.clone();
    (second.key, second.expiry) = (build.public().clone(), NOW + 60);
    let chain = DelegationChain::new(vec![story::seal(&first, &alice)]).unwrap();
    let chain = chain.extend(story::seal(&second, &delegate)).unwrap();
    assert!(chain.certifies(build.public()) && !chain.certifies(delegate.public()));
    assert_eq!((DelegationChain::decode(&chain.encode()), chain.index()), (Ok(chain.clone()), 5));
    let text = print::delegation(&chain.encode()).unwrap().to_string();
    assert!(text.starts_with("link 0\n  algorithm: Ed25519\n  key id: "), "{text}");
    assert!(text.contains("link 1\n"), "{text}");

    let stranger = chain.extend(story::seal(&second, &alice));
    assert_eq!(stranger.unwrap_err().to_string().split(" of ").next(), Some("link 3"));
    second.index = 6;
    let chain = DelegationChain::new(vec![story::seal(&first, &alice)]).unwrap();
    assert!(chain.extend(story::seal(&second, &delegate)).unwrap_err().to_string().contains("index 6"));
    let long: Vec<_> = (0..4).map(|_| story::seal(&first, &alice)).collect();
    assert!(DelegationChain::new(long).is_err());
    let mut trailing = chain.encode();
    trailing.push(0);
    assert!(DelegationChain::decode(&trailing).is_err());
}
