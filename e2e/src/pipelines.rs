//! Pipelines under trouble: what they ask for, and what must come of each
//! request. Each that was acknowledged ends in one signature, in one release,
//! or in a refusal that names its rule, and the log accounts for every time
//! that a key was used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use firmseal_api::audit::{AuditQuery, LogQuery};
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::Ordered;
use firmseal_api::signatures::{CreateSignature, SignatureState};
use firmseal_api::signing::{CreateRelease, ReleaseComponent};
use firmseal_manifest::{ArtifactId, Event, Intent, Leaf, Purpose, ReleaseId, RequestId};

use crate::{Operator, Shell, until};

const CLIENTS: u64 = 3;
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

/// Has a place ask the pipelines' policy; before its server starts.
pub fn set_policy(t: &Shell, place: &str) {
    let settings = format!("{place}/signing.toml");
    let signing = String::from_utf8(t.read(&settings)).unwrap();
    t.write(&settings, format!("policy = \"policies\"\n{signing}"));
    t.write(&format!("{place}/policies/rules.cedar"), POLICY);
}

/// Has another process keep a store's database to itself for a time: as with a
/// disk that hangs, whoever wants to write waits.
pub fn hold_store(t: &Shell, place: &Path, time: Duration) {
    const HOLD: &str = "import sqlite3, sys, time; held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60); \
                        held.execute(\"BEGIN IMMEDIATE\"); time.sleep(float(sys.argv[2])); held.rollback()";
    let database = place.join("store/store.db");
    t.ok(&format!("python3 -c '{HOLD}' {} {}", database.display(), time.as_secs_f64()));
}

/// Makes the pipelines' product.
pub fn make_product(t: &Shell) {
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
}

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

/// Pipelines at work, and what was acknowledged to them, by the number of the
/// request.
pub struct Pipelines {
    requests: u64,
    acknowledged: Mutex<BTreeMap<u64, (ArtifactId, RequestId)>>,
    done: AtomicU64,
}

impl Pipelines {
    /// So many requests, none of them asked yet.
    pub fn new(requests: u64) -> Pipelines {
        Pipelines { requests, acknowledged: Mutex::default(), done: AtomicU64::new(0) }
    }

    /// Asks for all of them, while `trouble` goes on beside.
    pub fn run(&self, place: &Path, url: &str, trouble: impl FnOnce()) {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || self.one(client, &Operator::new(place, url)));
            }
            trouble();
        });
    }

    /// Waits until so many are acknowledged.
    pub fn wait_for(&self, requests: u64) {
        let so_far = || (self.done.load(Ordering::Relaxed) >= requests).then_some(());
        until("the pipelines to come on", so_far);
    }

    /// One pipeline: every so many of the requests are its.
    fn one(&self, client: u64, operator: &Operator) {
        for number in (client..self.requests).step_by(CLIENTS as usize) {
            // Some wait for the end, and some are gone by then.
            let wait = if number % 5 == 0 { WAIT } else { Duration::ZERO };
            let answer = until("a request to be acknowledged", || asked(operator, number, wait));
            self.acknowledged.lock().unwrap().insert(number, answer);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Judges what came of all of them.
    pub fn judge(self, operator: &Operator) -> Came {
        let acknowledged = self.acknowledged.into_inner().unwrap();
        assert_eq!(acknowledged.len() as u64, self.requests);
        let mut found = Found::default();
        for (number, (file, id)) in &acknowledged {
            ended(operator, &mut found, *number, *file, *id);
            // Whoever asks again gets the same request.
            assert_eq!(asked(operator, *number, Duration::ZERO).unwrap().1, *id, "{number}");
        }
        // Nor is there a release that nobody was told of.
        let all =
            operator.all(async |page: PageQuery| operator.client.operator().releases(None, &page).await);
        assert_eq!(all.iter().map(|release| release.id).collect::<BTreeSet<_>>(), found.releases);
        let attempts = until("the log to account for every use", || accounted(operator, &found));
        Came {
            files: found.of_file.len(),
            releases: found.releases.len(),
            refused: found.refused,
            signed: found.of_index.len(),
            attempts,
        }
    }
}

/// What came of the requests.
#[derive(Debug)]
pub struct Came {
    /// Files that were signed.
    pub files: usize,
    /// Releases.
    pub releases: usize,
    /// Requests that policy refused.
    pub refused: u64,
    /// Entries of the log whose use of a key came to a signature that left.
    pub signed: usize,
    /// Those that the log tells of as attempts.
    pub attempts: usize,
}
