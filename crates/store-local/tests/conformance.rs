//! The conformance suite, run against the store of one machine.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use firmseal_keys::Log;
use firmseal_store::Store;
use firmseal_store::conformance::{self, Engine};
use firmseal_store_local::LocalStore;
use tempfile::TempDir;

/// Stores in temporary directories, which live as long as the engine.
#[derive(Default)]
struct Local {
    stores: Mutex<Vec<(TempDir, std::sync::Weak<dyn Store>)>>,
}

impl Local {
    fn open(&self, dir: TempDir) -> Arc<dyn Store> {
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
        self.stores.lock().unwrap().push((dir, Arc::downgrade(&store)));
        store
    }
}

#[async_trait]
impl Engine for Local {
    async fn fresh(&self) -> Arc<dyn Store> {
        let dir = tempfile::tempdir().unwrap();
        // The suite's releases say that they stand at index 0 of the log.
        let store = LocalStore::open(dir.path()).unwrap();
        store.intents().append(b"an intent").await.unwrap();
        drop(store);
        self.open(dir)
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let mut stores = self.stores.lock().unwrap();
        let weak = Arc::downgrade(&store);
        let at = stores.iter().position(|(_, known)| known.ptr_eq(&weak)).unwrap();
        let (dir, _) = stores.swap_remove(at);
        drop(stores);
        assert_eq!(Arc::strong_count(&store), 1, "somebody else still has the store");
        drop(store);
        self.open(dir)
    }
}

macro_rules! groups {
    ($($group:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $group() {
                conformance::$group::all(&Local::default()).await;
            }
        )*
    };
}

groups!(
    blobs,
    uploads,
    registry,
    requests,
    jobs,
    keys,
    devices,
    reports,
    rollouts,
    operators,
    policies,
    signing_requests,
    trust,
    events,
    audit,
    habits,
    continuity
);
