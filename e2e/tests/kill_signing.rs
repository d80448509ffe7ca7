//! Signing under trouble: `firmseal serve` and the key host with its HSM are
//! killed and hang at random, and so does the database, while pipelines ask
//! for signatures and releases. Each acknowledged request ends in one
//! signature, in one release, or in a refusal that names its rule, and the log
//! accounts for every time that a key was used.
//!
//! `FIRMSEAL_KILLS` says how often (6, and 200 at most); `FIRMSEAL_SEED` repeats
//! the choice of moments, though not what the server was doing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use firmseal_api::audit::{AuditQuery, LogQuery};
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::Ordered;
use firmseal_api::signatures::{CreateSignature, SignatureState};
use firmseal_api::signing::{CreateRelease, ReleaseComponent};
use firmseal_e2e::chance::setting;
use firmseal_e2e::custody::in_custody;
use firmseal_e2e::{Chance, KeyHost, Operator, Server, Shell, until};
use firmseal_manifest::{ArtifactId, Event, Intent, Leaf, Purpose, ReleaseId, RequestId};

const CLIENTS: u64 = 3;
/// Most troubles: what comes of each request is judged as well, and the test
/// shall end.
const MOST: u64 = 200;
/// Requests between two troubles.
const STRETCH: u64 = 20;
/// Every so many requests one is an order for a release.
const ORDERS: u64 = 6;
/// Longest that an answer is waited for at once.
const WAIT: Duration = Duration::from_secs(5);

/// Whoever may sign at all signs, but for one thing.
const POLICY: &str = r#"
@id("signers")
@reason("whoever may sign here signs")
permit (principal, action in Action::"sign", resource);

@id("epoch-two")
@reason("security epoch 2 was withdrawn")
forbid (principal, action in Action::"sign", resource)
when { context.epoch == 2 };
"#;

/// What was acknowledged, by the number of the request.
type Acknowledged = Mutex<BTreeMap<u64, (ArtifactId, RequestId)>>;

fn is_order(number: u64) -> bool {
    number % ORDERS == ORDERS - 1
}

/// Policy refuses some of those that are no orders.
fn is_refused(number: u64) -> bool {
    number % 7 == 3 && !is_order(number)
}

fn wish(number: u64, artifact: ArtifactId) -> CreateSignature {
    CreateSignature {
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        artifact,
        key: None,
        version: "1.0.0".parse().unwrap(),
        epoch: if is_refused(number) { 2 } else { 1 },
        parameters: BTreeMap::new(),
        build: "build-17".to_owned(),
        commit: "abc123".to_owned(),
        evidence: vec![],
        priority: Default::default(),
        deadline_seconds: None,
    }
}

fn order(number: u64, artifact: ArtifactId) -> CreateRelease {
    CreateRelease {
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: format!("1.0.{number}").parse().unwrap(),
        sequence: None,
        epoch: 1,
        components: vec![ReleaseComponent { component: "main".to_owned(), artifact }],
        sbom: None,
        evidence: vec![],
        build: "build-17".to_owned(),
        commit: "abc123".to_owned(),
        parameters: BTreeMap::new(),
        priority: Default::default(),
        deadline_seconds: None,
    }
}

/// Asks once: nothing where the answer was lost or never came.
fn asked(operator: &Operator, number: u64, wait: Duration) -> Option<(ArtifactId, RequestId)> {
    // Every third is for a file that somebody has asked for.
    let file = format!("firmware {}", if number % 3 == 2 { number / 2 } else { number });
    let file = operator.upload(file.as_bytes()).ok()?;
    let (client, key) = (operator.client.operator(), format!("request {number}"));
    if !is_order(number) {
        let request = operator.wait(client.create_signature(&key, &wish(number, file), wait)).ok()?;
        return Some((file, request.id));
    }
    match operator.wait(client.create_release_within(&key, &order(number, file), wait)).ok()? {
        Ordered::Release(release) => Some((file, release.request)),
        Ordered::Open(open) => Some((file, open.id)),
        Ordered::Request(request) => panic!("nobody has to agree to {}", request.id),
    }
}

/// What the requests came to: entries of the log, by whose key was used.
#[derive(Default)]
struct Found {
    of_index: BTreeMap<u64, RequestId>,
    of_file: BTreeMap<ArtifactId, RequestId>,
    releases: BTreeSet<ReleaseId>,
    refused: u64,
}

