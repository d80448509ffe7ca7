//! Damage: a flipped bit anywhere is noticed before a byte is handed out,
//! and a second process is kept out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use firmseal_fleet::{Priority, Time};
use firmseal_keys::Log;
use firmseal_manifest::{Digest, RequestId};
use firmseal_store::conformance::samples;
use firmseal_store::{Blobs, Claiming, Continuity, Jobs, Registry, Room, StoreError, stream_of};
use firmseal_store_local::{IntentLog, LocalStore, Successor};
use futures_util::StreamExt;

const CHUNK: u64 = 64 * 1024;

fn path_of(dir: &Path, id: &Digest) -> PathBuf {
    let hex = id.to_string();
    dir.join("blobs").join(&hex[..2]).join(&hex[2..])
}

async fn read(store: &LocalStore, id: &Digest, range: Range<u64>) -> (u64, Option<StoreError>) {
    let mut stream = match store.read(id, range).await {
        Ok(stream) => stream,
        Err(error) => return (0, Some(error)),
    };
    let mut read = 0;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => read += piece.len() as u64,
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

#[tokio::test]
async fn a_flipped_bit_in_a_blob_is_never_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let good = Bytes::from((0..400_000u32).map(|n| (n * 7) as u8).collect::<Vec<_>>());
    let size = good.len() as u64;
    let id = store.put_bytes(good.clone()).await.unwrap();
    let path = path_of(dir.path(), &id);
    for at in [0, 65_535, 65_536, 300_000, size - 1] {
        let mut bad = good.to_vec();
        bad[at as usize] ^= 0x10;
        std::fs::write(&path, bad).unwrap();
        let damaged = at / CHUNK * CHUNK..((at / CHUNK + 1) * CHUNK).min(size);
        let (handed_out, error) = read(&store, &id, 0..size).await;
        assert!(matches!(error, Some(StoreError::Corrupt { .. })), "{error:?}");
        assert!(handed_out <= damaged.start, "{handed_out} bytes of a blob damaged at {at}");
        let (_, error) = read(&store, &id, at..at + 1).await;
        assert!(matches!(error, Some(StoreError::Corrupt { .. })), "{error:?}");
        // What is not damaged can still be had.
        for intact in [0..damaged.start, damaged.end..size] {
            assert_eq!(read(&store, &id, intact.clone()).await, (intact.end - intact.start, None));
        }
    }
    for wrong in [good.slice(..100_000), Bytes::new()] {
        std::fs::write(&path, wrong).unwrap();
        assert!(matches!(read(&store, &id, 0..size).await.1, Some(StoreError::Corrupt { .. })));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(read(&store, &id, 0..size).await.1, Some(StoreError::Corrupt { .. })));
    // Storing the right bytes again mends it.
    store.put(id, size, stream_of(good.clone())).await.unwrap();
    assert_eq!(store.read_all(&id, size).await.unwrap(), good);
}

async fn log_of(path: &Path, leaves: u8) -> Vec<usize> {
    let mut ends = vec![16];
    let log = IntentLog::open(path).unwrap();
    for n in 0..leaves {
        assert_eq!(log.append(&vec![n; 1 + usize::from(n) * 3]).await.unwrap(), u64::from(n));
        ends.push(std::fs::metadata(path).unwrap().len() as usize);
    }
    ends
}

