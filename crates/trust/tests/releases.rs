//! Releases signed at a ceremony: what people may sign together, and what no
//! number of them can.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_core::{BlockSize, Environment, Refusal};
use firmseal_manifest::{ComponentSpec, Digest, ReleaseSpec};
use firmseal_testkit::TestKey;
use firmseal_trust::ceremony::{Kind, warnings};
use firmseal_trust::{
    Ceremony, CeremonyError, Demands, DemandsSpec, Holder, Request, Role, RoleSpec, RootSpec,
};
use uuid::Uuid;

fn key(seed: u8) -> TestKey {
    TestKey::ed25519(seed)
}

fn role(role: Role, threshold: u64, holders: &[(&str, u8)], products: &[&str]) -> RoleSpec {
    let holder = |(name, seed): &(&str, u8)| Holder {
        name: (*name).to_owned(),
        keys: vec![key(*seed).public().clone()],
    };
    RoleSpec {
        role,
        threshold,
        channels: vec![],
        both_kinds: false,
        holders: holders.iter().map(holder).collect(),
        products: products.iter().map(|product| product.parse().unwrap()).collect(),
    }
}

/// A root that demands nothing, unless it is told to.
fn root(demands: Demands) -> Vec<u8> {
    let spec = RootSpec {
        version: 1,
        lineage: [7; 16],
        environment: Environment::Test,
        roles: vec![
            role(Role::Root, 1, &[("alice", 1)], &[]),
            role(Role::Release, 2, &[("ben", 2), ("bea", 3), ("bo", 4)], &["gateway"]),
            role(Role::Recovery, 2, &[("rita", 5), ("rolf", 6)], &["gateway"]),
            role(Role::Approver, 1, &[("ann", 8)], &[]),
            role(Role::Log, 1, &[("log", 9)], &[]),
            role(Role::Witness, 1, &[("witness", 10)], &[]),
        ],
        minimum_epoch: 2,
        demands: vec![DemandsSpec { demands, products: vec![] }],
        closed_logs: vec![],
        sequence_resets: vec![],
    };
    let unsigned = spec.assemble().unwrap();
    let signature = key(1).sign(&unsigned.to_be_signed(key(1).public()).unwrap());
    unsigned.seal(&[(key(1).public(), signature)]).unwrap()
}

const NOTHING: Demands = Demands { proof: false, approvals: false, delegation: false, owner: false };

fn release() -> ReleaseSpec {
    ReleaseSpec {
        environment: Environment::Test,
        vendor: Uuid::from_u128(7),
        class: Uuid::from_u128(8),
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: "1.2.3".parse().unwrap(),
        sequence: 5,
        epoch: 2,
        delegation: 0,
        rollback_of: None,
        components: vec![ComponentSpec {
            name: "main".to_owned(),
            size: 5000,
            digest: Digest([1; 32]),
            slot: None,
            block: BlockSize::B4096,
            tree_root: Digest([2; 32]),
        }],
        description: None,
    }
}

fn request(kind: Kind, spec: &ReleaseSpec, root: &[u8]) -> Result<Request, CeremonyError> {
    let document = spec.assemble().unwrap().seal(&[]).unwrap();
    Request::new(kind, "a ceremony", document, Some(root.to_vec()))
}

fn sign(ceremony: &mut Ceremony, seed: u8) -> Result<String, CeremonyError> {
    let request = ceremony.request().clone();
    let tbs = request.to_be_signed(key(seed).public())?;
    assert!(request.intent(&key(seed).public().id()).covers(key(seed).public(), &tbs));
    ceremony.add(&key(seed).public().id(), &request.digest(), key(seed).sign(&tbs))
}

#[test]
fn two_of_three_sign_in_every_order() {
    for order in [[2, 3], [3, 2], [2, 4], [4, 2], [3, 4], [4, 3]] {
        let mut ceremony = Ceremony::new(request(Kind::Release, &release(), &root(NOTHING)).unwrap());
        sign(&mut ceremony, order[0]).unwrap();
        assert!(matches!(ceremony.finish(), Err(CeremonyError::Incomplete(_))));
        // The same holder again, a stranger, and who may recover only.
        assert!(matches!(sign(&mut ceremony, order[0]), Err(CeremonyError::Repeated { .. })));
        for stranger in [1, 5, 8, 99] {
            assert!(matches!(sign(&mut ceremony, stranger), Err(CeremonyError::Stranger(_))));
        }
        sign(&mut ceremony, order[1]).unwrap();
        let envelope = ceremony.finish().unwrap();
        assert_eq!(ReleaseSpec::of(&envelope).unwrap().sequence, 5);
    }
}

