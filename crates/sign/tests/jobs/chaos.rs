//! Chaos: keys that fail in every way; a store that fails before and after it
//! has done what it was asked, that hangs, and that has damaged what it was
//! asked for; and a service that is killed again and again, under load. Some
//! requests break a rule. Each acknowledged one ends in one signature that
//! leaves, in one release, or in a refusal that says why, and every time that
//! a key was asked is accounted for.
//!
//! `FIRMSEAL_REQUESTS` says how many requests there are (400); the more there
//! are, the rarer does each fail: every fault of a key stops its queue for a
//! quarter of a second and more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmseal_fleet::{Job, JobState, Priority};
use firmseal_manifest::{ArtifactId, RequestId};
use firmseal_store::{Inserted, Jobs};
use tokio::task::JoinSet;

use crate::bench::{Bench, Fault, Mood, Service, now};
use crate::faulty::{StoreFault, StoreMood};
use crate::judge::judge;
use crate::releases::order;
use crate::rules::Parrot;

/// Pipelines that hand requests in at once.
const CLIENTS: usize = 16;
/// Every so many requests one is an order for a release.
const ORDERS: usize = 25;
/// Longest that a life waits for one of them to be through: far longer than
/// it takes, unless the store is stuck for all of them.
const LIFE: Duration = Duration::from_secs(60);
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
        11 => Some(Fault::Gone),
        _ => None,
    })
}

/// How often the store failed, by the kind of the fault.
type Counts = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Fails in about one of forty calls, or so many times rarer; and one of the
/// first hangs until the service is killed, if it will be.
fn troubles(seed: u64, rarer: u64, killed: bool, counts: Counts) -> StoreMood {
    let mut chance = Chance::of(seed as usize);
    let mut stuck = killed.then(|| chance.below(60));
    Box::new(move || {
        let wait = Duration::from_millis(20 + chance.below(380));
        let is_stuck = stuck == Some(0);
        stuck = stuck.and_then(|calls| calls.checked_sub(1));
        let fault = match chance.below(240 * rarer) {
            _ if is_stuck => Some(StoreFault::Stuck),
            0..2 => Some(StoreFault::Before),
            2..4 => Some(StoreFault::After),
            4 => Some(StoreFault::Late(wait)),
            5 => Some(StoreFault::TooLate(wait)),
            6 => Some(StoreFault::Damaged),
            _ => None,
        };
        if let Some(fault) = fault {
            *counts.lock().unwrap().entry(fault.word()).or_default() += 1;
        }
        fault
    })
}

/// What somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    File(ArtifactId),
    Release(semver::Version),
}

/// What was acknowledged, by the number of the request.
pub(crate) type Acknowledged = BTreeMap<usize, (Asked, RequestId)>;

fn is_order(number: usize) -> bool {
    number % ORDERS == ORDERS - 1
}

/// The rule that the request of a number breaks.
pub(crate) fn breaks(number: usize) -> Option<&'static str> {
    match (is_order(number), number / ORDERS % 4, number % 16) {
        // Its file is damaged on the disk.
        (true, 1, _) => Some("service"),
        (true, 2, _) | (false, _, 5) => Some("parrot"),
        (false, _, 11) => Some("gate-epoch-ahead"),
        _ => None,
    }
}

/// The request of a number, as a job under an idempotency key; an error is a
/// store's that fails.
async fn job(service: &Service, number: usize, key: &str) -> (Asked, Option<Job>) {
    let mut chance = Chance::of(number);
    // Every fourth asks for a file that somebody has asked for.
    let file = if chance.below(4) == 0 { chance.below(number.max(1) as u64) } else { number as u64 };
    let file = match breaks(number) {
        Some("service") => service.upload_damaged(format!("damaged firmware {number}").as_bytes()).await,
        _ => service.upload(format!("firmware {file}").as_bytes()).await,
    };
    let build = if breaks(number) == Some("parrot") { "refuse" } else { "build-17" };
    if !is_order(number) {
        let mut wish = service.wish(key, file);
        (wish.deadline, wish.build) = (now().plus(WEEK), build.to_owned());
        wish.epoch = if breaks(number) == Some("gate-epoch-ahead") { 17 } else { 0 };
        return (Asked::File(file), service.pipeline.artifact_job(wish, now()).await.ok());
    }
    let version = semver::Version::new(1, 0, number as u64);
    let mut order = order(service, key, &version.to_string(), file);
    order.build = build.to_owned();
    let deadline = now().plus(WEEK);
    let job = service.pipeline.release_job(order, Priority::Release, deadline, now()).await;
    (Asked::Release(version), job.ok())
}

