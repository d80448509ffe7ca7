//! Logs that lie, and what the monitor says of each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::extract::{Path as At, State};
use firmseal_core::Digest;
use firmseal_manifest::{Event, Intent, Leaf, Outcome, Purpose, RequestId};
use firmseal_monitor::{
    Finding, Installed, Kind, Known, Memory, MonitorError, Registered, Registry, Report, Signed, Trusted,
    follow, reconcile,
};
use firmseal_outbound::Endpoint;
use firmseal_tlog::{
    Checkpoint, Edge, Kind as KeyKind, Note, NoteSignature, Tile, VerifierKey, WIDTH, cosignature_message,
    encode_bundle, leaf_hash,
};

const NOW: u64 = 1_800_000_000;

struct Party {
    pair: Ed25519KeyPair,
    key: VerifierKey,
}

impl Party {
    fn new(name: &str, kind: KeyKind, seed: u8) -> Party {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Party { pair, key: VerifierKey::new(name, kind, public).unwrap() }
    }

    fn signed(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().unwrap()
    }

    fn sign(&self, note: &mut Note) {
        note.push(NoteSignature::new(&self.key, &self.signed(note.text().as_bytes()))).unwrap();
    }

    fn cosign(&self, note: &mut Note, time: u64) {
        let signature = self.signed(&cosignature_message(time, note.text()));
        note.push(NoteSignature::timed(&self.key, time, &signature)).unwrap();
    }
}

fn intent(number: u8) -> Intent {
    Intent {
        purpose: Purpose::Release,
        subject: Digest([number; 32]),
        keys: vec![firmseal_manifest::KeyId(Digest([3; 32]))],
        delegation: number.is_multiple_of(2).then_some(Digest([9; 32])),
        statements: vec![Digest([4; 32])],
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    }
}

fn leaves(tag: u8, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| Intent { policy: Digest([tag; 32]), ..intent(number as u8) }.encode()).collect()
}

fn root(entries: &[Vec<u8>]) -> Digest {
    let mut edge = Edge::new();
    entries.iter().for_each(|entry| edge.push(leaf_hash(entry)));
    edge.root()
}

/// What is served, path by path.
type Served = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A log that shows what it is told to.
struct FakeLog {
    served: Served,
    log: Party,
    witnesses: Vec<Party>,
    endpoint: Endpoint,
}

impl FakeLog {
    async fn new() -> FakeLog {
        let served = Served::default();
        let show = async |State(served): State<Served>, At(path): At<String>| {
            let found = served.lock().unwrap().get(&path).cloned();
            found.ok_or(axum::http::StatusCode::NOT_FOUND)
        };
        let router =
            axum::Router::new().route("/log/{*path}", axum::routing::get(show)).with_state(served.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, router).await });
        let endpoint =
            Endpoint::new(&format!("http://{address}/log"), None, Duration::from_secs(20)).unwrap();
        let witnesses = (0..3)
            .map(|number| Party::new(&format!("w{number}.example"), KeyKind::Cosignature, 10 + number))
            .collect();
        FakeLog { served, log: Party::new("example.com/log", KeyKind::Ed25519, 1), witnesses, endpoint }
    }

    fn note(&self, entries: &[Vec<u8>]) -> Note {
        let origin = self.log.key.name().to_owned();
        let (size, root) = (entries.len() as u64, root(entries));
        let mut note = Checkpoint { origin, size, root, extensions: vec![] }.to_note().unwrap();
        self.log.sign(&mut note);
        note
    }

    /// Serves these entries, under a checkpoint with two cosignatures.
    fn show(&self, entries: &[Vec<u8>]) {
        let mut note = self.note(entries);
        self.witnesses.iter().take(2).for_each(|witness| witness.cosign(&mut note, NOW - 5));
        self.show_note(&note, entries);
    }

    fn show_note(&self, note: &Note, entries: &[Vec<u8>]) {
        let mut served = self.served.lock().unwrap();
        served.clear();
        served.insert("checkpoint".to_owned(), note.to_string().into_bytes());
        for (index, bundle) in (0u64..).zip(entries.chunks(WIDTH as usize)) {
            let tile = Tile { level: 0, index, width: bundle.len() as u64 };
            served.insert(tile.entries_path(), encode_bundle(bundle).unwrap());
        }
    }

    fn trusted(&self) -> Trusted {
        let witnesses = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        Trusted { log: self.log.key.clone(), beside: Vec::new(), witnesses, quorum: 2, stale: 3600 }
    }

    async fn look(&self, memory: &mut Memory) -> Vec<Kind> {
        let followed = follow(&self.endpoint, &self.trusted(), memory, NOW).await.unwrap();
        followed.findings.into_iter().map(|finding| finding.kind).collect()
    }
}