#[test]
fn what_the_recovery_role_signs_is_said_to_be_that() {
    let all = Demands { proof: true, approvals: true, delegation: true, owner: true };
    let request = request(Kind::Recovery, &release(), &root(all)).unwrap();
    assert!(warnings(&request).unwrap()[0].starts_with("RECOVERY: "));
    let mut ceremony = Ceremony::new(request.clone());
    for stranger in [1, 2, 3, 4, 8] {
        assert!(matches!(sign(&mut ceremony, stranger), Err(CeremonyError::Stranger(_))));
    }
    sign(&mut ceremony, 6).unwrap();
    assert!(matches!(ceremony.finish(), Err(CeremonyError::Incomplete(_))));
    sign(&mut ceremony, 5).unwrap();
    ceremony.finish().unwrap();
    // A carrier who calls it something else has another request, with other
    // words; and the signatures are for neither.
    let as_release = self::request(Kind::Release, &release(), &root(NOTHING)).unwrap();
    assert_ne!(as_release.words(), request.words());
    let tbs = request.to_be_signed(key(5).public()).unwrap();
    let moved = Ceremony::new(as_release).add(&key(5).public().id(), &request.digest(), key(5).sign(&tbs));
    assert!(matches!(moved, Err(CeremonyError::OtherRequest { .. })));
}

#[test]
fn what_devices_would_refuse_nobody_is_asked_to_sign() {
    let refused = |kind, spec: &ReleaseSpec, root: &[u8]| request(kind, spec, root).unwrap_err();
    for kind in [Kind::Release, Kind::Recovery] {
        let low = ReleaseSpec { epoch: 1, ..release() };
        let below = Refusal::EpochBelowRoot { offered: 1, minimum: 2 };
        assert_eq!(refused(kind, &low, &root(NOTHING)), below.into());
        let production = ReleaseSpec { environment: Environment::Production, ..release() };
        assert_eq!(refused(kind, &production, &root(NOTHING)), Refusal::WrongEnvironment.into());
        let camera = ReleaseSpec { product: "camera".parse().unwrap(), ..release() };
        assert_eq!(refused(kind, &camera, &root(NOTHING)), Refusal::RoleMissing.into());
        // Signed already, or under a root that nobody signed.
        let mut ceremony = Ceremony::new(request(Kind::Release, &release(), &root(NOTHING)).unwrap());
        sign(&mut ceremony, 2).unwrap();
        sign(&mut ceremony, 3).unwrap();
        let signed = ceremony.finish().unwrap();
        let again = Request::new(kind, "again", signed, Some(root(NOTHING)));
        assert_eq!(again.unwrap_err(), CeremonyError::Signed);
        let mut forged = root(NOTHING);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(refused(kind, &release(), &forged), Refusal::BadSignature.into());
        assert!(matches!(
            Request::new(kind, "alone", release().assemble().unwrap().seal(&[]).unwrap(), None),
            Err(CeremonyError::Under(_))
        ));
    }
    for demands in [
        Demands { proof: true, ..NOTHING },
        Demands { approvals: true, ..NOTHING },
        Demands { delegation: true, ..NOTHING },
    ] {
        let error = refused(Kind::Release, &release(), &root(demands));
        assert!(matches!(error, CeremonyError::Demanded { .. }), "{error}");
    }
    let delegated = ReleaseSpec { delegation: 3, ..release() };
    assert!(matches!(refused(Kind::Release, &delegated, &root(NOTHING)), CeremonyError::Release(_)));
    let back = ReleaseSpec { rollback_of: Some(Digest([9; 32])), ..release() };
    assert!(matches!(refused(Kind::Recovery, &back, &root(NOTHING)), CeremonyError::Release(_)));
}

#[test]
fn a_roll_back_is_signed_ahead_and_an_owner_agrees_later() {
    let back = ReleaseSpec { rollback_of: Some(Digest([9; 32])), ..release() };
    for (spec, demands) in [(back, NOTHING), (release(), Demands { owner: true, ..NOTHING })] {
        let mut ceremony = Ceremony::new(request(Kind::Release, &spec, &root(demands)).unwrap());
        sign(&mut ceremony, 3).unwrap();
        sign(&mut ceremony, 4).unwrap();
        ceremony.finish().unwrap();
    }
}
