//! A repository over its life, in memory: exports, rotations, cuts at every
//! step, and those who tamper with it in between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use firmseal_fleet::Time;
use firmseal_manifest::{Digest, KeyId, PublicKey, Signature, Tbs};
use firmseal_tuf::{
    Authority, Document, Export, File, Held, Key, Role, RoleSettings, Target, TufError, Wanted,
};
use serde_json::{Value, json};

const DAY: u64 = 86_400_000;
const START: u64 = 1_800_000_000_000;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key(seed: u8) -> Key {
    let public = <[u8; 32]>::try_from(pair(seed).public_key().as_ref()).unwrap();
    Key::new(PublicKey::from_ed25519(public).unwrap()).unwrap()
}

fn verify(key: &PublicKey, tbs: &Tbs, signature: &Signature) -> bool {
    firmseal_keys::verify(key, tbs, signature).is_ok()
}

fn at(days: u64) -> Time {
    Time::from_millis(START + days * DAY)
}

/// What the owner wants: seeds of keys and a threshold for each role.
#[derive(Clone)]
struct Owner {
    roles: BTreeMap<Role, (Vec<u8>, u64)>,
    targets: BTreeMap<String, Target>,
}

impl Owner {
    fn new() -> Owner {
        let roles = [(Role::Root, 1..=3, 2), (Role::Targets, 4..=4, 1), (Role::Snapshot, 5..=5, 1)];
        let mut roles: BTreeMap<_, _> =
            roles.into_iter().map(|(role, seeds, threshold)| (role, (seeds.collect(), threshold))).collect();
        roles.insert(Role::Timestamp, (vec![6], 1));
        Owner { roles, targets: BTreeMap::new() }.offering("a_1.0.0_main.bin", 1)
    }

    fn role(mut self, role: Role, seeds: &[u8], threshold: u64) -> Owner {
        self.roles.insert(role, (seeds.to_vec(), threshold));
        self
    }

    fn offering(mut self, name: &str, byte: u8) -> Owner {
        let target = Target { length: 3, sha256: Digest([byte; 32]), custom: json!({ "sequence": byte }) };
        self.targets.insert(name.to_owned(), target);
        self
    }

    fn wanted(&self) -> Result<Wanted, TufError> {
        let wanted = Wanted::new(|role| {
            let (seeds, threshold) = &self.roles[&role];
            let authority = Authority::new(seeds.iter().map(|seed| key(*seed)).collect(), *threshold);
            let days = [365, 90, 7, 1][role as usize];
            RoleSettings { authority, valid: Duration::from_secs(days * 86_400) }
        })?;
        Ok(wanted.with(self.targets.clone()))
    }
}

/// The files below `metadata/`.
#[derive(Clone, Default, PartialEq, Debug)]
struct Repository(BTreeMap<String, Vec<u8>>);

/// What an export did.
struct Done {
    files: Vec<File>,
    signers: BTreeMap<Role, usize>,
    smooth: bool,
}

impl Repository {
    fn held(&self) -> Result<Held, TufError> {
        self.read(false)
    }

    fn read(&self, anew: bool) -> Result<Held, TufError> {
        Held::read(|name| Ok::<_, TufError>(self.0.get(name).cloned()), anew, &verify)
    }

    /// An export with these keys at hand; what it writes is returned.
    fn plan(&self, owner: &Owner, seeds: &[u8], now: Time) -> Result<Done, TufError> {
        self.plan_from(owner, seeds, now, 0)
    }

    fn plan_from(&self, owner: &Owner, seeds: &[u8], now: Time, from: u64) -> Result<Done, TufError> {
        let (held, wanted) = (self.read(from > 0)?, owner.wanted()?);
        let ids: Vec<KeyId> = seeds.iter().map(|seed| key(*seed).public().id()).collect();
        let mut export = Export::begin(&held, &wanted, ids, now, from, None, &verify)?;
        let mut signers = BTreeMap::new();
        while let Some(draft) = export.draft() {
            let sign = |own: &Key| {
                let seed = seeds.iter().find(|seed| key(**seed) == *own).expect("a key at hand");
                let Ok(Tbs::Message(message)) = draft.to_be_signed(own) else {
                    panic!("ed25519 signs messages")
                };
                (own.clone(), Signature(pair(*seed).sign(&message).as_ref().to_vec()))
            };
            let signatures: Vec<_> = draft.keys().iter().map(sign).collect();
            signers.insert(draft.role(), signatures.len());
            export.signed(draft, &signatures)?;
        }
        Ok(Done { files: export.publication(), signers, smooth: export.is_smooth() })
    }

