//! Chaos: keys that fail in every way, a store that fails before and after it
//! has done what it was asked, and a service that is killed again and again,
//! under load. Each acknowledged request ends in one signature that leaves,
//! each order in one release, and every time that a key was asked is
//! accounted for.
//!
//! `FIRMSEAL_REQUESTS` says how many requests there are (400); the more there
//! are, the rarer does each fail: every fault of a key stops its queue for a
//! quarter of a second and more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmseal_fleet::{CameTo, Job, JobState, Priority, Release};
use firmseal_keys::{Signer, verify};
use firmseal_manifest::{ArtifactId, Event, Intent, Leaf, Outcome, Purpose, ReleaseId, RequestId, Tbs};
use firmseal_store::{Inserted, Jobs, Page, Registry};
use tokio::task::JoinSet;

use crate::bench::{Bench, Fault, Mood, Service, now};
use crate::faulty::{StoreFault, StoreMood};
use crate::releases::order;

/// Pipelines that hand requests in at once.
const CLIENTS: usize = 16;
/// Every so many requests one is an order for a release.
const ORDERS: usize = 25;
/// Releases that are listed at once.
const PAGE: u32 = 10;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    /// One of many, each with numbers of its own.
    fn of(number: usize) -> Chance {
        let mut chance = Chance((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chance.below(2);
        chance
    }

    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Fails in about one of sixteen uses, or so many times rarer.
fn mood(seed: u64, rarer: u64) -> Mood {
    let mut chance = Chance(seed);
    Box::new(move || match chance.below(160 * rarer) {
        0..3 => Some(Fault::Away),
        3..6 => Some(Fault::Lost),
        6..9 => Some(Fault::Wrong),
        9 => Some(Fault::Hang),
        10 => Some(Fault::Denied),
        _ => None,
    })
}

/// Fails in about one of sixty calls, before or after, or so many times
/// rarer.
fn troubles(seed: u64, rarer: u64) -> StoreMood {
    let mut chance = Chance(seed);
    Box::new(move || match chance.below(120 * rarer) {
        0 => Some(StoreFault::Before),
        1 => Some(StoreFault::After),
        _ => None,
    })
}

/// What somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    File(ArtifactId),
    Release(semver::Version),
}

/// What was acknowledged, by the number of the request.
type Acknowledged = Mutex<BTreeMap<usize, (Asked, RequestId)>>;

/// The request of a number, as a job; an error is a store's that fails.
async fn job(service: &Service, number: usize) -> (Asked, Option<Job>) {
    let mut chance = Chance::of(number);
    // Every fourth asks for a file that somebody has asked for.
    let file = if chance.below(4) == 0 { chance.below(number.max(1) as u64) } else { number as u64 };
    let file = service.upload(format!("firmware {file}").as_bytes()).await;
    let key = format!("request {number}");
    if number % ORDERS != ORDERS - 1 {
        let mut wish = service.wish(&key, file);
        wish.deadline = now().plus(WEEK);
        return (Asked::File(file), service.pipeline.artifact_job(wish, now()).await.ok());
    }
    let version = semver::Version::new(1, 0, number as u64);
    let order = order(service, &key, &version.to_string(), file);
    let deadline = now().plus(WEEK);
    let job = service.pipeline.release_job(order, Priority::Release, deadline, now()).await;
    (Asked::Release(version), job.ok())
}

/// Hands a request in, as a client that tries until it is acknowledged.
async fn acknowledged(service: &Service, number: usize) -> (Asked, RequestId) {
    loop {
        if let (asked, Some(job)) = job(service, number).await {
            let own = job.id;
            match service.dispatcher.submit(job).await {
                Ok(Inserted::Fresh) => return (asked, own),
                Ok(Inserted::Same(job)) => return (asked, job.id),
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

/// One pipeline: takes the next number until there is none.
async fn client(
    service: Arc<Service>,
    numbers: Arc<Vec<usize>>,
    next: Arc<AtomicUsize>,
    told: Arc<Acknowledged>,
) {
    while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
        let answer = acknowledged(&service, *number).await;
        // Every ninth is a retry.
        if number % 9 == 0 {
            assert_eq!(acknowledged(&service, *number).await, answer);
        }
        told.lock().unwrap().insert(*number, answer);
    }
}

async fn chaos(requests: usize, lives: usize) {
    let rarer = (requests as u64 / 5000).clamp(1, 20);
    let bench = Bench::new();
    let mut chance = Chance(0x5eed);
    *bench.hsm.mood.lock().unwrap() = Some(mood(0xfee1, rarer));
    *bench.release.mood.lock().unwrap() = Some(mood(0xf00d, rarer));
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    service.stop().await;
    *bench.store.lock().unwrap() = troubles(0xd15c, rarer);
    let told = Arc::new(Acknowledged::default());
    for life in 1..=lives {
        let service = Arc::new(bench.start().await);
        // What the last life has cut off is sent again.
        let left = |number: &usize| !told.lock().unwrap().contains_key(number);
        let numbers: Arc<Vec<usize>> = Arc::new((0..requests * life / lives).filter(left).collect());
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(client(service.clone(), numbers.clone(), next.clone(), told.clone()));
        }
        if life < lives {
            // The others are in the middle of something.
            clients.join_next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(chance.below(40))).await;
            clients.abort_all();
        }
        while let Some(ended) = clients.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()), "a client panicked");
        }
        let service = Arc::into_inner(service).unwrap();
        if life < lives {
            service.kill().await;
            continue;
        }
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told.len(), requests);
        for (_, id) in told.values() {
            service.settled(*id).await;
        }
        *bench.store.lock().unwrap() = Box::new(|| None);
        judge(&bench, &service, &told).await;
        service.stop().await;
    }
}

