//! Quotas: uses of a key that the store has granted to this process, and
//! what became of them.
//!
//! The store counts uses when it grants them, in blocks; here they are handed
//! out one by one, without a write. What is not used in its hour is given
//! back with the next request. A crash wastes a block and never exceeds a
//! limit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use firmseal_fleet::signing_key::{hour_begins, hour_of};
use firmseal_fleet::{KeyHour, Time};
use firmseal_manifest::{Digest, KeyName, ProductId};
use firmseal_store::{Store, StoreError, WantedUses};

use crate::error::PipelineError;
use crate::key_rules::{KeyLimits, KeyRefusal};

/// Uses that are asked for at once: at 3,000 signatures a second a dozen
/// writes, which go along with others.
const BLOCK: u64 = 256;

/// What one process has been granted, and has seen.
#[derive(Default)]
pub(crate) struct Quota {
    held: Mutex<Held>,
    /// One request to the store at a time; whoever waits finds what it
    /// brought.
    asking: tokio::sync::Mutex<()>,
    seen: Mutex<BTreeMap<Which, (u64, Time)>>,
    /// Uses since the process began.
    uses: AtomicU64,
}

/// Uses in an hour, for a product, by a caller.
type Which = (u64, ProductId, String);

#[derive(Clone, Copy, Default)]
struct Held {
    hour: u64,
    left: u64,
    /// The hour in which the store had no more.
    empty: Option<u64>,
    /// Whether the key itself had no more.
    spent: bool,
}

/// Whose quota it is.
pub(crate) struct Whose<'a> {
    pub(crate) name: &'a KeyName,
    pub(crate) key: Digest,
    pub(crate) limits: KeyLimits,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that runs under these locks leaves a value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Quota {
    /// Takes one use in the hour of `now`, and says which hour that is.
    pub(crate) async fn take(
        &self,
        store: &dyn Store,
        whose: Whose<'_>,
        now: Time,
    ) -> Result<u64, PipelineError> {
        let hour = hour_of(now);
        if whose.limits.is_open() {
            return Ok(hour);
        }
        loop {
            if self.take_held(hour) {
                return Ok(hour);
            }
            let _asking = self.asking.lock().await;
            // Whoever asked before may have brought enough.
            let held = *lock(&self.held);
            if held.hour == hour && held.left > 0 {
                continue;
            }
            self.refuse_empty(&whose, now, held)?;
            // From here on nobody has them: if the outcome is not seen, they
            // are lost, and nobody gives them back twice.
            let unused = self.surrender();
            let wanted = WantedUses {
                key: whose.key,
                hour,
                want: BLOCK,
                limits: whose.limits,
                unused: (unused.1 > 0).then_some(unused),
                now,
            };
            let granted = store.grant_uses(wanted).await?;
            let mut held = lock(&self.held);
            *held = Held { hour, left: granted.granted, empty: None, spent: false };
            if granted.granted == 0 {
                held.spent = granted.left == Some(0);
                held.empty = Some(hour);
                let held = *held;
                self.refuse_empty(&whose, now, held)?;
            }
        }
    }

    fn take_held(&self, hour: u64) -> bool {
        let mut held = lock(&self.held);
        let has = held.hour == hour && held.left > 0;
        if has {
            held.left -= 1;
        }
        has
    }

    fn surrender(&self) -> (u64, u64) {
        let mut held = lock(&self.held);
        (held.hour, std::mem::take(&mut held.left))
    }

    /// Says that a limit is reached, without asking the store again and
    /// again.
    fn refuse_empty(&self, whose: &Whose<'_>, now: Time, held: Held) -> Result<(), KeyRefusal> {
        let (key, hour) = (whose.name.clone(), hour_of(now));
        match (held, whose.limits) {
            (Held { spent: true, .. }, KeyLimits { total: Some(limit), .. }) => {
                Err(KeyRefusal::Spent { key, limit })
            }
            (Held { empty: Some(empty), .. }, KeyLimits { per_hour: Some(limit), .. }) if empty == hour => {
                let until = hour_begins(hour + 1);
                let seconds = (until.millis() - now.millis()).div_ceil(1000);
                Err(KeyRefusal::HourlyLimit { key, limit, until, seconds })
            }
            _ => Ok(()),
        }
    }

    /// Puts a use back that was not made.
    pub(crate) fn put_back(&self, hour: u64) {
        let mut held = lock(&self.held);
        // One of another hour is wasted: it may have been given back.
        if held.hour == hour {
            held.left += 1;
        }
    }

    /// Remembers a use.
    pub(crate) fn saw(&self, hour: u64, product: ProductId, caller: String, now: Time) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        let mut seen = lock(&self.seen);
        let (uses, last) = seen.entry((hour, product, caller)).or_insert((0, now));
        *uses += 1;
        *last = now.max(*last);
    }

    /// How many uses were seen since the process began.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Writes down what was seen. What cannot be written stays for the next
    /// time.
    pub(crate) async fn note(&self, store: &dyn Store, key: &Digest) -> Result<(), StoreError> {
        let seen = std::mem::take(&mut *lock(&self.seen));
        if seen.is_empty() {
            return Ok(());
        }
        let rows = seen.iter().map(|((hour, product, caller), (uses, last))| KeyHour {
            hour: *hour,
            product: product.clone(),
            caller: caller.clone(),
            uses: *uses,
            last: *last,
        });
        let outcome = store.note_uses(key, rows.collect()).await;
        if outcome.is_err() {
            let mut back = lock(&self.seen);
            for (which, (uses, last)) in seen {
                let own = back.entry(which).or_insert((0, last));
                *own = (own.0 + uses, last.max(own.1));
            }
        }
        outcome
    }

    /// Gives back what is held, when the process ends.
    pub(crate) async fn give_back(
        &self,
        store: &dyn Store,
        whose: Whose<'_>,
        now: Time,
    ) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        let unused = self.surrender();
        if unused.1 == 0 {
            return Ok(());
        }
        let wanted = WantedUses {
            key: whose.key,
            hour: unused.0,
            want: 0,
            limits: whose.limits,
            unused: Some(unused),
            now,
        };
        store.grant_uses(wanted).await.map(drop)
    }
}