    fn export(&mut self, owner: &Owner, seeds: &[u8], now: Time) -> Done {
        let done = self.plan(owner, seeds, now).unwrap();
        done.files.iter().for_each(|file| self.write(file));
        done
    }

    fn export_from(&mut self, owner: &Owner, seeds: &[u8], now: Time, from: u64) {
        let done = self.plan_from(owner, seeds, now, from).unwrap();
        done.files.iter().for_each(|file| self.write(file));
    }

    fn write(&mut self, file: &File) {
        self.0.insert(file.name.clone(), file.bytes.clone());
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.0[name]).unwrap()
    }

    fn versions(&self) -> [u64; 4] {
        let held = self.held().unwrap();
        Role::ALL.map(|role| held.version(role))
    }
}

/// What a client makes of a repository whose roots it reads at one moment
/// and everything else at a later one: the targets' version (TUF 1.0.34 §5).
fn client(roots: &Repository, rest: &Repository, now: Time) -> Result<u64, String> {
    let root = (1..).map_while(|version| roots.0.get(&Role::Root.file(version))).last().ok_or("no root")?;
    let root: Value = serde_json::from_slice(root).unwrap();
    let authority = |role: Role| {
        let entry = &root["signed"]["roles"][role.name()];
        let keys =
            (0..=40).map(key).filter(|key| entry["keyids"].as_array().unwrap().contains(&json!(key.id())));
        Authority::new(keys.collect(), entry["threshold"].as_u64().unwrap())
    };
    let read = |role: Role, version: u64| {
        let file = role.file(version);
        let bytes = rest.0.get(&file).ok_or(format!("{file}: not found"))?;
        let document = Document::decode(role, &file, bytes).map_err(|error| error.to_string())?;
        match document.satisfies(&authority(role), &verify) && document.expires() > now {
            true => Ok(document),
            false => Err(format!("{file}: unsigned or expired")),
        }
    };
    let named = |document: &Document, role: Role| {
        document.body()["meta"][format!("{role}.json")]["version"].as_u64().unwrap()
    };
    let timestamp = read(Role::Timestamp, 0)?;
    let snapshot = read(Role::Snapshot, named(&timestamp, Role::Snapshot))?;
    let targets = read(Role::Targets, named(&snapshot, Role::Targets))?;
    Ok(targets.version())
}

const ALL: &[u8] = &[1, 2, 3, 4, 5, 6];

#[test]
fn only_what_changed_is_signed_again() {
    let (mut repository, owner) = (Repository::default(), Owner::new());
    let first = repository.export(&owner, ALL, at(0));
    assert_eq!(repository.versions(), [1, 1, 1, 1]);
    assert_eq!(first.signers[&Role::Root], 3, "whoever is there signs");
    assert_eq!(first.files.last().unwrap().name, "timestamp.json");

    // With nothing but the key that is online.
    let again = repository.export(&owner, &[6], at(0));
    assert_eq!((repository.versions(), again.files.len()), ([1, 1, 1, 2], 1));

    let more = owner.clone().offering("a_1.1.0_main.bin", 2);
    let refused = repository.plan(&more, &[6], at(0)).err().unwrap();
    assert!(matches!(&refused, TufError::NotEnoughKeys { what, .. } if what == "targets"), "{refused}");
    repository.export(&more, &[4, 5, 6], at(0));
    assert_eq!(repository.versions(), [1, 2, 2, 3]);
    // What a release leaves is as much a change as what it brings.
    repository.export(&owner, &[4, 5, 6], at(0));
    assert_eq!(repository.versions(), [1, 3, 3, 4]);
    assert_eq!(repository.json("3.targets.json")["signed"]["targets"].as_object().unwrap().len(), 1);
    assert!(repository.0.contains_key("1.targets.json"), "what was published stays");
}

#[test]
fn metadata_is_renewed_while_its_keys_are_there_and_demanded_when_it_is_over() {
    let (mut repository, owner) = (Repository::default(), Owner::new());
    repository.export(&owner, ALL, at(0));
    // The snapshot is good for seven days: renewed in the last third.
    repository.export(&owner, &[5, 6], at(4));
    assert_eq!(repository.versions(), [1, 1, 1, 2]);
    repository.export(&owner, &[5, 6], at(5));
    assert_eq!(repository.versions(), [1, 1, 2, 3]);
    repository.export(&owner, &[6], at(11));
    assert_eq!(repository.versions(), [1, 1, 2, 4], "not expired: nobody has to come");
    assert!(matches!(repository.plan(&owner, &[6], at(12)), Err(TufError::NotEnoughKeys { .. })));
    // The root as well, by its own rule: the next number.
    repository.export(&owner, ALL, at(365));
    assert_eq!(repository.versions(), [2, 2, 3, 5]);
    assert_eq!(client(&repository, &repository, at(365)), Ok(2));
}

