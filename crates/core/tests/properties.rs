//! What holds for every release: author's words arrive at the device, and
//! no bit of an envelope or root document can be changed on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{BlockSize, Component, Device, Envelope, Root, Takes, Tree, Trust, admit};
use firmseal_manifest::{ComponentSpec, Digest, Environment, ReleaseSpec};
use firmseal_testkit::engine::{Script, run};
use firmseal_testkit::vectors::Scene;
use firmseal_testkit::{TestKey, World};
use firmseal_trust::DemandsSpec;
use proptest::prelude::*;
use semver::Version;

fn component() -> impl Strategy<Value = ComponentSpec> {
    let size = prop_oneof![1..10_000u64, 1..=firmseal_core::limits::PAYLOAD_MAX];
    let block = prop_oneof![Just(BlockSize::B1024), Just(BlockSize::B4096)];
    let slot = prop::option::of(0..3u64);
    ("[ -~äß]{0,30}", size, any::<[u8; 32]>(), slot, block, any::<[u8; 32]>()).prop_map(
        |(name, size, digest, slot, block, tree_root)| ComponentSpec {
            name,
            size,
            digest: Digest(digest),
            slot,
            block,
            tree_root: Digest(tree_root),
        },
    )
}

fn release() -> impl Strategy<Value = ReleaseSpec> {
    let environment = prop_oneof![Just(Environment::Test), Just(Environment::Production)];
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>());
    let names = ("[a-z0-9]{1,64}", "[a-z0-9]{1,20}");
    let version = (any::<u64>(), any::<u64>(), any::<u64>());
    let numbers = (1..=u64::MAX, any::<u64>(), any::<u64>());
    let components = prop::collection::vec(component(), 1..=8);
    (environment, ids, names, version, numbers, components, prop::option::of(".{0,2000}")).prop_map(
        |(
            environment,
            (vendor, class),
            (product, channel),
            version,
            numbers,
            mut components,
            description,
        )| {
            for (place, component) in components.iter_mut().enumerate() {
                component.name = format!("{place}{}", component.name);
            }
            ReleaseSpec {
                environment,
                vendor: uuid::Uuid::from_bytes(vendor),
                class: uuid::Uuid::from_bytes(class),
                product: product.parse().unwrap(),
                channel: channel.parse().unwrap(),
                version: Version::new(version.0, version.1, version.2),
                sequence: numbers.0,
                epoch: numbers.1,
                delegation: 0,
                rollback_of: None,
                components,
                description,
            }
        },
    )
}

/// The very device that a release was made for.
fn with_device<T>(release: &ReleaseSpec, root: &Root<'_>, ask: impl FnOnce(&Device<'_>) -> T) -> T {
    let ids: Vec<[&[u8]; 1]> = release.components.iter().map(|own| [own.name.as_bytes()]).collect();
    let components: Vec<Component<'_>> = release
        .components
        .iter()
        .zip(&ids)
        .map(|(own, id)| Component {
            id,
            slot: own.slot.unwrap_or(7),
            capacity: own.size,
            sequence: release.sequence - 1,
        })
        .collect();
    ask(&Device {
        trust: Trust::anchored(root),
        stranded: false,
        takes: Takes::General,
        product: release.product.as_str(),
        vendor: release.vendor.as_bytes(),
        class: release.class.as_bytes(),
        id: None,
        epoch: release.epoch,
        delegation: release.delegation,
        components: &components,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_an_author_says_is_what_a_device_hears(release in release(), p256 in any::<bool>()) {
        let key = if p256 { TestKey::p256(2) } else { TestKey::ed25519(1) };
        let mut world = World::new(1, vec![("alice", vec![key])]);
        world.root.environment = release.environment;
        world.root.demands = vec![DemandsSpec::NOTHING];
        let manifest = release.assemble().unwrap();
        let (envelope, document) = (world.seal(&manifest, 1), world.root_document());
        let root = Root::decode(&document).unwrap();
        with_device(&release, &root, |device| {
            let admitted = admit(&envelope, device, &RustCrypto).unwrap();
            assert_eq!(admitted.manifest_digest(), manifest.digest());
            assert_eq!(admitted.sequence(), release.sequence);
            let facts = admitted.facts();
            assert_eq!(facts.version, release.version.to_string());
            assert_eq!((facts.product, facts.channel), (release.product.as_str(), release.channel.as_str()));
            assert_eq!((facts.epoch, facts.delegation), (release.epoch, release.delegation));
            for ((own, (id, facts, place)), index) in release.components.iter().zip(admitted.components()).zip(0..) {
                assert_eq!((id.parts(), place), (&[own.name.as_bytes()][..], index));
                assert_eq!(facts.slot, own.slot);
                assert_eq!(facts.tree, Tree::new(own.size, own.block, own.tree_root).unwrap());
            }
            // Each component is fetched from where carriers keep it, and
            // measured after that; a device that holds nothing stops there.
            let nothing = Script { images: vec![None; 8], failing: vec![], content: true };
            let run = run(admitted.update(device), &nothing, usize::MAX);
            assert_eq!(run.actions, [format!("fetch 0 {}", release.components[0].uri()), "measure 0".to_owned()]);
            assert!(!run.all_matched);
        });
    }
}

/// The verdict on a changed envelope of the scene's device.
fn verdict(scene: &Scene, root: &[u8], envelope: Vec<u8>) -> Result<(), u16> {
    let mut vector = scene.device.clone();
    (vector.root, vector.envelope) = (root.to_vec(), envelope);
    vector.verdict()
}

/// THREATS 8: flip each bit of a signed file. None is unused: each flip is
/// refused, the hint of the key id included, for then the signer is unknown.
#[test]
fn no_bit_of_an_envelope_can_be_flipped() {
    for p256 in [false, true] {
        let mut scene = Scene::default();
        if p256 {
            scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
        }
        scene.release(|release| release.description = Some("fixes the clock".to_owned()));
        let (whole, root) = (scene.sealed(), scene.world.root_document());
        assert_eq!(verdict(&scene, &root, whole.clone()), Ok(()));
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verdict(&scene, &root, flipped).is_err(), "bit {bit}");
        }
    }
}