fn odd(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("odd-")).count()
}

#[tokio::test]
async fn a_log_that_grows_is_followed_across_restarts() {
    let (log, dir) = (FakeLog::new().await, tempfile::tempdir().unwrap());
    for size in [0, 1, 200, 256, 257, 257, 700] {
        let mut memory = Memory::open(dir.path()).unwrap();
        assert!(matches!(Memory::open(dir.path()), Err(MonitorError::InUse(_))));
        log.show(&leaves(0, size));
        assert_eq!(log.look(&mut memory).await, [], "{size}");
        assert_eq!(memory.size(), size);
        assert!(memory.entries().iter().all(|known| known.leaf.is_some() && known.seen == NOW));
    }
    // What a cut left behind the end of the files is no part of the memory.
    use std::io::Write;
    for name in ["entries", "times"] {
        let mut file = std::fs::File::options().append(true).open(dir.path().join(name)).unwrap();
        file.write_all(b"701 1\nx").unwrap();
    }
    let mut memory = Memory::open(dir.path()).unwrap();
    log.show(&leaves(0, 900));
    assert_eq!(log.look(&mut memory).await, []);
    drop(memory);
    assert_eq!(Memory::open(dir.path()).unwrap().size(), 900);
    // The copy itself is checked.
    let path = dir.path().join("entries");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Memory::open(dir.path()), Err(MonitorError::Damaged { .. })));
}

