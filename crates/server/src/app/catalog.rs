//! The catalog: verified releases and active rollouts, in memory.
//!
//! Polls and payload requests are most of the traffic and must not cost a
//! query each. The store stays the truth: what changes here is read back
//! after every change made through this process, and again every few
//! seconds for changes made by others.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use firmseal_fleet::{Catalog as Offers, Pace, Policy, Release, ReleaseState};
use firmseal_manifest::{Digest, ReleaseId};
use firmseal_store::{Page, Store, StoreError};
use tokio::sync::Mutex;

/// A release that can be handed out.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) release: Release,
    pub(crate) envelope_size: u64,
}

/// One consistent view.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) offers: Offers,
    /// Verified releases.
    pub(crate) releases: HashMap<ReleaseId, Arc<Published>>,
    /// Which tree belongs to a payload, over all verified releases.
    pub(crate) trees: HashMap<Digest, Digest>,
}

/// The view that requests see.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    current: ArcSwap<Snapshot>,
    /// One reader of the store at a time, so that an older view never
    /// replaces a newer one.
    reading: Mutex<()>,
}

impl Catalog {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Reads the store again. On an error the old view stays.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one = self.reading.lock().await;
        let old = self.snapshot();
        let rollouts = store.active_rollouts().await?;
        let mut releases = HashMap::new();
        let mut page = Page::first(firmseal_store::page::PAGE_MAX);
        loop {
            let found = store.releases(None, page).await?;
            let Some(last) = found.last().map(|release| release.id) else { break };
            for release in found.into_iter().filter(|release| release.state == ReleaseState::Verified) {
                let published = match old.releases.get(&release.id) {
                    Some(known) if known.release == release => known.clone(),
                    _ => {
                        let envelope_size = store.size(&release.envelope).await?.unwrap_or(0);
                        Arc::new(Published { release, envelope_size })
                    }
                };
                releases.insert(published.release.id, published);
            }
            page = Page::after(last, firmseal_store::page::PAGE_MAX);
        }
        let offered: Vec<Release> = rollouts
            .iter()
            .filter_map(|rollout| releases.get(&rollout.release))
            .map(|published| published.release.clone())
            .collect();
        let trees = releases
            .values()
            .flat_map(|published| published.release.components.iter())
            .map(|component| (component.payload, component.hash_blocks))
            .collect();
        let offers = Offers::new(&Policy { pace: Pace::AllAtOnce }, &rollouts, &offered);
        self.current.store(Arc::new(Snapshot { offers, releases, trees }));
        Ok(())
    }
}