/// What a carrier can change without breaking a signature, in full: drop or
/// reorder signatures, drop key ids, drop the text, add payloads that
/// nothing names. The release stays the same, by digest.
#[test]
fn what_a_carrier_may_change_changes_nothing() {
    let mut scene = Scene::default();
    scene.holders(1, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
    scene.release(|release| release.description = Some("fixes the clock".to_owned()));
    let root = scene.world.root_document();
    let digest = scene.craft.digest();
    let [alice, bob] = [0, 1].map(|at| scene.craft.sign(&scene.world.release[at].1[0]));
    let mut nameless = alice.clone();
    nameless.unprotected.remove(4);
    let mut dropped = scene.craft.clone();
    dropped.envelope.remove(23);
    let mut more = scene.craft.clone();
    more.envelope.set_key(firmseal_testkit::item::text("#more"), firmseal_testkit::item::bytes(b"x"));
    let (alice, bob) = (alice.encode(), bob.encode());
    for envelope in [
        scene.craft.assemble(&[alice.clone(), bob.clone()]),
        scene.craft.assemble(&[bob.clone(), alice.clone()]),
        scene.craft.assemble(std::slice::from_ref(&bob)),
        scene.craft.assemble(&[nameless.encode()]),
        scene.craft.assemble(&[alice.clone(), alice.clone()]),
        dropped.assemble(std::slice::from_ref(&alice)),
        more.assemble(&[alice]),
    ] {
        assert_eq!(verdict(&scene, &root, envelope.clone()), Ok(()));
        assert_eq!(Envelope::decode(&envelope).unwrap().manifest_digest(), &digest);
    }
}

/// ECDSA is malleable: with r || s, r || n - s is valid too. Nothing is
/// named or counted by a signature's bytes, so the second one is worth
/// nothing: it is the same holder again.
#[test]
fn a_mirrored_p256_signature_counts_for_the_same_holder() {
    // The order of P-256 (SEC 2, 2.4.2).
    const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = firmseal_testkit::vectors::unhex(N).unwrap();
    let mut scene = Scene::default();
    let holders = vec![("alice", vec![TestKey::p256(2)]), ("bob", vec![TestKey::p256(3)])];
    scene.holders(2, holders);
    let block = scene.block();
    let mut mirrored = block.clone();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(order[at]) - i16::from(block.signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        mirrored.signature[32 + at] = difference.rem_euclid(256) as u8;
    }
    let root = scene.world.root_document();
    let both = scene.craft.assemble(&[block.encode(), mirrored.encode()]);
    assert_eq!(verdict(&scene, &root, both), Err(203), "one holder of two");
    let bob = scene.craft.sign(&scene.world.release[1].1[0]);
    let with_bob = scene.craft.assemble(&[mirrored.encode(), bob.encode()]);
    assert_eq!(verdict(&scene, &root, with_bob), Ok(()), "it is a valid signature");
}

#[test]
fn no_bit_of_a_root_document_can_be_flipped() {
    let mut world =
        World::new(1, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
    world.root.minimum_epoch = 5;
    let whole = world.root_document();
    let judge = |bytes: &[u8]| Root::decode(bytes).and_then(|root| root.verify(&RustCrypto));
    assert_eq!(judge(&whole), Ok(()));
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(judge(&flipped).is_err(), "bit {bit}");
    }
}

/// Ed25519 keys of small order verify one signature for many messages, if
/// they are let: a root that names one gains nobody a signature.
#[test]
fn a_key_of_small_order_signs_nothing() {
    for encoding in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ] {
        let key: [u8; 32] = firmseal_testkit::vectors::unhex(encoding).unwrap().try_into().unwrap();
        let mut scene = Scene::default();
        scene.world.root.roles[1].holders[0].keys =
            vec![firmseal_manifest::PublicKey::from_ed25519(key).unwrap()];
        let mut block = scene.block();
        block.unprotected.remove(4);
        let root = scene.world.root_document();
        for r in [key, scene.craft.digest().0] {
            block.signature = [r, [0; 32]].concat();
            assert_eq!(
                verdict(&scene, &root, scene.craft.assemble(&[block.encode()])),
                Err(201),
                "{encoding}"
            );
        }
    }
}
