//! SIGKILL at random moments: every acknowledged write is there and intact
//! afterwards, and nothing is half-visible.
//!
//! `FIRMSEAL_KILLS` sets how often (40), `FIRMSEAL_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::Writer;
use firmseal_store_local::LocalStore;

#[test]
fn writer() {
    common::writer();
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    let kills = setting("FIRMSEAL_KILLS").unwrap_or(40);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("FIRMSEAL_SEED").unwrap_or(clock) | 1;
    eprintln!("{kills} kills, FIRMSEAL_SEED={seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 1..=kills {
        let mut writer = Writer::start(dir.path(), round, |program| Command::new(program));
        let mut acks = Vec::new();
        // One time in eight while it opens and recovers, otherwise after
        // some writes; then a little later, to land between two.
        if random(8) > 0 {
            let enough = 1 + random(150) as usize;
            while acks.len() < enough {
                acks.extend(writer.next());
            }
        }
        let until = Instant::now() + Duration::from_micros(random(8_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
        while let Some(ack) = writer.next() {
            acks.push(ack);
        }
        let store = LocalStore::open(dir.path()).unwrap();
        common::check(&store, &acks).await;
        common::nothing_half(&store, dir.path()).await;
        all.extend(acks);
    }
    let store = LocalStore::open(dir.path()).unwrap();
    common::check(&store, &all).await;
    eprintln!("{} acknowledged writes, all there", all.len());
    assert!(all.len() as u64 > kills, "the writer got nowhere");
    assert!(!all.iter().any(|ack| matches!(ack, common::Ack::Failed(_))), "the writer met an error");
}
