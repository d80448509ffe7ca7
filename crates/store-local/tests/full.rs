//! A full disk: writes fail as `Full`, what was acknowledged stays, and
//! work goes on once there is room.
//!
//! The disk is a small memory file system in a mount namespace of the
//! child's own, so it goes when the child does.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Ack, write_into};
use firmseal_keys::Log;
use firmseal_store::{Blobs, StoreError};
use firmseal_store_local::LocalStore;
use firmseal_testkit::small_disk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_keeps_what_it_has() {
    let Some(disk) = small_disk::own() else {
        let dir = tempfile::tempdir().unwrap();
        small_disk::again(dir.path(), 3, "a_full_disk_refuses_and_keeps_what_it_has", &[]);
        return;
    };
    let dir = disk.join("store");
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