/// Hands a request in, as a client that tries until it is acknowledged.
async fn acknowledged(service: &Service, number: usize, key: &str) -> (Asked, RequestId) {
    loop {
        if let (asked, Some(job)) = job(service, number, key).await {
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
    told: Arc<Mutex<Acknowledged>>,
) {
    while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
        let key = format!("request {number}");
        let answer = acknowledged(&service, *number, &key).await;
        // Every ninth is a retry.
        if number % 9 == 0 {
            assert_eq!(acknowledged(&service, *number, &key).await, answer);
        }
        told.lock().unwrap().insert(*number, answer);
    }
}

/// Waits for the ends of all; who was refused because the store had said that
/// something is damaged, when nothing was, asks again. Returns how many did.
async fn ended(service: &Service, told: &mut Acknowledged) -> usize {
    let mut again = 0;
    for (number, (asked, id)) in told {
        let progress = service.settled(*id).await.progress;
        let by_service = progress.state == JobState::Refused && progress.reasons[0].rule == "service";
        if !by_service || breaks(*number) == Some("service") {
            continue;
        }
        assert!(progress.reasons[0].why.contains("damaged"), "{number}: {progress:?}");
        again += 1;
        if is_order(*number) {
            service.store.resume_job(*id, JobState::Refused, now(), None, vec![]).await.unwrap();
            service.dispatcher.wake();
        } else {
            assert_eq!(service.store.signature(*id).await.unwrap(), None, "{number}: refused and signed");
            (*asked, *id) = acknowledged(service, *number, &format!("request {number}, again")).await;
        }
        service.settled(*id).await;
    }
    // Some ended while the store could not say what was done for them before.
    while !service.store.unaccounted_jobs(now(), 1).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    again
}

async fn chaos(requests: usize, lives: usize) {
    let rarer = (requests as u64 / 5000).clamp(1, 20);
    let bench = Bench::with_policy(Parrot);
    let mut chance = Chance(0x5eed);
    *bench.hsm.mood.lock().unwrap() = Some(mood(0xfee1, rarer));
    *bench.release.mood.lock().unwrap() = Some(mood(0xf00d, rarer));
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    service.stop().await;
    let (told, counts) = (Arc::new(Mutex::new(Acknowledged::default())), Counts::default());
    for life in 1..=lives {
        *bench.store.lock().unwrap() = troubles(life as u64, rarer, life < lives, counts.clone());
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
            if let Ok(first) = tokio::time::timeout(LIFE, clients.join_next()).await {
                first.unwrap().unwrap();
            }
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
        let mut told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told.len(), requests);
        for (_, id) in told.values() {
            service.settled(*id).await;
        }
        *bench.store.lock().unwrap() = Box::new(|| None);
        let again = ended(&service, &mut told).await;
        judge(&bench, &service, &told).await;
        let counts = counts.lock().unwrap().clone();
        println!("{again} were asked for again; the store {counts:?}");
        assert_eq!(counts.len(), StoreFault::KINDS, "every kind of trouble was there");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_lost_and_none_doubled() {
    // `cargo xtask test --long` asks for 100,000.
    let requests = std::env::var("FIRMSEAL_REQUESTS").map_or(400, |text| text.parse().unwrap());
    let begun = Instant::now();
    chaos(requests, 12 + requests / 1000).await;
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
}