#[tokio::test]
async fn a_log_that_lies_is_found_out_and_changes_nothing() {
    let (log, dir) = (FakeLog::new().await, tempfile::tempdir().unwrap());
    let mut memory = Memory::open(dir.path()).unwrap();
    let good = leaves(0, 300);
    log.show(&good);
    assert_eq!(log.look(&mut memory).await, []);
    // Forks: at the same size, further on, and shorter; cosigned or not.
    let mut late = leaves(0, 299);
    late.extend(leaves(7, 2));
    let forks =
        [(leaves(7, 300), Kind::SplitView), (leaves(7, 400), Kind::SplitView), (late, Kind::SplitView)];
    let shorter =
        [(leaves(7, 200), Kind::SplitView), (leaves(0, 200), Kind::Rollback), (vec![], Kind::Rollback)];
    for (number, (entries, kind)) in forks.into_iter().chain(shorter).enumerate() {
        log.show(&entries);
        assert_eq!(log.look(&mut memory).await, [kind], "{number}");
        assert_eq!(log.look(&mut memory).await, [kind], "and again");
        assert_eq!((memory.size(), odd(dir.path())), (300, number + 1), "kept as evidence");
    }
    // Entries that are not there, or are others than those it signs.
    let more = leaves(0, 600);
    log.show(&more);
    log.served.lock().unwrap().remove("tile/entries/001");
    assert_eq!(log.look(&mut memory).await, [Kind::Incomplete]);
    log.show(&more);
    log.served.lock().unwrap().insert("tile/entries/001".to_owned(), b"\0\x09x".to_vec());
    assert_eq!(log.look(&mut memory).await, [Kind::Incomplete]);
    let mut claims = log.note(&good);
    claims = Note::new(claims.text().replace("\n300\n", "\n9223372036854775807\n")).unwrap();
    log.log.sign(&mut claims);
    log.witnesses.iter().for_each(|witness| witness.cosign(&mut claims, NOW));
    log.show_note(&claims, &good);
    assert_eq!(log.look(&mut memory).await, [Kind::Incomplete], "a size that nobody can download");
    // Signatures.
    let stranger = Party::new("example.com/log", KeyKind::Ed25519, 2);
    let mut note = Note::new(log.note(&good).text().to_owned()).unwrap();
    stranger.sign(&mut note);
    log.show_note(&note, &good);
    assert_eq!(log.look(&mut memory).await, [Kind::BadSignature]);
    // A key that is known to stand beside the log's must have signed too.
    let beside = VerifierKey::new("example.com/log", KeyKind::MlDsa44, vec![7; 1312]).unwrap();
    log.show(&good);
    let both = Trusted { beside: vec![beside], ..log.trusted() };
    let followed = follow(&log.endpoint, &both, &mut memory, NOW).await.unwrap();
    assert_eq!(followed.findings[0].kind, Kind::BadSignature);
    let mut note = log.note(&good);
    log.witnesses[0].cosign(&mut note, NOW);
    log.show_note(&note, &good);
    assert_eq!(log.look(&mut memory).await, [Kind::NoQuorum]);
    let lie = NoteSignature::timed(&log.witnesses[1].key, NOW, &log.witnesses[1].signed(b"something else"));
    note.push(lie).unwrap();
    log.show_note(&note, &good);
    assert_eq!(log.look(&mut memory).await, [Kind::BadCosignature]);
    let mut old = log.note(&good);
    log.witnesses.iter().for_each(|witness| witness.cosign(&mut old, NOW - 7200));
    log.show_note(&old, &good);
    assert_eq!(log.look(&mut memory).await, [Kind::Stale]);
    // Nothing of it was taken in.
    log.show(&more);
    assert_eq!(log.look(&mut memory).await, []);
    assert_eq!(memory.size(), 600);
    log.served.lock().unwrap().clear();
    let away = follow(&log.endpoint, &log.trusted(), &mut memory, NOW).await;
    assert!(matches!(away, Err(MonitorError::Status { status: 404, .. })));
}

#[tokio::test]
async fn a_partial_bundle_that_is_gone_is_read_from_the_full_one() {
    let (log, dir) = (FakeLog::new().await, tempfile::tempdir().unwrap());
    let mut memory = Memory::open(dir.path()).unwrap();
    log.show(&leaves(0, 400));
    // The checkpoint is a moment older than the files.
    let mut note = log.note(&leaves(0, 100));
    log.witnesses.iter().for_each(|witness| witness.cosign(&mut note, NOW));
    log.served.lock().unwrap().insert("checkpoint".to_owned(), note.to_string().into_bytes());
    assert_eq!(log.look(&mut memory).await, []);
    assert_eq!(memory.size(), 100);
    let mut strange = leaves(0, 100);
    strange.push(b"no intent".to_vec());
    log.show(&strange);
    assert_eq!(log.look(&mut memory).await, [Kind::Unreadable]);
}

fn release(number: u8, log_index: u64) -> Registered {
    Registered {
        id: format!("rel-{number}"),
        product: "gateway".to_owned(),
        sequence: u64::from(number),
        version: format!("1.{number}.0"),
        manifest: Digest([number; 32]),
        log_index,
        created: NOW - 1000,
        unapproved: None,
    }
}

fn device(sequence: u8, version: &str) -> Installed {
    Installed {
        id: format!("dev-{sequence}"),
        product: "gateway".to_owned(),
        sequence: u64::from(sequence),
        version: version.to_owned(),
        manifest: None,
    }
}