#[test]
fn clients_see_what_fits_together_at_every_moment_and_cuts_are_mended() {
    let owner = Owner::new();
    let changes = [
        ("a release", owner.clone().offering("a_2.0.0_main.bin", 3)),
        ("the timestamp key", owner.clone().role(Role::Timestamp, &[16], 1)),
        ("the snapshot key", owner.clone().role(Role::Snapshot, &[15], 1)),
        ("the targets key", owner.clone().role(Role::Targets, &[14, 24], 2)),
        ("the root keys", owner.clone().role(Role::Root, &[2, 3, 11, 12], 3)),
        (
            "everything at once",
            owner
                .clone()
                .role(Role::Root, &[11, 12], 2)
                .role(Role::Targets, &[14], 1)
                .role(Role::Snapshot, &[15], 1)
                .role(Role::Timestamp, &[16], 1)
                .offering("a_2.0.0_main.bin", 3),
        ),
    ];
    let seeds: Vec<u8> = (1..=30).collect();
    for (what, wanted) in changes {
        let mut before = Repository::default();
        before.export(&owner, ALL, at(0));
        let done = before.plan(&wanted, &seeds, at(1)).unwrap();
        assert!(done.smooth, "{what}");
        let mut moments = vec![before.clone()];
        for file in &done.files {
            let mut next = moments.last().unwrap().clone();
            next.write(file);
            moments.push(next);
        }
        let now = Time::from_millis(START + DAY / 2);
        for (early, roots) in moments.iter().enumerate() {
            for rest in &moments[early..] {
                let seen = client(roots, rest, now);
                assert!(seen.is_ok(), "{what}, after {early} files: {seen:?}");
            }
        }
        // A cut anywhere: the next export brings it to the same end, with
        // numbers that only rise.
        for cut in &moments {
            let mut mended = cut.clone();
            mended.export(&wanted, &seeds, at(2));
            let [.., timestamp] = cut.versions();
            assert!(mended.versions()[3] > timestamp, "{what}");
            client(&mended, &mended, at(2)).unwrap();
            let targets = Role::Targets.file(mended.versions()[1]);
            let listed = mended.json(&targets)["signed"]["targets"].as_object().unwrap().len();
            assert_eq!(listed, wanted.targets.len(), "{what}");
        }
    }
}

#[test]
fn a_root_is_signed_by_the_keys_before_it_or_not_at_all() {
    let mut repository = Repository::default();
    let owner = Owner::new();
    repository.export(&owner, ALL, at(0));
    let next = owner.clone().role(Role::Root, &[11, 12], 2);
    for (seeds, what) in
        [(&[1, 11, 12, 4, 5, 6][..], "root 2, by the keys of root 1,"), (&[1, 2, 11, 4, 5, 6], "root")]
    {
        match repository.plan(&next, seeds, at(0)).err() {
            Some(TufError::NotEnoughKeys { what: said, have: 1, need: 2, .. }) => assert_eq!(said, what),
            other => panic!("{other:?}"),
        }
    }
    repository.export(&next, &[1, 2, 11, 12, 4, 5, 6], at(0));
    assert_eq!(repository.versions()[0], 2);

    // Without the former timestamp key clients have to see the root first.
    let lost = next.clone().role(Role::Timestamp, &[16], 1);
    let done = repository.plan(&lost, &[11, 12, 16], at(0)).unwrap();
    assert!(!done.smooth);
    let names: Vec<_> = done.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["3.root.json", "timestamp.json"]);
    repository.write(&done.files[0]);
    // Cut here, the old timestamp still tells the next number.
    repository.export(&lost, &[16], at(0));
    assert_eq!(repository.versions(), [3, 1, 1, 3]);
    assert_eq!(client(&repository, &repository, at(0)), Ok(1));
}

