//! Chaos: keys that fail in every way, a store that fails before and after it
//! has done what it was asked, and a service that is killed again and again,
//! under load. Each acknowledged request ends in one signature that leaves,
//! and every time that a key was asked is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use firmseal_fleet::{CameTo, JobState};
use firmseal_keys::verify;
use firmseal_manifest::{ArtifactId, Event, Leaf, Outcome, RequestId, Tbs};
use firmseal_store::{Inserted, Jobs};

use crate::bench::{Bench, Fault, Mood, Service, now};
use crate::faulty::{StoreFault, StoreMood};

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Fails in about one of sixteen requests.
fn mood(seed: u64) -> Mood {
    let mut chance = Chance(seed);
    Box::new(move || match chance.below(160) {
        0..3 => Some(Fault::Away),
        3..6 => Some(Fault::Lost),
        6..9 => Some(Fault::Wrong),
        9 => Some(Fault::Hang),
        _ => None,
    })
}

/// Fails in about one of sixty calls, before or after.
fn troubles(seed: u64) -> StoreMood {
    let mut chance = Chance(seed);
    Box::new(move || match chance.below(120) {
        0 => Some(StoreFault::Before),
        1 => Some(StoreFault::After),
        _ => None,
    })
}

/// Hands a wish in, as a client that tries until it is acknowledged.
async fn acknowledged_id(service: &Service, key: &str, file: ArtifactId) -> RequestId {
    loop {
        if let Ok(job) = service.pipeline.artifact_job(service.wish(key, file), now()).await {
            let own = job.id;
            match service.dispatcher.submit(job).await {
                Ok(Inserted::Fresh) => return own,
                Ok(Inserted::Same(job)) => return job.id,
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn chaos(requests: usize, lives: usize) {
    let bench = Bench::new();
    let mut chance = Chance(0x5eed);
    *bench.hsm.mood.lock().unwrap() = Some(mood(0xfee1));
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    service.stop().await;
    *bench.store.lock().unwrap() = troubles(0xd15c);
    // What was acknowledged: key of the request, file and id.
    let mut acknowledged: BTreeMap<String, (ArtifactId, RequestId)> = BTreeMap::new();
    let mut number = 0;
    for life in 0..lives {
        let service = bench.start().await;
        let until = requests * (life + 1) / lives;
        while number < until {
            // Every fourth asks for a file that somebody has asked for, and
            // every ninth is a retry.
            let file = if chance.below(4) == 0 { chance.below(number.max(1) as u64) } else { number as u64 };
            let file = service.upload(format!("firmware {file}").as_bytes()).await;
            let key = format!("request {number}");
            let id = acknowledged_id(&service, &key, file).await;
            if chance.below(9) == 0 {
                assert_eq!(acknowledged_id(&service, &key, file).await, id);
            }
            acknowledged.insert(key, (file, id));
            number += 1;
        }
        if life + 1 < lives {
            tokio::time::sleep(Duration::from_millis(chance.below(40))).await;
            service.kill().await;
        } else {
            for (_, id) in acknowledged.values() {
                assert_eq!(service.settled(*id).await.progress.state, JobState::Signed);
            }
            *bench.store.lock().unwrap() = Box::new(|| None);
            judge(&bench, &service, &acknowledged).await;
            service.stop().await;
        }
    }
}

async fn judge(bench: &Bench, service: &Service, acknowledged: &BTreeMap<String, (ArtifactId, RequestId)>) {
    let log = service.log().await;
    // An event whose note is lost is entered again: twice the same.
    let mut told: BTreeMap<RequestId, BTreeMap<u64, Outcome>> = BTreeMap::new();
    for leaf in &log {
        if let Leaf::Event(Event::Attempt { request, intent, outcome }) = leaf {
            let first = *told.entry(*request).or_default().entry(*intent).or_insert(*outcome);
            assert_eq!(first, *outcome, "{intent} is told in two ways");
        }
    }
    let failed: BTreeSet<u64> = told.values().flat_map(BTreeMap::keys).copied().collect();
    let mut signatures = BTreeMap::new();
    let mut of_file = BTreeMap::new();
    for (key, (file, id)) in acknowledged {
        let job = service.store.job(*id).await.unwrap().unwrap();
        let Some(CameTo::Signature(of)) = job.progress.came_to else { panic!("{key}: {:?}", job.progress) };
        let record = service.store.signature(of).await.unwrap().unwrap();
        let tbs = Tbs::Message(file.0.as_bytes().to_vec());
        let value = firmseal_manifest::Signature(record.value.clone());
        verify(firmseal_keys::Signer::public_key(&*bench.hsm), &tbs, &value).unwrap();
        let intent = log[record.log_index as usize].intent().unwrap();
        assert_eq!((intent.subject, record.tbs), (tbs.fingerprint(), tbs.fingerprint()));
        assert!(!failed.contains(&record.log_index), "{key}: both signed and not");
        assert_eq!(of_file.entry(*file).or_insert(of), &of, "{key}: two signatures of one file");
        let own = told.get(&record.request).map_or(0, BTreeMap::len);
        assert_eq!(record.attempts as usize, own + 1, "{key}");
        signatures.insert(record.log_index, record.request);
    }
    // Nothing that the key was asked for is missing, and nothing twice.
    let asked = bench.hsm.asked.lock().unwrap().clone();
    let once: BTreeSet<u64> = asked.iter().copied().collect();
    assert_eq!(once.len(), asked.len(), "one entry opens a key once");
    for index in &once {
        let known = signatures.contains_key(index) || failed.contains(index);
        assert!(known, "the key was asked under entry {index}, and nobody tells of it");
    }
    // And every intent came to something that is told.
    for (leaf, index) in log.iter().zip(0..) {
        if leaf.intent().is_some() {
            assert!(signatures.contains_key(&index) || failed.contains(&index), "entry {index}");
        }
    }
    println!(
        "{} requests, {} signatures, the key was asked {} times, {} attempts were told of",
        acknowledged.len(),
        of_file.len(),
        asked.len(),
        failed.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_lost_and_none_doubled() {
    // `cargo xtask test --long` asks for 100,000.
    let requests = std::env::var("FIRMSEAL_REQUESTS").map_or(400, |text| text.parse().unwrap());
    chaos(requests, 12 + requests / 1000).await;
}