/// Waits for what a request comes to.
fn ended(operator: &Operator, found: &mut Found, number: u64, file: ArtifactId, id: RequestId) {
    let request = until("a request to be at its end", || {
        let request = operator.wait(operator.client.operator().signature(id, WAIT)).ok()?;
        (request.state != SignatureState::Queued).then_some(request)
    });
    if is_refused(number) {
        assert_eq!((request.state, request.signature), (SignatureState::Refused, None), "{number}");
        assert_eq!(request.reasons[0].rule, "epoch-two", "{number}");
        found.refused += 1;
        return;
    }
    assert_eq!(request.state, SignatureState::Signed, "{number}: {:?}", request.reasons);
    if let Some(release) = request.release {
        let release = operator.wait(operator.client.operator().release(release)).unwrap();
        assert_eq!((release.request, release.version.patch), (id, number));
        assert_eq!(found.of_index.insert(release.log_index, id), None);
        assert!(found.releases.insert(release.id));
        return;
    }
    let signature = request.signature.unwrap_or_else(|| panic!("{number} came to nothing"));
    let first = *found.of_file.entry(file).or_insert(signature.request);
    assert_eq!(first, signature.request, "{number}: two signatures of one file");
    found.of_index.insert(signature.log_index, signature.request);
}

/// The whole log.
fn log(operator: &Operator) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    loop {
        let query = LogQuery { from: leaves.len() as u64, size: None, limit: Some(1000) };
        let page = operator.wait(operator.client.operator().log_entries(&query)).unwrap();
        leaves.extend(page.entries.iter().map(|entry| Leaf::decode(&entry.leaf.0).unwrap()));
        if leaves.len() as u64 >= page.size {
            return leaves;
        }
    }
}

/// Each intent came to what is on record and names it, or to an attempt that
/// is told of, and none to both. `None` while the log does not tell all of it.
fn accounted(operator: &Operator, found: &Found) -> Option<usize> {
    // The log has what happened before somebody asked.
    operator.wait(operator.client.operator().audit(&AuditQuery::default())).unwrap();
    let leaves = log(operator);
    let mut told = BTreeSet::new();
    for leaf in &leaves {
        if let Leaf::Event(Event::Attempt { intent, .. }) = leaf {
            told.insert(*intent);
        }
    }
    let intent = |index: &u64| leaves.get(*index as usize).and_then(Leaf::intent);
    for (index, request) in &found.of_index {
        let intent = intent(index)?;
        assert!(intent.context.contains(&Intent::mark(request)), "entry {index}");
        assert!(!told.contains(index), "entry {index}: both signed and not");
    }
    let uses = [Purpose::Artifact, Purpose::Release];
    for (leaf, index) in leaves.iter().zip(0u64..) {
        let is_use = leaf.intent().is_some_and(|intent| uses.contains(&intent.purpose));
        if is_use && !found.of_index.contains_key(&index) && !told.contains(&index) {
            return None;
        }
    }
    Some(told.len())
}

/// What happens to a service, and to the HSM behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    ServerDies,
    HostDies,
    BothDie,
    ServerHangs,
    HostHangs,
    DatabaseHangs,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::ServerDies,
    Trouble::HostHangs,
    Trouble::BothDie,
    Trouble::DatabaseHangs,
    Trouble::HostDies,
    Trouble::ServerHangs,
];

/// Another process that has the database for itself, as a disk that hangs has
/// it: whoever wants to write waits.
const LOCK: &str = "import sqlite3, sys, time; held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60); \
                    held.execute(\"BEGIN IMMEDIATE\"); time.sleep(float(sys.argv[2])); held.rollback()";

