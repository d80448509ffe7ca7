//! The catalog: what is offered, and where payloads belong, in memory.
//!
//! Polls and payload requests are most of the traffic and must not cost a
//! query each. The store stays the truth: what changes here is read back
//! after every change made through this process, and again every few
//! seconds for changes made by others. Neither costs more with every release
//! that was ever made: offers know the releases of active rollouts only, and
//! the shelf is read until it says nothing new.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use firmseal_fleet::{Catalog as Offers, Pace, Policy, Release, ReleaseState};
use firmseal_manifest::{Digest, ReleaseId};
use firmseal_store::page::PAGE_MAX;
use firmseal_store::{Page, Store, StoreError};
use tokio::sync::Mutex;

/// A release that can be handed out.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) release: Release,
    pub(crate) envelope_size: u64,
}

/// One consistent view of what is offered.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) offers: Offers,
    /// The verified releases of active rollouts.
    pub(crate) releases: HashMap<ReleaseId, Arc<Published>>,
}

/// Which releases hold a payload. Releases are never deleted and never
/// change what they hold, so the shelf only grows.
#[derive(Debug, Default)]
struct Shelf {
    known: HashSet<ReleaseId>,
    /// By payload: each release, and its tree's blob.
    payloads: HashMap<Digest, Vec<(ReleaseId, Digest)>>,
}

impl Shelf {
    /// Whether the release was new.
    fn add(&mut self, release: &Release) -> bool {
        let new = self.known.insert(release.id);
        for component in release.components.iter().filter(|_| new) {
            let entry = (release.id, component.hash_blocks);
            self.payloads.entry(component.payload).or_default().push(entry);
        }
        new
    }
}

/// The view that requests see.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    current: ArcSwap<Snapshot>,
    shelf: RwLock<Shelf>,
    /// One reader of the store at a time, so that an older view never
    /// replaces a newer one.
    reading: Mutex<()>,
}

impl Catalog {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a release that was just made onto the shelf. Nothing offers it
    /// before a rollout does.
    pub(crate) fn shelve(&self, release: &Release) {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner).add(release);
    }

    /// The releases that hold a payload, newest first, with the blob of its
    /// tree. Whether one of them is verified, the store knows.
    pub(crate) fn holders(&self, payload: &Digest) -> Vec<(ReleaseId, Digest)> {
        let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
        shelf.payloads.get(payload).into_iter().flatten().rev().copied().collect()
    }

    /// Reads the store again. On an error the old view stays.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one = self.reading.lock().await;
        let old = self.snapshot();
        let rollouts = store.active_rollouts().await?;
        let mut releases: HashMap<ReleaseId, Arc<Published>> = HashMap::new();
        for rollout in &rollouts {
            if releases.contains_key(&rollout.release) {
                continue;
            }
            let release = store.release(rollout.release).await?;
            if release.state != ReleaseState::Verified {
                continue;
            }
            let published = match old.releases.get(&release.id) {
                Some(known) if known.release == release => known.clone(),
                _ => {
                    let envelope_size = store.size(&release.envelope).await?.unwrap_or(0);
                    Arc::new(Published { release, envelope_size })
                }
            };
            releases.insert(rollout.release, published);
        }
        let offered: Vec<Release> = releases.values().map(|published| published.release.clone()).collect();
        let offers = Offers::new(&Policy { pace: Pace::AllAtOnce }, &rollouts, &offered);
        self.current.store(Arc::new(Snapshot { offers, releases }));
        self.stock(store).await
    }

    /// Reads releases from the newest on, until a whole page says nothing
    /// new: another process may have finished an older one after a newer.
    async fn stock(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut page = Page::first(PAGE_MAX);
        loop {
            let found = store.releases(None, page).await?;
            let Some(last) = found.last().map(|release| release.id) else { return Ok(()) };
            let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
            // Oldest first, so that the newest holder of a payload is last.
            let new = found.iter().rev().filter(|release| shelf.add(release)).count();
            if new == 0 {
                return Ok(());
            }
            drop(shelf);
            page = Page::after(last, PAGE_MAX);
        }
    }
}