#[test]
fn whoever_can_write_to_the_directory_decides_nothing() {
    let (mut repository, owner) = (Repository::default(), Owner::new());
    repository.export(&owner, ALL, at(0));
    let edited = |name: &str, edit: &dyn Fn(&mut Value)| {
        let mut bad = repository.clone();
        let mut value = bad.json(name);
        edit(&mut value);
        bad.0.insert(name.to_owned(), serde_json::to_vec(&value).unwrap());
        bad.held().err()
    };
    // The highest number there is would be the last that we could publish.
    let raise = |value: &mut Value| value["signed"]["version"] = json!(i64::MAX - 1);
    assert_eq!(edited("timestamp.json", &raise), Some(TufError::Unsigned("timestamp.json".to_owned())));
    let far = |value: &mut Value| value["signed"]["version"] = json!(u64::MAX);
    assert!(matches!(edited("timestamp.json", &far), Some(TufError::Malformed { .. })));
    for name in ["1.snapshot.json", "1.targets.json"] {
        assert_eq!(edited(name, &raise), Some(TufError::Differs(name.to_owned())));
        let mut gone = repository.clone();
        gone.0.remove(name);
        assert_eq!(gone.held().err(), Some(TufError::Missing(name.to_owned())));
    }
    let threshold = |value: &mut Value| value["signed"]["roles"]["root"]["threshold"] = json!(1);
    assert_eq!(edited("1.root.json", &threshold), Some(TufError::Unsigned("1.root.json".to_owned())));

    // A repository of somebody else's in the place of ours is continued by
    // nobody, whatever it says of our keys.
    let thief = owner.clone().role(Role::Root, &[31, 32], 2);
    let mut other = Repository::default();
    other.export(&thief, &[31, 32, 4, 5, 6], at(0));
    assert!(matches!(other.plan(&owner, ALL, at(0)), Err(TufError::NotEnoughKeys { .. })));
    // Nor is a root of theirs behind ours.
    let mut behind = repository.clone();
    let mut root = other.json("1.root.json");
    root["signed"]["version"] = json!(2);
    behind.0.insert("2.root.json".to_owned(), serde_json::to_vec(&root).unwrap());
    assert_eq!(behind.held().err(), Some(TufError::Unsigned("2.root.json".to_owned())));
}

#[test]
fn one_key_counts_once() {
    let mut repository = Repository::default();
    repository.export(&Owner::new().role(Role::Targets, &[4, 7], 2), &[1, 2, 4, 5, 6, 7], at(0));
    let authority = Authority::new(vec![key(4), key(7)], 2);
    let mut value = repository.json("1.targets.json");
    let document = |value: &Value| {
        Document::decode(Role::Targets, "1.targets.json", &serde_json::to_vec(value).unwrap()).unwrap()
    };
    assert!(document(&value).satisfies(&authority, &verify));
    let first = value["signatures"][0].clone();
    value["signatures"] = json!([first, first]);
    assert!(!document(&value).satisfies(&authority, &verify));
    value["signatures"] = json!([]);
    assert!(!document(&value).satisfies(&Authority::new(vec![key(4)], 0), &verify), "nobody is not enough");
}

#[test]
fn a_key_has_one_role_and_thresholds_can_be_met() {
    let owner = Owner::new();
    let refused = |owner: Owner| owner.wanted().err().unwrap();
    assert!(matches!(refused(owner.clone().role(Role::Timestamp, &[5], 1)), TufError::KeyReused { .. }));
    assert!(matches!(refused(owner.clone().role(Role::Targets, &[1], 1)), TufError::KeyReused { .. }));
    for (seeds, threshold) in [(&[4][..], 0), (&[4], 2), (&[4, 4], 2), (&[], 1)] {
        let bad = owner.clone().role(Role::Targets, seeds, threshold);
        assert!(matches!(refused(bad), TufError::Threshold { .. }), "{threshold} of {seeds:?}");
    }
}

#[test]
fn numbers_go_on_from_where_the_owner_says() {
    let (mut lost, owner) = (Repository::default(), Owner::new());
    lost.export(&owner, ALL, at(0));
    let backup = lost.clone();
    lost.0.remove("1.snapshot.json");
    // Lost, or put back from a backup: clients have seen more.
    for mut repository in [lost, backup] {
        for (days, want) in [(0, [1, 41, 41, 41]), (1, [1, 41, 41, 42])] {
            repository.export_from(&owner, ALL, at(days), 41);
            assert_eq!(repository.versions(), want, "roots have no gaps; the same line again goes on");
        }
        assert_eq!(client(&repository, &repository, at(1)), Ok(41));
    }
}

#[test]
fn what_is_too_long_for_a_key_is_said_before_any_key_is_used() {
    let (held, ids) = (Held::default(), ALL.iter().map(|seed| key(*seed).public().id()));
    let many = (0..700).fold(Owner::new(), |owner, n| owner.offering(&format!("a_1.{n}.0_main.bin"), 9));
    let many = many.wanted().unwrap();
    let refused = Export::begin(&held, &many, ids, at(0), 0, None, &verify).err();
    assert_eq!(refused, Some(TufError::TooLong(Role::Targets)));
}
