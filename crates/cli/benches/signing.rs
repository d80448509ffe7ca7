//! Releases per second over HTTPS, durable, with a file key; and what they
//! are bound by: the bare signer, and the storage's own syncs.
//!
//! `cargo bench --profile dist -p firmseal --bench signing`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firmseal_api::signing::{CreateRelease, ReleaseComponent};
use firmseal_keys::{FileKey, Log, LogError, Logged, Secret, Signer};
use firmseal_manifest::{Digest, Intent, KeyAlgorithm, Purpose, Tbs};
use tokio::task::JoinSet;

const CLIENTS: usize = 16;
const SECONDS: u64 = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let bare = bare_signer().await;
    println!("bare signer (Ed25519 file key)         {bare:>10.0} signatures/s");
    let running = Arc::new(support::serve().await);
    let syncs = durable_appends(&running.place);
    println!("storage (append and sync, one writer)  {syncs:>10.0} syncs/s");
    let artifact = running.artifact(&vec![7; 64 * 1024]).await;

    let end = Instant::now() + Duration::from_secs(SECONDS);
    let (cpu, started) = (running.server.cpu(), Instant::now());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let running = running.clone();
        clients.spawn(async move {
            let product = format!("product-{client}");
            running.product(&product).await;
            let mut times = Vec::new();
            for patch in 0.. {
                if Instant::now() >= end {
                    break;
                }
                let order = CreateRelease {
                    sbom: None,
                    evidence: Vec::new(),
                    product: product.parse().unwrap(),
                    channel: "stable".parse().unwrap(),
                    version: semver::Version::new(1, 0, patch),
                    sequence: None,
                    epoch: 1,
                    components: vec![ReleaseComponent { component: "main".to_owned(), artifact }],
                    build: "bench".to_owned(),
                    commit: "bench".to_owned(),
                    parameters: Default::default(),
                    priority: Default::default(),
                    deadline_seconds: None,
                };
                let begun = Instant::now();
                running
                    .operator
                    .operator()
                    .create_release(&format!("{client}-{patch}"), &order)
                    .await
                    .unwrap();
                times.push(begun.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    let wall = started.elapsed();
    let cpu = running.server.cpu() - cpu;
    times.sort();
    let rate = times.len() as f64 / wall.as_secs_f64();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("service, {CLIENTS} clients, durable            {rate:>10.1} releases/s");
    println!("  latency p50 {:.1} ms, p99 {:.1} ms", at(0.50), at(0.99));
    println!(
        "  server: {:.2} of one processor, {:.2} ms of it for each release",
        cpu.as_secs_f64() / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e3 / times.len() as f64
    );
    println!("  service / bare signer {:.5}", rate / bare);
    println!("  syncs of one writer for each release {:.2}", syncs / rate);
}

/// A log that forgets: only to measure the signer alone.
struct Forgetful(AtomicU64);

impl Log for Forgetful {
    async fn append(&self, _: &[u8]) -> Result<u64, LogError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

async fn bare_signer() -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let secret = Secret::new(b"bench".to_vec());
    let key = FileKey::generate(&directory.path().join("key.pem"), KeyAlgorithm::Ed25519, &secret).unwrap();
    let tbs = Tbs::Message(vec![1; 100]);
    let log = Forgetful(AtomicU64::new(0));
    let intent = Intent {
        purpose: Purpose::Artifact,
        subject: tbs.fingerprint(),
        keys: vec![key.public_key().id()],
        delegation: None,
        statements: Vec::new(),
        requester: Digest([0; 32]),
        policy: Digest([0; 32]),
        context: Vec::new(),
    };
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(2) {
        for _ in 0..100 {
            let logged = Logged::append(&log, intent.clone()).await.unwrap();
            key.sign(logged, tbs.clone()).await.unwrap();
            count += 1;
        }
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// What the disk under the store can do, one sync after the other.
fn durable_appends(place: &std::path::Path) -> f64 {
    let path = place.join("syncs");
    let mut file = std::fs::File::create(&path).unwrap();
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(2) {
        file.write_all(&[0; 512]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    std::fs::remove_file(path).unwrap();
    f64::from(count) / begun.elapsed().as_secs_f64()
}
