//! Revocations as they are authored: only more, never the wrong keys, and
//! nobody is left behind unseen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Root, limits};
use firmseal_manifest::{Digest, KeyId};
use firmseal_testkit::world::{PRODUCT, firmware};
use firmseal_testkit::{TestKey, World};
use firmseal_trust::change::changes;
use firmseal_trust::retire::{Need, Running, Standing, needs};
use firmseal_trust::{Holder, RevocationSpec, RevokeError, RevokedKey, Role, RoleSpec, RootSpec};

fn revoker() -> TestKey {
    TestKey::ed25519(60)
}

/// The usual world, with a revocation and a recovery role.
fn world() -> World {
    let mut world = World::default();
    let role = |role, threshold, keys: &[TestKey]| RoleSpec {
        role,
        threshold,
        holders: (0..)
            .zip(keys)
            .map(|(n, key)| Holder { name: format!("{role:?} {n}"), keys: vec![key.public().clone()] })
            .collect(),
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    world.root.roles.push(role(Role::Revocation, 1, &[revoker()]));
    world.root.roles.push(role(Role::Recovery, 2, &[TestKey::ed25519(61), TestKey::ed25519(62)]));
    world
}

fn entry(key: KeyId, last_good: &[(&str, u64)], allowed: &[Digest]) -> RevokedKey {
    let last_good = last_good.iter().map(|(origin, index)| ((*origin).to_owned(), *index)).collect();
    RevokedKey { key, last_good, allowed: allowed.to_vec() }
}

/// A release of this world, signed by its first holder.
fn envelope(world: &World) -> Vec<u8> {
    world.seal(&world.release(&firmware(9000, 1)).assemble().unwrap(), 1)
}

fn runs(envelope: &[u8]) -> Running<'_> {
    let manifest = *firmseal_core::Envelope::decode(envelope).unwrap().manifest_digest();
    Running { envelope, manifest, log_index: 5 }
}

fn stolen(world: &World) -> KeyId {
    world.release[0].1[0].public().id()
}

#[test]
fn the_next_one_carries_every_entry_on_and_only_narrows() {
    let world = world();
    let document = world.root_document();
    let root = Root::decode(&document).unwrap();
    let (key, other) = (stolen(&world), TestKey::ed25519(80).public().id());
    let mut first = RevocationSpec::after(&root, None).unwrap();
    first.take_key(entry(key, &[("log", 9)], &[Digest([1; 32]), Digest([2; 32])])).unwrap();
    first.take_release(Digest([7; 32]));
    first.check(&root, &[revoker().public().id()]).unwrap();
    let unsigned = first.assemble();
    let signature = revoker().sign(&unsigned.to_be_signed(revoker().public()).unwrap());
    let sealed = unsigned.seal(&root, &[(revoker().public(), signature)]).unwrap();
    let held = root.revocation(&sealed, &RustCrypto).unwrap();
    assert!(held.contains(&held));
    assert_eq!(RevocationSpec::of(&held, &root), first);

    let mut second = RevocationSpec::after(&root, Some(&held)).unwrap();
    assert_eq!((second.version, &second.keys, &second.releases), (2, &first.keys, &first.releases));
    second.take_release(Digest([7; 32]));
    assert_eq!(second.releases.len(), 1, "once");
    second.take_key(entry(other, &[], &[])).unwrap();
    for wider in [
        entry(key, &[("log", 10)], &[]),
        entry(key, &[("another log", 1)], &[]),
        entry(key, &[], &[Digest([3; 32])]),
    ] {
        assert_eq!(second.take_key(wider), Err(RevokeError::Widens { key, version: 1 }));
    }
    second.take_key(entry(key, &[("log", 4)], &[Digest([2; 32])])).unwrap();
    let unsigned = second.assemble();
    let signature = revoker().sign(&unsigned.to_be_signed(revoker().public()).unwrap());
    let sealed = unsigned.seal(&root, &[(revoker().public(), signature)]).unwrap();
    let newer = root.revocation(&sealed, &RustCrypto).unwrap();
    assert!(newer.contains(&held) && !held.contains(&newer));
}

#[test]
fn what_must_not_be_signed_is_refused_before_a_key_is_used() {
    let world = world();
    let document = world.root_document();
    let root = Root::decode(&document).unwrap();
    let signer = revoker().public().id();
    let check = |key: KeyId, signers: &[KeyId]| {
        let mut spec = RevocationSpec::after(&root, None).unwrap();
        spec.take_key(entry(key, &[], &[])).unwrap();
        spec.check(&root, signers)
    };
    assert_eq!(check(signer, &[signer]), Err(RevokeError::Itself(signer)));
    for (key, role) in [
        (world.root_key.public().id(), Role::Root),
        (TestKey::ed25519(61).public().id(), Role::Recovery),
        (signer, Role::Revocation),
    ] {
        assert_eq!(check(key, &[]), Err(RevokeError::Untouchable { key, role }));
    }
    check(stolen(&world), &[signer]).unwrap();
    let none = RevocationSpec::after(&root, None).unwrap();
    none.check_signers(&root, &[signer]).unwrap();
    assert_eq!(none.check_signers(&root, &[]), Err(RevokeError::Threshold { have: 0, need: 1, both: false }));
    let stranger = stolen(&world);
    assert_eq!(none.check_signers(&root, &[signer, stranger]), Err(RevokeError::Stranger(stranger)));

    let mut long = RevocationSpec::after(&root, None).unwrap();
    (0..=limits::REVOKED_MAX as u64).for_each(|n| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        long.take_key(entry(KeyId(Digest(id)), &[], &[])).unwrap();
    });
    assert!(matches!(long.check(&root, &[signer]), Err(RevokeError::TooLong { what: "keys", .. })));
    let without = World::default().root_document();
    let none = RevocationSpec::after(&Root::decode(&without).unwrap(), None);
    assert_eq!(none, Err(RevokeError::NoRole(1)));
}