impl Trouble {
    /// Comes and goes. `longest` is how many milliseconds a hang may last.
    fn strike(self, t: &Shell, server: &mut Server, hsm: &mut KeyHost, chance: &mut Chance, longest: u64) {
        let pause = |milliseconds: u64| thread::sleep(Duration::from_millis(milliseconds));
        match self {
            Trouble::ServerDies => {
                server.kill();
                // Once more, while it picks up what was cut off.
                server.start_unobserved();
                pause(chance.below(1500));
                server.kill();
                server.start();
            }
            Trouble::HostDies => {
                hsm.dies();
                pause(chance.below(1000));
                hsm.start();
            }
            Trouble::BothDie => {
                hsm.dies();
                pause(chance.below(200));
                server.kill();
                // It asks for the public keys when it starts.
                hsm.start();
                server.start();
            }
            Trouble::ServerHangs => {
                server.hang();
                pause(chance.below(longest));
                server.go_on();
            }
            Trouble::HostHangs => {
                hsm.hangs();
                pause(chance.below(longest));
                hsm.goes_on();
            }
            Trouble::DatabaseHangs => {
                let (database, seconds) =
                    (server.place().join("store/store.db"), chance.below(longest) as f64 / 1000.0);
                t.ok(&format!("python3 -c '{LOCK}' {} {seconds}", database.display()));
            }
        }
    }
}

/// One pipeline: every so many of the requests are its.
fn pipeline(client: u64, requests: u64, operator: &Operator, acknowledged: &Acknowledged, done: &AtomicU64) {
    for number in (client..requests).step_by(CLIENTS as usize) {
        // Some wait for the end, and some are gone by then.
        let wait = if number % 5 == 0 { WAIT } else { Duration::ZERO };
        let answer = until("a request to be acknowledged", || asked(operator, number, wait));
        acknowledged.lock().unwrap().insert(number, answer);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn trouble_loses_no_request_and_doubles_no_signature() {
    let mut chance = Chance::new();
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(TROUBLES.len() as u64).min(MOST);
    let requests = STRETCH * (kills + 1);
    let t = Shell::new();
    let (mut hsm, mut server) = in_custody(&t);
    let signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    t.write("place/signing.toml", format!("policy = \"policies\"\n{signing}"));
    t.write("place/policies/rules.cedar", POLICY);
    hsm.start();
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let (place, url) = (server.place().to_owned(), server.operators());
    let acknowledged = Acknowledged::default();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (place, url, acknowledged, done) = (&place, &url, &acknowledged, &done);
            scope.spawn(move || {
                pipeline(client, requests, &Operator::new(place, url), acknowledged, done);
            });
        }
        // One trouble in each stretch of the work, at whatever moment of it;
        // of six in a row each is another one.
        let first = chance.below(TROUBLES.len() as u64);
        for number in 1..=kills {
            let so_far = || (done.load(Ordering::Relaxed) >= STRETCH * number).then_some(());
            until("the pipelines to come on", so_far);
            thread::sleep(Duration::from_millis(chance.below(60)));
            let trouble = TROUBLES[((first + number) % TROUBLES.len() as u64) as usize];
            println!("{number}: {trouble:?}");
            // Where there is time, now and then beyond what a key and a
            // database may take.
            let longest = if number % 13 == 12 { 13_000 } else { 1500 };
            trouble.strike(&t, &mut server, &mut hsm, &mut chance, longest);
        }
    });
    let operator = Operator::new(&place, &url);
    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len() as u64, requests);
    let mut found = Found::default();
    for (number, (file, id)) in &acknowledged {
        ended(&operator, &mut found, *number, *file, *id);
        // Whoever asks again gets the same request.
        assert_eq!(asked(&operator, *number, Duration::ZERO).unwrap().1, *id, "{number}");
    }
    // Nor is there a release that nobody was told of.
    let all = operator.all(async |page: PageQuery| operator.client.operator().releases(None, &page).await);
    assert_eq!(all.iter().map(|release| release.id).collect::<BTreeSet<_>>(), found.releases);
    let attempts = until("the log to account for every use", || accounted(&operator, &found));
    server.stop();
    assert!(!server.log().text().contains("panicked at"), "{}", server.log().text());
    // What the host has signed, by its own log, is no more than what the
    // server's announced, and no less than what left.
    hsm.dies();
    let used = t.json("firmseal keyhost show host")["used"].as_u64().unwrap();
    let signed = found.of_index.len() as u64;
    assert!(
        (signed..=signed + attempts as u64).contains(&used),
        "{used} uses, {signed} signed, {attempts} told of"
    );
    let (files, releases) = (found.of_file.len(), found.releases.len());
    println!(
        "{kills} troubles, {requests} requests: {files} files and {releases} releases signed, {} refused, the key \
         host used its keys {used} times, {attempts} attempts told of",
        found.refused
    );
}