#[test]
fn log_registry_and_fleet_must_agree() {
    let known = |number, seen| Known { leaf: Some(Leaf::Intent(intent(number))), seen };
    let published = Event::Root { version: 2, document: Digest([2; 32]) };
    let entries = [
        known(1, NOW - 1000),
        known(2, NOW - 1000),
        known(2, NOW - 1000),
        known(3, NOW - 10),
        Known { leaf: Some(Leaf::Event(published)), seen: NOW - 10 },
    ];
    let found = |registry: &Registry| -> Vec<(Kind, String)> {
        let findings = reconcile(&entries, registry, NOW, 900);
        findings.into_iter().map(|Finding { kind, about, .. }| (kind, about)).collect()
    };
    let one = |kind, about: &str| vec![(kind, about.to_owned())];
    let fine = Registry {
        releases: vec![release(1, 0), release(2, 1)],
        devices: vec![device(0, "0.0.0"), device(1, "1.1.0"), device(2, "1.2.0")],
        documents: vec![("root document 2".to_owned(), Digest([2; 32]))],
        ..Registry::default()
    };
    // The third is on its way.
    assert_eq!(found(&fine), []);
    let mut registry = fine.clone();
    registry.releases.pop();
    registry.devices.pop();
    assert_eq!(found(&registry), one(Kind::Unreleased, "1"), "once for two keys");
    // Signed without logging: an index beyond the log, or somebody else's.
    for index in [3, 4, 0, 77, u64::MAX] {
        let mut registry = fine.clone();
        registry.releases.push(release(4, index));
        assert_eq!(found(&registry), one(Kind::Unlogged, "rel-4"), "{index}");
    }
    let mut registry = fine.clone();
    registry.documents.push(("root document 3".to_owned(), Digest([3; 32])));
    assert_eq!(found(&registry), one(Kind::Unlogged, "root document 3"));
    let mut young = fine.clone();
    young.releases.push(Registered { created: NOW - 1, ..release(4, 5) });
    assert_eq!(found(&young), []);
    young.releases[2].created = u64::MAX;
    assert_eq!(found(&young), one(Kind::Unlogged, "rel-4"), "from the future");
    let mut registry = fine.clone();
    registry.releases[0].unapproved = Some("0 of 2".to_owned());
    assert_eq!(found(&registry), one(Kind::Unapproved, "rel-1"));
    // A device that says which manifest it runs is asked for that.
    let saying = |manifest| Installed { manifest: Some(manifest), ..device(1, "1.1.0") };
    let mut registry = fine.clone();
    registry.devices.push(saying(registry.releases[0].manifest));
    assert_eq!(found(&registry), []);
    registry.devices.push(saying(Digest([0x66; 32])));
    assert_eq!(found(&registry), one(Kind::UnknownImage, "dev-1"));
    // Images that are no release, or one that is not logged.
    for (device, others) in [(device(9, "9.9.9"), 0), (device(1, "6.6.6"), 0), (device(5, "1.5.0"), 1)] {
        let mut registry = fine.clone();
        registry.releases.push(release(5, 0));
        registry.releases.rotate_right(1);
        if others == 0 {
            registry.releases.remove(0);
        }
        registry.devices.push(device.clone());
        let found = found(&registry);
        assert_eq!((found.len(), &found[others]), (1 + others, &(Kind::UnknownImage, device.id)));
    }
}