#[test]
fn devices_that_know_of_nobody_else_are_named() {
    let mut world = world();
    let keys = [entry(stolen(&world), &[], &[])];
    let old = world.root_document();
    let ours = envelope(&world);
    let standing = |root, running| Standing { product: PRODUCT, root, running };
    assert_eq!(needs(&standing(&old, None), &keys).unwrap(), Some(Need::Root { version: 1 }));
    // A successor is known: what runs decides.
    let successor = TestKey::ed25519(81);
    world.root.version = 2;
    world.root.roles[1].holders.push(Holder { name: "next".into(), keys: vec![successor.public().clone()] });
    let new = world.root_document();
    assert_eq!(needs(&standing(&new, None), &keys).unwrap(), None);
    assert_eq!(needs(&standing(&new, Some(runs(&ours))), &keys).unwrap(), Some(Need::Running));
    let both = [keys[0].clone(), entry(successor.public().id(), &[], &[])];
    assert_eq!(needs(&standing(&new, None), &both).unwrap(), Some(Need::Root { version: 2 }));
    // What is allowed by name stays; an index says nothing to a device that
    // demands no proof.
    let manifest = runs(&ours).manifest;
    let kept = [entry(stolen(&world), &[], &[manifest])];
    assert_eq!(needs(&standing(&new, Some(runs(&ours))), &kept).unwrap(), None);
    let good = [entry(stolen(&world), &[("log", 9)], &[])];
    assert_eq!(needs(&standing(&new, Some(runs(&ours))), &good).unwrap(), Some(Need::Running));
    // Signed by somebody else altogether, so these keys make no difference.
    let foreign = envelope(&World { release: vec![("next".into(), vec![successor])], ..World::default() });
    assert_eq!(needs(&standing(&new, Some(runs(&foreign))), &keys).unwrap(), None);
}

#[test]
fn another_products_entry_leaves_nobody_behind() {
    let mut world = world();
    let mut own = world.root.roles[1].clone();
    own.products = vec!["camera".parse().unwrap()];
    own.holders = vec![Holder { name: "c".into(), keys: vec![TestKey::ed25519(82).public().clone()] }];
    world.root.roles.push(own);
    let root = world.root_document();
    let keys = [entry(TestKey::ed25519(82).public().id(), &[], &[])];
    let envelope = envelope(&world);
    let standing = |product, running| Standing { product, root: &root, running };
    assert_eq!(needs(&standing(PRODUCT, Some(runs(&envelope))), &keys).unwrap(), None);
    assert_eq!(needs(&standing("camera", None), &keys).unwrap(), Some(Need::Root { version: 1 }));
}

#[test]
fn changes_read_like_a_difference() {
    let old = world().root;
    let mut new = RootSpec { version: 2, minimum_epoch: old.minimum_epoch + 1, ..old.clone() };
    new.roles[1].threshold = 2;
    new.roles[1]
        .holders
        .push(Holder { name: "eve".into(), keys: vec![TestKey::ed25519(83).public().clone()] });
    new.sequence_resets = vec![(PRODUCT.parse().unwrap(), 5)];
    new.demands[0].demands.proof = true;
    let lines: Vec<String> = changes(&old, &new).iter().map(ToString::to_string).collect();
    let key = TestKey::ed25519(83).public().id();
    for expected in [
        "~ release: threshold 1 -> 2".to_owned(),
        "+ release: holder eve".to_owned(),
        format!("+ release: key {key} of eve"),
        "- demands signatures only".to_owned(),
        "+ demands log proof".to_owned(),
        format!("! devices of {PRODUCT} lower their sequence floor to 5"),
    ] {
        assert!(lines.contains(&expected), "{expected} in {lines:#?}");
    }
    assert!(changes(&old, &old).is_empty());
}

#[test]
fn a_request_is_read_to_its_last_byte_or_not_at_all() {
    let world = world();
    let document = world.root_document();
    let root = Root::decode(&document).unwrap();
    let mut spec = RevocationSpec::after(&root, None).unwrap();
    spec.take_key(entry(stolen(&world), &[("log", 9)], &[Digest([1; 32])])).unwrap();
    spec.take_release(Digest([7; 32]));
    let request = spec.assemble().unsigned();
    assert_eq!(RevocationSpec::of_unsigned(&request), Some(spec.clone()));
    // Cut anywhere, or with anything changed, it is another request or none:
    // never the same one.
    for end in 0..request.len() {
        assert_eq!(RevocationSpec::of_unsigned(&request[..end]), None, "{end}");
    }
    for at in 0..request.len() {
        for bit in 0..8 {
            let mut changed = request.clone();
            changed[at] ^= 1 << bit;
            assert_ne!(RevocationSpec::of_unsigned(&changed), Some(spec.clone()), "byte {at}, bit {bit}");
        }
    }
    assert_eq!(RevocationSpec::of_unsigned(&[request.as_slice(), &[0]].concat()), None);
    assert_eq!(RevocationSpec::of_unsigned(&vec![0x82; limits::REVOCATION_MAX + 1]), None);
}