#[tokio::test]
async fn a_flipped_bit_in_the_intent_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let ends = log_of(&path, 6).await;
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            std::fs::write(&path, &bad).unwrap();
            let Err(StoreError::Corrupt { what }) = IntentLog::open(&path).map(|log| log.len()) else {
                panic!("bit {bit} of byte {at} passed");
            };
            let begin = ends.iter().rfind(|end| **end <= at).copied().unwrap_or(0);
            assert!(what.contains(&format!("offset {begin} ")), "byte {at}: {what}");
            assert_eq!(std::fs::read(&path).unwrap(), bad, "damage is left as it is");
        }
    }
    // Records that are whole but in another order, twice or missing.
    let record = |n: usize| good[ends[n]..ends[n + 1]].to_vec();
    for order in [&[1, 0][..], &[0, 0], &[1], &[0, 2], &[0, 1, 3, 2, 4, 5]] {
        let mut bad = good[..16].to_vec();
        order.iter().for_each(|n| bad.extend(record(*n)));
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(IntentLog::open(&path).map(|log| log.len()), Err(StoreError::Corrupt { .. })));
    }
    for foreign in [&b"firmseal-log 2\r\n"[..], b"something else entirely", b"x", &[0; 4096]] {
        std::fs::write(&path, foreign).unwrap();
        assert!(matches!(IntentLog::open(&path).map(|log| log.len()), Err(StoreError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn only_an_incomplete_last_record_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let ends = log_of(&path, 4).await;
    let good = std::fs::read(&path).unwrap();
    for length in 0..good.len() {
        // Alone: a log that was published is not allowed to shrink.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("intents.log");
        std::fs::write(&path, &good[..length]).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let log = IntentLog::open(&path).unwrap();
        assert_eq!(log.len(), whole as u64, "cut to {length}");
        // It goes on where the last whole record ends.
        assert_eq!(log.append(b"next").await.unwrap(), whole as u64);
        drop(log);
        let log = IntentLog::open(&path).unwrap();
        let entries = log.read(0, 100).await.unwrap();
        assert_eq!(entries.len(), whole + 1);
        assert_eq!(entries[whole].leaf, b"next");
    }
}

#[tokio::test]
async fn a_long_log_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intents.log");
    let log = IntentLog::open(&path).unwrap();
    let appended = futures_util::future::join_all((0..1500u32).map(|n| {
        let log = &log;
        async move { log.append(&n.to_be_bytes()).await.unwrap() }
    }))
    .await;
    assert!(appended.iter().copied().eq(0..1500), "indexes follow the order of the calls");
    assert!(log.append(b"").await.is_err() && log.append(&[0; 65_537]).await.is_err());
    drop(log);
    let log = IntentLog::open(&path).unwrap();
    for from in [0, 1, 63, 64, 65, 1000, 1499, 1500, u64::MAX] {
        let entries = log.read(from, 200).await.unwrap();
        assert_eq!(entries.len() as u64, 1500u64.saturating_sub(from).min(200));
        for (entry, index) in entries.iter().zip(from..) {
            assert_eq!((entry.index, &entry.leaf[..]), (index, &(index as u32).to_be_bytes()[..]));
        }
    }
    // Damage that happens under way is noticed as well.
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(log.read(1499, 1).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_second_opening_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let Err(StoreError::InUse { holder, .. }) = LocalStore::open(dir.path()).map(drop) else {
        panic!("two at once")
    };
    assert_eq!(holder, format!("process {}", std::process::id()));
    let log = IntentLog::open(&dir.path().join("intents.log"));
    assert!(matches!(log.map(drop), Err(StoreError::InUse { .. })));
    let clone = store.clone();
    drop(store);
    assert!(LocalStore::open(dir.path()).is_err(), "a clone still has it");
    drop(clone);
    drop(LocalStore::open(dir.path()).unwrap());
}

#[tokio::test]
async fn a_successor_is_known_and_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    assert!(!store.has_successor().await.unwrap());
    let first = Successor::of(dir.path()).unwrap();
    let second = Successor::of(dir.path()).unwrap();
    assert!(store.has_successor().await.unwrap());
    assert!(first.take_over().unwrap().is_none(), "it is in use");
    drop(first);
    assert!(store.has_successor().await.unwrap(), "the second still waits");
    let moved = dir.path().with_extension("moved");
    std::fs::rename(dir.path(), &moved).unwrap();
    assert!(matches!(second.take_over().map(drop), Err(StoreError::NotFound { .. })));
    assert!(!dir.path().exists(), "nothing was made in its place");
    std::fs::create_dir(dir.path()).unwrap();
    std::fs::write(dir.path().join("lock"), "").unwrap();
    assert!(matches!(second.take_over().map(drop), Err(StoreError::Conflict { .. })));
    std::fs::remove_dir_all(dir.path()).unwrap();
    std::fs::rename(&moved, dir.path()).unwrap();
    drop(store);
    let store = second.take_over().unwrap().unwrap();
    drop(second);
    assert!(!store.has_successor().await.unwrap());
    store.answers().await.unwrap();
    drop(store);
    // A program that could not take over is told when it begins to wait.
    let path = dir.path().join("store.db");
    let mut database = std::fs::read(&path).unwrap();
    database[60..64].copy_from_slice(&9999u32.to_be_bytes());
    std::fs::write(&path, database).unwrap();
    assert!(matches!(Successor::of(dir.path()).map(drop), Err(StoreError::Newer { found: 9999, .. })));
}

#[tokio::test]
async fn half_a_backup_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    store.intents().append(b"an intent").await.unwrap();
    let release = firmseal_store::conformance::samples::release(&store, "gateway", "1.0.0", 1).await;
    store.insert_release(release).await.unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("intents.log")).unwrap();
    assert!(matches!(LocalStore::open(dir.path()).map(drop), Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn what_a_crash_left_is_cleaned_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let id = store.put_bytes("kept".into()).await.unwrap();
    drop(store);
    let orphan = path_of(dir.path(), &Digest([0xab; 32]));
    let left = [
        orphan,
        dir.path().join("tmp/0"),
        dir.path().join("uploads/upl-00000000-0000-7000-8000-000000000000"),
        dir.path().join("uploads/..hidden"),
        dir.path().join("blobs/ab/not a digest"),
    ];
    for path in &left {
        std::fs::write(path, "half").unwrap();
    }
    let store = LocalStore::open(dir.path()).unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(store.read_all(&id, 4).await.unwrap(), "kept");
}

const BREAK: &str = "UPDATE jobs SET asked = substr(asked, 2) WHERE id = ?";
const MEND: &str = "UPDATE jobs SET asked = '{' || asked WHERE id = ?";

/// A store with three jobs, the oldest first.
async fn three_jobs(dir: &Path) -> (LocalStore, Vec<RequestId>) {
    let store = LocalStore::open(dir).unwrap();
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let job = samples::job("red", "own", Priority::Release);
        ids.push(job.id);
        store.insert_job(job, 9).await.unwrap();
    }
    (store, ids)
}

/// Changes a job behind the store's back.
fn change(dir: &Path, sql: &str, id: RequestId) {
    let connection = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    assert_eq!(connection.execute(sql, [id.to_string()]).unwrap(), 1);
}

async fn expired(store: &LocalStore, now: Time, most: u32) -> Vec<RequestId> {
    store.expire_jobs(now, most).await.unwrap().into_iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn a_damaged_job_keeps_no_other_from_its_end_or_its_account() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = three_jobs(dir.path()).await;
    // Somebody was at all of them, and nobody knows what became of it.
    let rooms = vec![Room { key: "own".to_owned(), most: 9, after: None }];
    let lease = std::time::Duration::from_secs(60);
    let claiming = Claiming { rooms, now: samples::NOW, lease, log_size: 5 };
    assert_eq!(store.claim_jobs(claiming).await.unwrap().len(), 3);
    change(dir.path(), BREAK, ids[0]);
    let late = samples::later(3601);
    assert_eq!(expired(&store, late, 1).await, [], "it is looked at once");
    assert_eq!(expired(&store, late, 9).await, ids[1..]);
    assert!(matches!(store.job(ids[0]).await, Err(StoreError::Corrupt { .. })));
    change(dir.path(), BREAK, ids[1]);
    let accounted = store.unaccounted_jobs(late, 1).await.unwrap();
    assert_eq!(accounted.iter().map(|ended| ended.job.id).collect::<Vec<_>>(), ids[2..]);
    drop(store);
    change(dir.path(), MEND, ids[0]);
    change(dir.path(), MEND, ids[1]);
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(expired(&store, late, 9).await, ids[..1]);
    assert_eq!(store.unaccounted_jobs(late, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_damaged_job_is_set_aside_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = three_jobs(dir.path()).await;
    let claim = async |store: &LocalStore, now: Time| {
        let rooms = vec![Room { key: "own".to_owned(), most: 1, after: None }];
        let claiming = Claiming { rooms, now, lease: std::time::Duration::from_secs(60), log_size: 0 };
        let claimed = store.claim_jobs(claiming).await.unwrap();
        claimed.into_iter().map(|claimed| claimed.claim.request).collect::<Vec<_>>()
    };
    change(dir.path(), BREAK, ids[0]);
    // It is the oldest, and there is room for one.
    assert_eq!(claim(&store, samples::NOW).await, [], "it is looked at once");
    assert_eq!(claim(&store, samples::NOW).await, [ids[1]]);
    assert_eq!(claim(&store, samples::NOW).await, [ids[2]]);
    let Err(StoreError::Corrupt { what }) = store.job(ids[0]).await else { panic!("it is damaged") };
    assert!(what.contains("look a signing request up"), "{what}");
    // Nor does it keep others from their ends, long after.
    let late = samples::later(3601);
    assert_eq!(expired(&store, late, 9).await, ids[1..]);
    drop(store);
    change(dir.path(), MEND, ids[0]);
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(claim(&store, samples::NOW).await, [ids[0]]);
}
