//! Root documents: what an author writes, devices read, and what devices
//! would refuse is never handed out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Environment, Refusal, Root};
use firmseal_testkit::{TestKey, World};
use firmseal_trust::{Demands, DemandsSpec, Holder, Role, RoleSpec, RootError, RootSpec};
use proptest::prelude::*;

fn holder(name: &str, seeds: &[u8]) -> Holder {
    let keys = seeds.iter().map(|seed| TestKey::ed25519(*seed).public().clone()).collect();
    Holder { name: name.to_owned(), keys }
}

fn refused(change: impl FnOnce(&mut RootSpec)) -> Refusal {
    let mut root = World::default().root;
    change(&mut root);
    match root.assemble() {
        Err(RootError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_devices_refuse_is_not_assembled() {
    assert_eq!(refused(|root| root.roles[1].threshold = 0), Refusal::BadThreshold);
    assert_eq!(refused(|root| root.roles[1].threshold = 2), Refusal::BadThreshold);
    assert_eq!(refused(|root| root.roles[1].holders = vec![]), Refusal::BadThreshold);
    assert_eq!(refused(|root| root.roles[1].holders = vec![holder("x", &[100])]), Refusal::KeyReused);
    assert_eq!(refused(|root| root.roles[1].holders.push(holder("x", &[1]))), Refusal::KeyReused);
    for refusal in [
        refused(|root| root.version = 0),
        refused(|root| root.roles[1].holders.push(holder("alice", &[2]))),
        refused(|root| root.roles[1].holders[0].name.clear()),
        refused(|root| root.roles[1].holders[0].keys.clear()),
        refused(|root| root.roles[0].products = vec!["gateway".parse().unwrap()]),
        refused(|root| {
            let mut other = root.roles[1].clone();
            other.holders = vec![holder("x", &[2])];
            root.roles.push(other);
        }),
    ] {
        assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}");
    }
    let many: Vec<u8> = (1..=64).collect();
    assert!(matches!(refused(|root| root.roles[1].holders = vec![holder("x", &many)]), Refusal::Limit(_)));
}

#[test]
fn what_its_own_root_role_has_not_signed_is_not_sealed() {
    let world = World::default();
    let unsigned = world.root.assemble().unwrap();
    let sign = |key: &TestKey| key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    assert!(unsigned.seal(&[]).is_err());
    let release = &world.release[0].1[0];
    assert_eq!(
        unsigned.seal(&[(release.public(), sign(release))]),
        Err(RootError::Refused(Refusal::UnknownSigner))
    );
    let mut forged = sign(&world.root_key);
    forged.0[0] ^= 1;
    let forged = unsigned.seal(&[(world.root_key.public(), forged)]);
    assert_eq!(forged, Err(RootError::Refused(Refusal::BadSignature)));
    assert!(unsigned.seal(&[(world.root_key.public(), sign(&world.root_key))]).is_ok());
}

#[test]
fn a_silent_production_root_demands_both() {
    let mut world = World::default();
    (world.root.environment, world.root.demands) = (Environment::Production, vec![]);
    let document = world.root_document();
    let demands = Root::decode(&document).unwrap().demands("gateway");
    assert_eq!((demands.proof, demands.approvals), (true, true));
}

fn spec_of([proof, approvals, delegation, owner]: [bool; 4]) -> DemandsSpec {
    DemandsSpec { demands: Demands { proof, approvals, delegation, owner }, products: vec![] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn devices_read_what_an_author_writes(
        sizes in prop::collection::vec(prop::collection::vec(1..4usize, 1..5), 1..5),
        thresholds in prop::collection::vec(any::<prop::sample::Index>(), 5),
        (version, epoch, lineage) in (1..=u64::MAX, any::<u64>(), any::<[u8; 16]>()),
        demands in prop::option::of(any::<[bool; 4]>()),
    ) {
        let mut seed = 0;
        let roles: Vec<RoleSpec> = sizes
            .iter()
            .enumerate()
            .map(|(place, keys)| RoleSpec {
                role: if place == 0 { Role::Root } else { Role::Release },
                threshold: 1 + thresholds[place].index(keys.len()) as u64,
                holders: keys
                    .iter()
                    .enumerate()
                    .map(|(at, count)| {
                        let seeds: Vec<u8> = (0..*count as u8).map(|key| seed + key + 1).collect();
                        seed += *count as u8;
                        holder(&format!("h{at}"), &seeds)
                    })
                    .collect(),
                products: if place < 2 { vec![] } else { vec![format!("p{place}").parse().unwrap()] },
                channels: vec![], both_kinds: false,
            })
            .collect();
        let spec = RootSpec {
            version,
            lineage,
            environment: Environment::Test,
            roles: roles.clone(),
            minimum_epoch: epoch,
            demands: demands.map(spec_of).into_iter().collect(),
            closed_logs: vec![],
            sequence_resets: vec![("gateway".parse().unwrap(), version)],
        };
        let unsigned = spec.assemble().unwrap();
        let needed = roles[0].threshold as usize;
        // The keys of the root role come first: one of each needed holder.
        let mut first = 1;
        let keys: Vec<TestKey> = sizes[0].iter().take(needed).map(|count| {
            let key = TestKey::ed25519(first);
            first += *count as u8;
            key
        }).collect();
        let signatures: Vec<_> =
            keys.iter().map(|key| (key.public(), key.sign(&unsigned.to_be_signed(key.public()).unwrap()))).collect();
        prop_assert!(unsigned.seal(&signatures[1..]).is_err(), "one short");
        let document = unsigned.seal(&signatures).unwrap();
        let root = Root::decode(&document).unwrap();
        prop_assert_eq!(root.verify(&RustCrypto), Ok(()));
        prop_assert_eq!((root.version(), root.minimum_epoch(), root.lineage()), (version, epoch, &lineage));
        prop_assert_eq!(root.digest(&RustCrypto), unsigned.digest());
        let said = root.demands("gateway");
        let said = [said.proof, said.approvals, said.delegation, said.owner];
        prop_assert_eq!(said, demands.unwrap_or_default());
        prop_assert_eq!(root.sequence_reset("gateway"), Some(version));
        let read = RootSpec::of(&root).unwrap();
        prop_assert_eq!(read.assemble().unwrap(), unsigned, "the same body, byte for byte");
        for (entry, spec) in root.roles().zip(&roles) {
            prop_assert_eq!((entry.role(), entry.threshold() as u64), (spec.role, spec.threshold));
            let names: Vec<&str> = spec.holders.iter().map(|holder| holder.name.as_str()).collect();
            prop_assert_eq!(entry.holders().collect::<Vec<_>>(), names);
            let ids: Vec<_> = entry.keys().map(|(holder, key)| (holder, key.id(&RustCrypto))).collect();
            let expected: Vec<_> = spec.holders.iter().enumerate()
                .flat_map(|(at, holder)| holder.keys.iter().map(move |key| (at, key.id()))).collect();
            prop_assert_eq!(ids, expected);
        }
        for (place, spec) in roles.iter().enumerate().skip(2) {
            let entry = root.role(Role::Release, &format!("p{place}")).unwrap();
            prop_assert_eq!(entry.holders().count(), spec.holders.len());
        }
    }
}
