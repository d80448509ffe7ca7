//! A full disk: writes fail as `Full`, what was acknowledged stays, and
//! work goes on once there is room.
//!
//! The disk is a small memory file system in a mount namespace of the
//! child's own, so it goes when the child does. Where namespaces are
//! forbidden the test says so and proves nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use common::{Ack, write_into};
use firmseal_keys::Log;
use firmseal_store::{Blobs, StoreError};
use firmseal_store_local::LocalStore;

const DISK: &str = "FIRMSEAL_SMALL_DISK";

fn on_a_small_disk(dir: &Path, test: &str) -> bool {
    let script = "mount -t tmpfs -o size=3m tmpfs \"$FIRMSEAL_SMALL_DISK\" || exit 77; exec \"$0\" \"$@\"";
    let outcome = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DISK, dir)
        .status();
    match outcome {
        Ok(status) if status.success() => true,
        // unshare fails with 1, as a failed test does with 101.
        Ok(status) if matches!(status.code(), Some(1 | 77 | 127)) => false,
        Ok(status) => {
            assert!(status.success(), "the child failed");
            true
        }
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_keeps_what_it_has() {
    let Some(disk) = std::env::var_os(DISK) else {
        let dir = tempfile::tempdir().unwrap();
        if !on_a_small_disk(dir.path(), "a_full_disk_refuses_and_keeps_what_it_has") {
            eprintln!("skipped: mount namespaces are not allowed here");
        }
        return;
    };
    let (disk, dir) = (Path::new(&disk), Path::new(&disk).join("store"));
    // Room that is freed later.
    std::fs::write(disk.join("ballast"), vec![0; 512 * 1024]).unwrap();

    let acks = common::recorded(write_into(&dir, 1)).await;
    let failures: Vec<_> =
        acks.iter().filter_map(|ack| if let Ack::Failed(why) = ack { Some(why) } else { None }).collect();
    assert!(!failures.is_empty());
    for why in &failures {
        assert!(why.contains("Full") || why.contains("no space is left"), "{why}");
    }
    assert!(acks.len() > 20, "{acks:?}");

    // Still full: reading works, writing is refused, nothing of it remains.
    let store = LocalStore::open(&dir).unwrap();
    common::check(&store, &acks).await;
    common::nothing_half(&store, &dir).await;
    let big = Bytes::from(vec![7; 2 * 1024 * 1024]);
    assert!(matches!(store.put_bytes(big.clone()).await, Err(StoreError::Full { .. })));
    drop(store);

    // With room again everything goes on, in the same store.
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let store = LocalStore::open(&dir).unwrap();
    common::check(&store, &acks).await;
    let id = store.put_bytes(big.slice(..1000)).await.unwrap();
    assert_eq!(store.read_all(&id, 1000).await.unwrap(), big.slice(..1000));
    let index = store.intents().append(b"after").await.unwrap();
    assert_eq!(index + 1, store.intents().len());
    common::nothing_half(&store, &dir).await;
}
