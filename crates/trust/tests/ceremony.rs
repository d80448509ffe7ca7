//! Ceremonies: signatures in any order, and everything that a dishonest
//! carrier or custodian may try.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::mldsa::Set;
use firmseal_core::{Environment, Refusal, Root};
use firmseal_manifest::{Digest, KeyId, Signature};
use firmseal_testkit::TestKey;
use firmseal_trust::ceremony::{Kind, warnings};
use firmseal_trust::{
    Ceremony, CeremonyError, Demands, DemandsSpec, Event, Holder, Record, RecordError, Request,
    RevocationSpec, RevokedKey, Role, RoleSpec, RootError, RootSpec,
};

fn key(seed: u8) -> TestKey {
    TestKey::ed25519(seed)
}

fn role(role: Role, threshold: u64, holders: &[(&str, &[u8])]) -> RoleSpec {
    let holder = |(name, seeds): &(&str, &[u8])| Holder {
        name: (*name).to_owned(),
        keys: seeds.iter().map(|seed| key(*seed).public().clone()).collect(),
    };
    RoleSpec {
        role,
        threshold,
        holders: holders.iter().map(holder).collect(),
        products: Vec::new(),
        channels: vec![],
        both_kinds: false,
    }
}

fn first() -> RootSpec {
    RootSpec {
        version: 1,
        lineage: [7; 16],
        environment: Environment::Test,
        roles: vec![
            role(Role::Root, 2, &[("alice", &[1, 11]), ("bob", &[2]), ("carol", &[3])]),
            role(Role::Release, 1, &[("builder", &[4])]),
            role(Role::Revocation, 2, &[("duty", &[5]), ("deputy", &[6])]),
        ],
        minimum_epoch: 1,
        demands: vec![DemandsSpec {
            demands: Demands { proof: true, approvals: true, delegation: false, owner: false },
            products: Vec::new(),
        }],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
}

fn request(kind: Kind, spec: &RootSpec, under: Option<&[u8]>) -> Request {
    let document = spec.assemble().unwrap().unsigned().unwrap();
    Request::new(kind, "a ceremony", document, under.map(<[u8]>::to_vec)).unwrap()
}

/// What a custodian brings back.
fn signed(request: &Request, seed: u8) -> (KeyId, Digest, Signature) {
    let key = key(seed);
    let tbs = request.to_be_signed(key.public()).unwrap();
    assert!(request.intent(&key.public().id()).covers(key.public(), &tbs));
    (key.public().id(), request.digest(), key.sign(&tbs))
}

fn add(ceremony: &mut Ceremony, seed: u8) -> Result<String, CeremonyError> {
    let (key, asked, signature) = signed(&ceremony.request().clone(), seed);
    ceremony.add(&key, &asked, signature)
}

fn made(request: Request, seeds: &[u8]) -> Vec<u8> {
    let mut ceremony = Ceremony::new(request);
    for seed in seeds {
        add(&mut ceremony, *seed).unwrap();
    }
    ceremony.finish().unwrap()
}

#[test]
fn a_root_goes_round_in_every_order() {
    for order in [[1, 2], [2, 1], [1, 3], [3, 1], [2, 3], [3, 2]] {
        let one = made(request(Kind::FirstRoot, &first(), None), &order);
        let root = Root::decode(&one).unwrap();
        root.verify(&RustCrypto).unwrap();
        let mut next = RootSpec::of(&root).unwrap();
        assert_eq!(
            next.assemble().unwrap().unsigned().unwrap(),
            first().assemble().unwrap().unsigned().unwrap()
        );
        // Every role gets other keys; alice's old one and bob's agree, and
        // two of the new.
        next.version = 2;
        next.roles = vec![
            role(Role::Root, 2, &[("alice", &[21]), ("bob", &[22]), ("carol", &[23])]),
            role(Role::Release, 1, &[("builder", &[24])]),
            role(Role::Revocation, 1, &[("duty", &[25])]),
        ];
        let two = made(request(Kind::Rotation, &next, Some(&one)), &[21, order[0], order[1], 23]);
        root.successor(&two, &RustCrypto).unwrap();
    }
}

#[test]
fn a_rotation_needs_the_old_threshold_and_the_new() {
    let one = made(request(Kind::FirstRoot, &first(), None), &[1, 2]);
    let mut next = RootSpec { version: 2, ..first() };
    next.roles[0] = role(Role::Root, 1, &[("dave", &[31])]);
    let mut ceremony = Ceremony::new(request(Kind::Rotation, &next, Some(&one)));
    add(&mut ceremony, 31).unwrap();
    add(&mut ceremony, 1).unwrap();
    let error = ceremony.finish().unwrap_err().to_string();
    assert!(error.contains("root document 1 has 1 of 2, waiting for bob, carol"), "{error}");
    let missing = ceremony.missing();
    assert_eq!((missing[0].is_met(), missing[1].is_met()), (false, true));
    add(&mut ceremony, 3).unwrap();
    assert!(ceremony.is_complete());
    // Nobody but dave could take it further.
    assert_eq!(RootSpec::of(&Root::decode(&ceremony.finish().unwrap()).unwrap()).unwrap().version, 2);
    let said = warnings(ceremony.request()).unwrap();
    for expected in ["THRESHOLD LOWERED: root from 2 to 1", "HOLDER REMOVED: alice from root"] {
        assert!(said.iter().any(|line| line == expected), "{said:?}");
    }
}

#[test]
fn a_holder_counts_once_and_strangers_never() {
    let mut ceremony = Ceremony::new(request(Kind::FirstRoot, &first(), None));
    assert_eq!(add(&mut ceremony, 1).unwrap(), "alice");
    let twice = CeremonyError::Repeated { holder: "alice".to_owned() };
    assert_eq!(add(&mut ceremony, 1), Err(twice.clone()));
    assert_eq!(add(&mut ceremony, 11), Err(twice), "a second key is no second holder");
    for seed in [4, 99] {
        assert_eq!(add(&mut ceremony, seed), Err(CeremonyError::Stranger(key(seed).public().id())));
    }
    assert!(!ceremony.is_complete());
    assert!(matches!(ceremony.finish(), Err(CeremonyError::Incomplete(_))));
}

/// A root whose holders each have an Ed25519 and an ML-DSA-65 key.
fn of_both() -> RootSpec {
    let mut spec = first();
    let own = &mut spec.roles[0];
    own.both_kinds = true;
    for (holder, seed) in own.holders.iter_mut().zip(1..) {
        holder.keys.push(TestKey::ml_dsa(Set::MlDsa65, seed).public().clone());
    }
    spec
}

#[test]
fn where_both_kinds_are_demanded_one_is_half_a_holder() {
    let mut ceremony = Ceremony::new(request(Kind::FirstRoot, &of_both(), None));
    let lattice = |ceremony: &mut Ceremony, seed| {
        let (key, request) = (TestKey::ml_dsa(Set::MlDsa65, seed), ceremony.request().clone());
        let signature = key.sign(&request.to_be_signed(key.public()).unwrap());
        ceremony.add(&key.public().id(), &request.digest(), signature)
    };
    add(&mut ceremony, 1).unwrap();
    let twice = CeremonyError::Repeated { holder: "alice".to_owned() };
    assert_eq!(add(&mut ceremony, 11), Err(twice.clone()), "another key of the same kind");
    add(&mut ceremony, 2).unwrap();
    assert!(!ceremony.is_complete(), "two holders, and half of each");
    assert_eq!(ceremony.missing()[0].half, ["alice", "bob"]);
    lattice(&mut ceremony, 3).unwrap();
    let why = ceremony.finish().unwrap_err().to_string();
    assert!(why.contains("has 0 of 2") && why.contains("carol (with the other kind of key)"), "{why}");
    lattice(&mut ceremony, 2).unwrap();
    assert_eq!(lattice(&mut ceremony, 2), Err(CeremonyError::Repeated { holder: "bob".to_owned() }));
    add(&mut ceremony, 3).unwrap();
    assert!(ceremony.is_complete());
    let one = ceremony.finish().unwrap();
    let root = Root::decode(&one).unwrap();
    root.verify(&RustCrypto).unwrap();
    // Alice's half is surplus: it would cost devices a check.
    lattice(&mut ceremony, 1).unwrap();
    assert_eq!(ceremony.finish().unwrap(), one);
    // What was demanded is not lost on the way to the next document, and
    // giving it up is said.
    let mut next = RootSpec { version: 2, ..RootSpec::of(&root).unwrap() };
    assert_eq!(
        next.assemble().unwrap().digest(),
        RootSpec { version: 2, ..of_both() }.assemble().unwrap().digest()
    );
    next.roles[0].both_kinds = false;
    let rotation = request(Kind::Rotation, &next, Some(&one));
    let said = warnings(&rotation).unwrap();
    assert_eq!(said, ["ONE KIND OF KEY SUFFICES: root no longer needs both of each holder"]);
    // The old document still needs both, the new one is content with less.
    let mut ceremony = Ceremony::new(rotation);
    for seed in [1, 2] {
        add(&mut ceremony, seed).unwrap();
    }
    let met: Vec<bool> = ceremony.missing().iter().map(|missing| missing.is_met()).collect();
    assert_eq!(met, [false, true]);
    for seed in [1, 2] {
        lattice(&mut ceremony, seed).unwrap();
    }
    root.successor(&ceremony.finish().unwrap(), &RustCrypto).unwrap();
}

#[test]
fn what_would_be_too_long_when_it_is_signed_is_not_begun() {
    // Each key takes 2.6 kB and each signature 4.6: five of six fit no more.
    let root_of = |threshold, seeds: std::ops::Range<u8>| {
        let holder = |seed: u8| Holder {
            name: format!("holder {seed}"),
            keys: vec![TestKey::ml_dsa(Set::MlDsa87, seed).public().clone()],
        };
        let mut spec = first();
        spec.roles[0] = RoleSpec { threshold, holders: seeds.map(holder).collect(), ..spec.roles[0].clone() };
        spec
    };
    let begin = |kind, spec: &RootSpec, under: Option<Vec<u8>>| {
        Request::new(kind, "t", spec.assemble().unwrap().unsigned().unwrap(), under)
    };
    let refused = begin(Kind::FirstRoot, &root_of(4, 1..7), None);
    assert!(matches!(refused, Err(CeremonyError::TooLong { most: 32768, .. })), "{refused:?}");
    let mut ceremony = Ceremony::new(begin(Kind::FirstRoot, &root_of(3, 1..5), None).unwrap());
    for seed in [1, 2, 3] {
        let (key, request) = (TestKey::ml_dsa(Set::MlDsa87, seed), ceremony.request().clone());
        let signature = key.sign(&request.to_be_signed(key.public()).unwrap());
        ceremony.add(&key.public().id(), &request.digest(), signature).unwrap();
    }
    let one = ceremony.finish().unwrap();
    // The same holders sign once for both; others sign beside them.
    let same = RootSpec { version: 2, ..root_of(3, 1..5) };
    assert!(begin(Kind::Rotation, &same, Some(one.clone())).is_ok());
    let others = RootSpec { version: 2, ..root_of(3, 11..15) };
    let refused = begin(Kind::Rotation, &others, Some(one));
    assert!(matches!(refused, Err(CeremonyError::TooLong { .. })), "{refused:?}");
}

#[test]
fn other_bytes_do_not_count() {
    let honest = request(Kind::FirstRoot, &first(), None);
    let mut other = first();
    other.roles[0].threshold = 1;
    let tampered = request(Kind::FirstRoot, &other, None);
    assert_ne!(honest.words(), tampered.words(), "the people in the room would see it");
    let mut ceremony = Ceremony::new(honest.clone());
    let (key, asked, signature) = signed(&tampered, 2);
    assert!(matches!(ceremony.add(&key, &asked, signature.clone()), Err(CeremonyError::OtherRequest { .. })));
    // Who lies about the request as well.
    let lied = ceremony.add(&key, &honest.digest(), signature);
    assert_eq!(lied, Err(CeremonyError::OtherBytes { holder: "bob".to_owned() }));
    assert_eq!(ceremony.missing()[0].have.len(), 0);
}

#[test]
fn what_devices_would_refuse_is_not_begun() {
    let begin = |kind, spec: &RootSpec, under: Option<&[u8]>| {
        Request::new(kind, "t", spec.assemble().unwrap().unsigned().unwrap(), under.map(<[u8]>::to_vec))
            .unwrap_err()
    };
    let one = made(request(Kind::FirstRoot, &first(), None), &[1, 2]);
    let next = RootSpec { version: 2, ..first() };
    let two = made(request(Kind::Rotation, &next, Some(&one)), &[1, 2]);
    let refused = |refusal| CeremonyError::Root(RootError::Refused(refusal));
    // An old root is replayed as the newest: its successor is not the third.
    let third = RootSpec { version: 3, ..first() };
    let replayed = begin(Kind::Rotation, &third, Some(&one));
    assert_eq!(replayed, refused(Refusal::RootVersion { offered: 3, held: 1 }));
    assert!(
        Request::new(Kind::Rotation, "t", third.assemble().unwrap().unsigned().unwrap(), Some(two)).is_ok()
    );
    assert_eq!(
        begin(Kind::Rotation, &first(), Some(&one)),
        refused(Refusal::RootVersion { offered: 1, held: 1 })
    );
    let strange = RootSpec { version: 2, lineage: [8; 16], ..first() };
    assert_eq!(begin(Kind::Rotation, &strange, Some(&one)), refused(Refusal::WrongLineage));
    let grown = RootSpec { version: 2, environment: Environment::Production, ..first() };
    assert_eq!(begin(Kind::Rotation, &grown, Some(&one)), refused(Refusal::WrongEnvironment));
    assert_eq!(begin(Kind::FirstRoot, &next, None), CeremonyError::NotFirst(2));
    // The root before it must carry its own signatures.
    let unsigned = first().assemble().unwrap().unsigned().unwrap();
    assert!(matches!(begin(Kind::Rotation, &next, Some(&unsigned)), CeremonyError::Root(_)));
    let signed = Request::new(Kind::FirstRoot, "t", one, None);
    assert_eq!(signed.unwrap_err(), CeremonyError::Signed);
    for title in ["", "two\nlines", &"x".repeat(201)] {
        let document = first().assemble().unwrap().unsigned().unwrap();
        assert_eq!(Request::new(Kind::FirstRoot, title, document, None).unwrap_err(), CeremonyError::Title);
    }
}

#[test]
fn a_revocation_is_signed_by_its_role() {
    let one = made(request(Kind::FirstRoot, &first(), None), &[1, 2]);
    let spec = RevocationSpec {
        version: 1,
        lineage: [7; 16],
        environment: Environment::Test,
        keys: vec![RevokedKey {
            key: key(4).public().id(),
            last_good: vec![("log".to_owned(), 9)],
            allowed: vec![Digest([1; 32])],
        }],
        releases: vec![Digest([2; 32])],
    };
    let unsigned = spec.assemble().unsigned();
    assert_eq!(RevocationSpec::of_unsigned(&unsigned), Some(spec.clone()));
    for at in 0..unsigned.len() {
        let mut other = unsigned.clone();
        other[at] ^= 1;
        assert_ne!(RevocationSpec::of_unsigned(&other), Some(spec.clone()));
        assert_eq!(RevocationSpec::of_unsigned(&unsigned[..at]), None);
    }
    let request = Request::new(Kind::Revocation, "t", unsigned, Some(one.clone())).unwrap();
    let mut ceremony = Ceremony::new(request);
    assert!(
        matches!(add(&mut ceremony, 1), Err(CeremonyError::Stranger(_))),
        "root custodians do not revoke"
    );
    add(&mut ceremony, 6).unwrap();
    add(&mut ceremony, 5).unwrap();
    let document = ceremony.finish().unwrap();
    assert!(Root::decode(&one).unwrap().revocation(&document, &RustCrypto).is_ok());
    let other = RevocationSpec { lineage: [8; 16], ..spec }.assemble().unsigned();
    assert!(Request::new(Kind::Revocation, "t", other, Some(one)).is_err());
}

#[test]
fn surplus_signatures_stay_out() {
    let mut ceremony = Ceremony::new(request(Kind::FirstRoot, &first(), None));
    let two = made(ceremony.request().clone(), &[1, 2]);
    for seed in [1, 2, 3] {
        add(&mut ceremony, seed).unwrap();
    }
    assert_eq!(ceremony.finish().unwrap(), two);
}

#[test]
fn what_weakens_is_said() {
    let one = made(request(Kind::FirstRoot, &first(), None), &[1, 2]);
    let mut next = RootSpec { version: 2, minimum_epoch: 0, demands: vec![DemandsSpec::NOTHING], ..first() };
    next.roles.remove(2);
    next.sequence_resets = vec![("gateway".parse().unwrap(), 5)];
    let said = warnings(&request(Kind::Rotation, &next, Some(&one))).unwrap().join("\n");
    for expected in [
        "ROLE REMOVED: revocation",
        "DEMAND DROPPED: log proofs",
        "DEMAND DROPPED: approvals",
        "LOWEST EPOCH LOWERED: from 1 to 0",
        "SEQUENCE RESET: devices of gateway take 5",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let harmless = RootSpec { version: 2, ..first() };
    assert_eq!(warnings(&request(Kind::Rotation, &harmless, Some(&one))).unwrap(), Vec::<String>::new());
    let mut special = RootSpec { version: 2, ..first() };
    special.roles.push(RoleSpec {
        products: vec!["gateway".parse().unwrap()],
        ..role(Role::Release, 1, &[("other", &[41])])
    });
    let said = warnings(&request(Kind::Rotation, &special, Some(&one))).unwrap();
    assert_eq!(said, ["A ROLE OF ITS OWN TAKES OVER: release for gateway"]);
}

fn event(what: &str) -> Event {
    Event { what: what.to_owned(), who: "alice".to_owned(), when: "2026-11-21T09:00:00Z".to_owned() }
}

#[test]
fn a_record_tells_who_changed_it() {
    let mut record = Record::new("root 2");
    for what in ["begun", "signed by alice", "signed by bob\n\n## 9. forged", "finished"] {
        record.push(event(what));
    }
    let text = record.markdown();
    assert_eq!(Record::parse(&text).unwrap(), record);
    assert_eq!(Record::parse(&text).unwrap().digest(), record.digest());
    let changed = text.replace("signed by alice", "signed by mallory");
    assert_eq!(Record::parse(&changed), Err(RecordError::Broken { entry: 2 }));
    let start = text.find("\n## 2.").unwrap();
    let end = text.find("\n## 3.").unwrap();
    let dropped =
        format!("{}{}", &text[..start], text[end..].replace("## 3.", "## 2.").replace("## 4.", "## 3."));
    assert_eq!(Record::parse(&dropped), Err(RecordError::Broken { entry: 2 }));
    // What is cut off at the end leaves a record, with another digest.
    let cut = &text[..text.find("\n## 4.").unwrap()];
    assert_ne!(Record::parse(cut).unwrap().digest(), record.digest());
    for added in [format!("{text}\nand more\n"), text.replace("machines", "x") + " ", format!("{text}\n")] {
        assert!(matches!(Record::parse(&added), Err(RecordError::Malformed { .. })), "{added}");
    }
    assert!(Record::parse("").is_err() && Record::parse("# Ceremony record: x").is_err());
}
