//! What is usual: the habits of keys and callers, in memory, and written down
//! from time to time.
//!
//! Learned is what brought a signature, and nothing else: whoever is refused
//! or held teaches nobody. Where the store cannot say what is usual nothing is
//! signed, for then nobody knows.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firmseal_fleet::habit::Use;
use firmseal_fleet::{Asked, Deviation, Habit, HabitOf, Time};
use firmseal_store::StoreError;

use crate::pipeline::Pipeline;
use crate::signing_key::SigningKey;

/// Habits in memory above which those that nobody asked for in an hour go.
const KEPT: usize = 4096;
const IDLE: Duration = Duration::from_secs(3600);
/// Days without a use after which a habit is forgotten for good, and how many
/// at once.
const FORGOTTEN: u32 = 400;
const AT_ONCE: u32 = 1000;

/// A habit in memory.
struct Known {
    habit: Habit,
    /// Whether the store has another one.
    changed: bool,
    asked: Time,
}

/// Habits in memory.
#[derive(Default)]
pub(crate) struct Usual(Mutex<HashMap<HabitOf, Known>>);

impl Usual {
    fn lock(&self) -> MutexGuard<'_, HashMap<HabitOf, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn habits_of(key: &SigningKey, asked: &Asked) -> [HabitOf; 2] {
    [HabitOf::Key(key.name().to_string()), HabitOf::Caller(asked.caller.name.clone())]
}

fn use_of(asked: &Asked, at: Time) -> Use<'_> {
    Use { product: &asked.product, source: asked.caller.source, at }
}

impl Pipeline {
    /// In which ways a use departs from the habits of its key and its caller.
    pub(crate) async fn unusual(
        &self,
        key: &SigningKey,
        asked: &Asked,
        now: Time,
    ) -> Result<BTreeSet<Deviation>, StoreError> {
        let mut found = BTreeSet::new();
        for of in habits_of(key, asked) {
            loop {
                if let Some(known) = self.usual.lock().get_mut(&of) {
                    known.asked = now;
                    found.extend(known.habit.deviations(use_of(asked, now)));
                    break;
                }
                // Without the lock: others' jobs do not wait for the store.
                let habit = self.store().habit(&of).await?.unwrap_or_default();
                let known = Known { habit, changed: false, asked: now };
                self.usual.lock().entry(of.clone()).or_insert(known);
            }
        }
        Ok(found)
    }

    /// Which of these nobody was told of in this hour, for key or caller.
    pub(crate) fn untold(
        &self,
        key: &SigningKey,
        asked: &Asked,
        found: &BTreeSet<Deviation>,
        now: Time,
    ) -> BTreeSet<Deviation> {
        let mut fresh = BTreeSet::new();
        if found.is_empty() {
            return fresh;
        }
        let mut habits = self.usual.lock();
        for of in habits_of(key, asked) {
            if let Some(known) = habits.get_mut(&of) {
                fresh.extend(known.habit.tell(found, now));
                known.changed = true;
            }
        }
        fresh
    }

    /// A signature was made: from here on its like is usual.
    pub(crate) fn learn(&self, key: &SigningKey, asked: &Asked, now: Time) {
        let mut habits = self.usual.lock();
        for of in habits_of(key, asked) {
            // It is there: its deviations were asked for a moment ago.
            if let Some(known) = habits.get_mut(&of) {
                known.habit.learn(use_of(asked, now));
                known.changed = true;
            }
        }
    }

    /// Writes down what was learned. May be called at any time, and is when a
    /// service ends.
    pub async fn keep_habits(&self, now: Time) -> Result<(), StoreError> {
        let changed: Vec<(HabitOf, Habit)> = {
            let mut habits = self.usual.lock();
            let one = |(of, known): (&HabitOf, &mut Known)| {
                std::mem::take(&mut known.changed).then(|| (of.clone(), known.habit.clone()))
            };
            habits.iter_mut().filter_map(one).collect()
        };
        if !changed.is_empty() {
            let names: Vec<HabitOf> = changed.iter().map(|(of, _)| of.clone()).collect();
            if let Err(error) = self.store().keep_habits(changed).await {
                let mut habits = self.usual.lock();
                for of in &names {
                    if let Some(known) = habits.get_mut(of) {
                        known.changed = true;
                    }
                }
                return Err(error);
            }
        }
        let mut habits = self.usual.lock();
        if habits.len() > KEPT {
            habits.retain(|_, known| known.changed || known.asked.plus(IDLE) > now);
        }
        Ok(())
    }

    /// Forgets habits of whoever was not seen for longer than a year.
    pub async fn forget_habits(&self, now: Time) -> Result<(), StoreError> {
        let today = u32::try_from(now.millis() / 86_400_000).unwrap_or(u32::MAX);
        let Some(before) = today.checked_sub(FORGOTTEN) else { return Ok(()) };
        while self.store().forget_habits(before, AT_ONCE).await? == AT_ONCE {}
        Ok(())
    }
}