#[test]
fn signatures_of_files_and_the_log_must_agree() {
    let (request, order) = (RequestId::new(), RequestId::new());
    let of_file = |number: u8, mark: &RequestId| Intent {
        purpose: Purpose::Artifact,
        delegation: None,
        context: vec![Digest([8; 32]), Intent::mark(mark)],
        ..intent(number)
    };
    let known = |intent, seen| Known { leaf: Some(Leaf::Intent(intent)), seen };
    let ended = Event::Attempt { request, intent: 2, outcome: Outcome::Unknown };
    let image = of_file(4, &RequestId::new());
    let of_image = Intent { context: vec![image.leaf_hash()], ..intent(5) };
    let entries = [
        known(of_file(1, &request), NOW - 1000),
        // An image of an order that people are asked about.
        known(of_file(2, &order), NOW - 1000),
        // A use that came to nothing.
        known(of_file(3, &request), NOW - 1000),
        Known { leaf: Some(Leaf::Event(ended)), seen: NOW - 1000 },
        // An image inside of a release.
        known(image, NOW - 1000),
        known(of_image, NOW - 1000),
        // On its way.
        known(of_file(6, &request), NOW - 10),
    ];
    let signed = |number: u8, log_index, request| Signed {
        request,
        tbs: Digest([number; 32]),
        key: firmseal_manifest::KeyId(Digest([3; 32])),
        log_index,
        finished: NOW - 1000,
    };
    let found = |registry: &Registry| -> Vec<(Kind, String)> {
        let findings = reconcile(&entries, registry, NOW, 900);
        findings.into_iter().map(|Finding { kind, about, .. }| (kind, about)).collect()
    };
    let fine = Registry {
        signatures: vec![signed(1, 0, request)],
        orders: [Intent::mark(&order)].into(),
        releases: vec![release(5, 5)],
        ..Registry::default()
    };
    assert_eq!(found(&fine), []);
    let lost = |about: &str| (Kind::Unreleased, about.to_owned());
    assert_eq!(found(&Registry { signatures: vec![], ..fine.clone() }), [lost("0")]);
    assert_eq!(found(&Registry { orders: BTreeSet::new(), ..fine.clone() }), [lost("1")]);
    assert_eq!(found(&Registry { releases: vec![], ..fine.clone() }), [lost("5"), lost("4")]);
    // Signed without logging: beyond the log, at another's entry, by another key,
    // or as a second one under the entry of the first.
    let other = RequestId::new();
    let unlogged = |request: RequestId| (Kind::Unlogged, request.to_string());
    for (number, index) in [(9, 1), (9, 3), (9, 77), (9, u64::MAX), (1, 0)] {
        let mut registry = fine.clone();
        registry.signatures.push(signed(number, index, other));
        assert_eq!(found(&registry), [unlogged(other)], "{index}");
    }
    let stolen = Signed { key: firmseal_manifest::KeyId(Digest([6; 32])), ..signed(1, 0, request) };
    let registry = Registry { signatures: vec![stolen], ..fine.clone() };
    assert_eq!(found(&registry), [unlogged(request), lost("0")]);
    let said_of = |finished| {
        let mut registry = fine.clone();
        registry.signatures.push(Signed { finished, ..signed(7, 7, other) });
        found(&registry)
    };
    assert_eq!(said_of(NOW - 1), []);
    assert_eq!(said_of(u64::MAX), [unlogged(other)], "from the future");
}

#[test]
fn metrics_name_every_kind() {
    let report = Report {
        time: NOW,
        origin: "example.com/log".to_owned(),
        entries: 7,
        releases: None,
        signatures: None,
        devices: None,
        uses: None,
        trouble: None,
        findings: reconcile(
            &[],
            &Registry { releases: vec![release(1, 0)], ..Registry::default() },
            NOW,
            900,
        ),
    };
    let text = report.metrics();
    for kind in Kind::ALL {
        let count = u8::from(kind == Kind::Unlogged);
        assert!(text.contains(&format!("firmseal_monitor_findings{{kind=\"{}\"}} {count}\n", kind.as_str())));
    }
    assert!(text.contains("firmseal_monitor_entries 7\n") && text.contains("firmseal_monitor_up 1\n"));
}

#[test]
fn intents_read_back_and_nothing_else_does() {
    let leaf = intent(2).encode();
    assert_eq!(Intent::decode(&leaf), Some(intent(2)));
    for cut in 0..leaf.len() {
        assert_eq!(Intent::decode(&leaf[..cut]), None);
    }
    let mut longer = leaf.clone();
    longer.push(0);
    assert_eq!(Intent::decode(&longer), None);
    // Another head for the same map, and a bomb.
    let mut other = leaf.clone();
    other.splice(..1, [0xb8, leaf[0] & 0x1f]);
    assert_eq!(Intent::decode(&other), None);
    assert_eq!(Intent::decode(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    assert_eq!(Intent::decode(&[0xa1, 0x03, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
}
