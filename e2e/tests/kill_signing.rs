//! Signing under kills: `firmseal serve` is killed at random while pipelines
//! ask it for signatures and releases. Each acknowledged request ends in one
//! signature or one release, and the log accounts for every time that a key
//! was used.
//!
//! `FIRMSEAL_KILLS` says how often (4, and 60 at most); `FIRMSEAL_SEED` repeats
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
use firmseal_e2e::{Chance, Operator, Server, Shell, until};
use firmseal_manifest::{ArtifactId, Event, Intent, Leaf, Purpose, ReleaseId, RequestId};

const CLIENTS: u64 = 3;
/// Requests between two kills.
const STRETCH: u64 = 20;
/// Every so many requests one is an order for a release.
const ORDERS: u64 = 6;
/// Longest that an answer is waited for at once.
const WAIT: Duration = Duration::from_secs(5);

/// What was acknowledged, by the number of the request.
type Acknowledged = Mutex<BTreeMap<u64, (ArtifactId, RequestId)>>;

fn is_order(number: u64) -> bool {
    number % ORDERS == ORDERS - 1
}

fn wish(artifact: ArtifactId) -> CreateSignature {
    CreateSignature {
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        artifact,
        key: None,
        version: "1.0.0".parse().unwrap(),
        epoch: 1,
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
        let request = operator.wait(client.create_signature(&key, &wish(file), wait)).ok()?;
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
}

/// Waits for what a request comes to.
fn ended(operator: &Operator, found: &mut Found, number: u64, file: ArtifactId, id: RequestId) {
    let request = until("a request to be at its end", || {
        let request = operator.wait(operator.client.operator().signature(id, WAIT)).ok()?;
        (request.state != SignatureState::Queued).then_some(request)
    });
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

#[test]
fn kills_lose_no_request_and_double_no_signature() {
    let mut chance = Chance::new();
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(4).min(60);
    let requests = STRETCH * (kills + 1);
    let t = Shell::new();
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let (place, url) = (server.place().to_owned(), server.operators());
    let acknowledged = Acknowledged::default();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (place, url, acknowledged, done) = (&place, &url, &acknowledged, &done);
            scope.spawn(move || {
                let operator = Operator::new(place, url);
                for number in (client..requests).step_by(CLIENTS as usize) {
                    // Some wait for the end, and some are gone by then.
                    let wait = if number % 5 == 0 { WAIT } else { Duration::ZERO };
                    let ask = || asked(&operator, number, wait);
                    let answer = until("a request to be acknowledged", ask);
                    acknowledged.lock().unwrap().insert(number, answer);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // One kill in each stretch of the work, at whatever moment of it.
        for kill in 1..=kills {
            let so_far = || (done.load(Ordering::Relaxed) >= STRETCH * kill).then_some(());
            until("the pipelines to come on", so_far);
            thread::sleep(Duration::from_millis(chance.below(60)));
            server.kill();
            if kill % 3 == 2 {
                // Once more, while it picks up what was cut off.
                server.start_unobserved();
                thread::sleep(Duration::from_millis(chance.below(1500)));
                server.kill();
            }
            server.start();
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
    let (files, releases) = (found.of_file.len(), found.releases.len());
    println!(
        "{kills} kills, {requests} requests: {files} files and {releases} releases signed, {attempts} attempts told of"
    );
}