/// What came of everything, for the judge.
#[derive(Default)]
struct Found {
    /// The signatures and releases on record, by the entry that was opened
    /// for them.
    signed: BTreeMap<u64, RequestId>,
    /// The request that each file was signed for.
    of_file: BTreeMap<ArtifactId, RequestId>,
    releases: BTreeMap<ReleaseId, RequestId>,
}

/// The log, with what it tells of attempts.
struct Told {
    log: Vec<Leaf>,
    attempts: BTreeMap<RequestId, BTreeMap<u64, Outcome>>,
    failed: BTreeSet<u64>,
}

impl Told {
    async fn by(service: &Service) -> Told {
        let log = service.log().await;
        // An event whose note is lost is entered again: twice the same.
        let mut attempts: BTreeMap<RequestId, BTreeMap<u64, Outcome>> = BTreeMap::new();
        for leaf in &log {
            if let Leaf::Event(Event::Attempt { request, intent, outcome }) = leaf {
                let first = *attempts.entry(*request).or_default().entry(*intent).or_insert(*outcome);
                assert_eq!(first, *outcome, "{intent} is told in two ways");
            }
        }
        let failed = attempts.values().flat_map(BTreeMap::keys).copied().collect();
        Told { log, attempts, failed }
    }

    /// The intent that a signature on record names.
    fn intent(&self, index: u64, number: usize) -> &Intent {
        assert!(!self.failed.contains(&index), "{number}: both signed and not");
        self.log[index as usize].intent().unwrap()
    }
}

async fn judge(bench: &Bench, service: &Service, acknowledged: &BTreeMap<usize, (Asked, RequestId)>) {
    let told = Told::by(service).await;
    let mut found = Found::default();
    for (number, (asked, id)) in acknowledged {
        let job = service.store.job(*id).await.unwrap().unwrap();
        assert_eq!(job.progress.state, JobState::Signed, "{number}: {:?}", job.progress);
        match (asked, job.progress.came_to) {
            (Asked::File(file), Some(CameTo::Signature(of))) => {
                judge_file(bench, service, &told, &mut found, (*number, *file, of)).await;
            }
            (Asked::Release(version), Some(CameTo::Release(made))) => {
                let release = service.store.release(made).await.unwrap();
                judge_release(&told, &mut found, (*number, version, *id), &release);
            }
            (asked, other) => panic!("{number}: {asked:?} came to {other:?}"),
        }
    }
    // Nothing that a key was asked for is missing, and nothing twice.
    let mut asked = bench.hsm.asked.lock().unwrap().clone();
    asked.extend(bench.release.asked.lock().unwrap().iter());
    let once: BTreeSet<u64> = asked.iter().copied().collect();
    assert_eq!(once.len(), asked.len(), "one entry opens a key once");
    let known = |index: &u64| found.signed.contains_key(index) || told.failed.contains(index);
    for index in &once {
        assert!(known(index), "a key was asked under entry {index}, and nobody tells of it");
    }
    // And every intent came to something that is told.
    for (leaf, index) in told.log.iter().zip(0..) {
        assert!(leaf.intent().is_none() || known(&index), "nobody tells what became of entry {index}");
    }
    // Nor is there a release that nobody ordered.
    let (mut all, mut page) = (BTreeSet::new(), Page::first(PAGE));
    loop {
        let some = service.store.releases(None, page).await.unwrap();
        all.extend(some.iter().map(|release| release.id));
        match some.last() {
            Some(last) => page = Page::after(last.id, PAGE),
            None => break,
        }
    }
    assert!(all.iter().eq(found.releases.keys()));
    println!(
        "{} requests: {} signatures of files, {} releases; keys were asked {} times, {} attempts were told of",
        acknowledged.len(),
        found.of_file.len(),
        found.releases.len(),
        asked.len(),
        told.failed.len()
    );
}

async fn judge_file(
    bench: &Bench,
    service: &Service,
    told: &Told,
    found: &mut Found,
    (number, file, of): (usize, ArtifactId, RequestId),
) {
    if let Some(first) = found.of_file.insert(file, of) {
        assert_eq!(first, of, "{number}: two signatures of one file");
        return;
    }
    let record = service.store.signature(of).await.unwrap().unwrap();
    let tbs = Tbs::Message(file.0.as_bytes().to_vec());
    let value = firmseal_manifest::Signature(record.value.clone());
    verify(bench.hsm.public_key(), &tbs, &value).unwrap();
    let intent = told.intent(record.log_index, number);
    assert_eq!((intent.subject, record.tbs), (tbs.fingerprint(), tbs.fingerprint()));
    let own = told.attempts.get(&of).map_or(0, BTreeMap::len);
    assert_eq!(record.attempts as usize, own + 1, "{number}");
    assert_eq!(found.signed.insert(record.log_index, of), None);
}

fn judge_release(
    told: &Told,
    found: &mut Found,
    (number, version, id): (usize, &semver::Version, RequestId),
    release: &Release,
) {
    assert_eq!((release.request, &release.version), (id, version), "{number}");
    let intent = told.intent(release.log_index, number);
    assert_eq!((intent.purpose, intent.subject), (Purpose::Release, release.manifest));
    assert!(intent.context.contains(&Intent::mark(&id)), "{number}");
    assert_eq!(found.signed.insert(release.log_index, id), None);
    assert_eq!(found.releases.insert(release.id, id), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_lost_and_none_doubled() {
    // `cargo xtask test --long` asks for 100,000.
    let requests = std::env::var("FIRMSEAL_REQUESTS").map_or(400, |text| text.parse().unwrap());
    let begun = Instant::now();
    chaos(requests, 12 + requests / 1000).await;
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
}
