//! Work is bounded before it begins (THREATS 9 and 22): what the worst
//! input within the limits costs, counted in verifications and bytes hashed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;

use firmseal_core::crypto::{BadSignature, RustCrypto};
use firmseal_core::limits::{ENVELOPE_MAX, SIGNATURES_MAX};
use firmseal_core::{Crypto, Digest, Hasher, PublicKey, Refusal, admit};
use firmseal_testkit::TestKey;
use firmseal_testkit::vectors::Scene;

/// Counts what it passes on.
#[derive(Default)]
struct Counting {
    verified: Cell<usize>,
    hashed: std::rc::Rc<Cell<usize>>,
}

struct CountingHasher(<RustCrypto as Crypto>::Hasher, std::rc::Rc<Cell<usize>>);

impl Hasher for CountingHasher {
    fn update(&mut self, bytes: &[u8]) {
        self.1.set(self.1.get() + bytes.len());
        self.0.update(bytes);
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}

impl Crypto for Counting {
    type Hasher = CountingHasher;

    fn sha256(&self) -> CountingHasher {
        CountingHasher(RustCrypto.sha256(), self.hashed.clone())
    }

    fn verify(&self, key: &PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.verified.set(self.verified.get() + 1);
        RustCrypto.verify(key, message, signature)
    }
}

fn cost(scene: &Scene, envelope: Vec<u8>) -> (Result<(), Refusal>, usize, usize) {
    let counting = Counting::default();
    let mut vector = scene.device.clone();
    (vector.root, vector.envelope) = (scene.world.root_document(), envelope);
    let verdict = vector
        .ask(|device, envelope, _| admit(envelope, device, &counting).map(|_| ()))
        .and_then(|verdict| verdict);
    (verdict, counting.verified.get(), counting.hashed.get())
}

#[test]
fn a_good_envelope_costs_one_verification_and_its_own_hash() {
    let scene = Scene::default();
    let envelope = scene.sealed();
    let length = envelope.len();
    let (verdict, verified, hashed) = cost(&scene, envelope);
    assert_eq!((verdict, verified), (Ok(()), 1));
    assert!(hashed <= length + 100, "{hashed} of {length} bytes");
}

#[test]
fn a_wrong_digest_costs_no_verification() {
    let mut scene = Scene::default();
    let digest = scene.craft.digest();
    scene.flip(digest.as_bytes());
    let (verdict, verified, _) = cost(&scene, scene.envelope.clone().unwrap());
    assert_eq!((verdict, verified), (Err(Refusal::ManifestDigest), 0));
}

/// A nameless signature is tried under every key of the role, so only one
/// is: strangers' and repeated ones end the work.
#[test]
fn nameless_signatures_cost_every_key_once() {
    let mut scene = Scene::default();
    let keys = (1..=63).map(TestKey::ed25519).collect();
    scene.holders(1, vec![("alice", keys)]);
    let mut block = scene.craft.sign(&TestKey::ed25519(99));
    block.unprotected.remove(4);
    let envelope = scene.craft.assemble(&vec![block.encode(); SIGNATURES_MAX]);
    let (verdict, verified, hashed) = cost(&scene, envelope);
    assert_eq!((verdict, verified), (Err(Refusal::BadSignature), 63));
    assert!(hashed <= ENVELOPE_MAX, "{hashed}");
    let mut block = scene.craft.sign(&TestKey::ed25519(63));
    block.unprotected.remove(4);
    let (verdict, verified, _) = cost(&scene, scene.craft.assemble(&vec![block.encode(); SIGNATURES_MAX]));
    let repeated = Refusal::Unsupported("more signatures without a key id than are needed");
    assert_eq!((verdict, verified), (Err(repeated), 63));
}

/// Signatures that name a key are tried under that one.
#[test]
fn named_signatures_cost_one_verification_each() {
    let mut scene = Scene::default();
    scene.holders(1, vec![("alice", (1..=63).map(TestKey::ed25519).collect())]);
    let block = scene.block().encode();
    let (verdict, verified, _) = cost(&scene, scene.craft.assemble(&vec![block; SIGNATURES_MAX]));
    assert_eq!((verdict, verified), (Ok(()), SIGNATURES_MAX));
}
