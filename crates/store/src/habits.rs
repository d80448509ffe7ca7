//! Habits: how keys and callers are usually used.

use async_trait::async_trait;
use firmseal_fleet::{Habit, HabitOf};

use crate::StoreError;

/// Habits.
///
/// Whoever learns keeps them in memory and writes them down from time to
/// time: what a crash takes away is a few uses that are not usual yet, which
/// makes nobody less careful.
#[async_trait]
pub trait Habits: Send + Sync {
    /// A habit, if there is one.
    async fn habit(&self, of: &HabitOf) -> Result<Option<Habit>, StoreError>;

    /// Keeps habits in the place of those that were there.
    async fn keep_habits(&self, habits: Vec<(HabitOf, Habit)>) -> Result<(), StoreError>;

    /// Forgets habits that saw nothing since before this day, counted from
    /// 1970, at most so many; how many they were.
    async fn forget_habits(&self, before: u32, most: u32) -> Result<u32, StoreError>;
}
