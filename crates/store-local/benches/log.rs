//! Durable entries per second of the intent log, and how long a proof takes,
//! against what the disk can sync.
//!
//! ```text
//! cargo bench --package firmseal-store-local --bench log [DIRECTORY]
//! ```
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::time::{Duration, Instant};

use firmseal_keys::Log;
use firmseal_store_local::IntentLog;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Bytes of an ordinary release's intent.
const LEAF: usize = 220;
const RUN: Duration = Duration::from_secs(5);
/// What issue and documents promise, with batching.
const WANTED: f64 = 3_000.0;

/// Appends with so many waiting at once; returns entries per second.
async fn rate(log: &IntentLog, at_once: usize) -> f64 {
    let leaf = vec![7; LEAF];
    let (start, mut done) = (Instant::now(), 0u64);
    let mut waiting: FuturesUnordered<_> = (0..at_once).map(|_| log.append(&leaf)).collect();
    while let Some(index) = waiting.next().await {
        index.unwrap();
        done += 1;
        if start.elapsed() < RUN {
            waiting.push(log.append(&leaf));
        }
    }
    done as f64 / start.elapsed().as_secs_f64()
}

fn syncs(dir: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(dir.join("syncs")).unwrap();
    let (start, mut done) = (Instant::now(), 0u32);
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 512]).unwrap();
        file.sync_data().unwrap();
        done += 1;
    }
    f64::from(done) / start.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let dir = match place {
        Some(place) => tempfile::tempdir_in(place).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let bare = syncs(dir.path());
    println!("bare appends with a sync each: {bare:.0}/s");
    let path = dir.path().join("intents.log");
    let log = IntentLog::open(&path).unwrap();
    let mut best: f64 = 0.0;
    for at_once in [1, 16, 256, 1024] {
        let rate = rate(&log, at_once).await;
        println!(
            "{at_once:>5} at once: {rate:>8.0} durable entries/s, {:.2} times the bare syncs",
            rate / bare
        );
        best = best.max(rate);
    }
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        let index = log.append(&[9; LEAF]).await.unwrap();
        log.checkpoint().await.unwrap();
        log.proof(index, index + 1).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("from entry to proof: median {:?}, worst {:?} of {}", times[25], times[49], times.len());
    let entries = log.len();
    drop(log);
    let start = Instant::now();
    assert_eq!(IntentLog::open(&path).unwrap().len(), entries);
    println!("opening a log of {entries} entries, all checked: {:?}", start.elapsed());
    assert!(best >= WANTED, "{best:.0} entries/s, wanted {WANTED}");
}
