//! Habits in the database.

use async_trait::async_trait;
use firmseal_fleet::{Habit, HabitOf};
use firmseal_store::{Habits, StoreError};
use rusqlite::params;

use crate::LocalStore;
use crate::column::Json;
use crate::registry::one;

#[async_trait]
impl Habits for LocalStore {
    async fn habit(&self, of: &HabitOf) -> Result<Option<Habit>, StoreError> {
        let name = of.to_string();
        self.query("look up a habit", move |connection| {
            let found =
                one(connection, "SELECT habit FROM habits WHERE name = ?", [&name], |row| row.get(0))?;
            Ok(found.map(|Json(habit)| habit))
        })
        .await
    }

    async fn keep_habits(&self, habits: Vec<(HabitOf, Habit)>) -> Result<(), StoreError> {
        self.write("keep habits", move |connection| {
            let mut keep = connection.prepare_cached(
                "INSERT INTO habits (name, last, habit) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET last = ?2, habit = ?3",
            )?;
            for (of, habit) in habits {
                keep.execute(params![of.to_string(), habit.last_day(), Json(habit)])?;
            }
            Ok(())
        })
        .await
    }

    async fn forget_habits(&self, before: u32, most: u32) -> Result<u32, StoreError> {
        self.write("forget habits", move |connection| {
            let gone = connection
                .prepare_cached(
                    "DELETE FROM habits WHERE name IN (SELECT name FROM habits WHERE last < ? ORDER BY last LIMIT ?)",
                )?
                .execute([before, most])?;
            Ok(u32::try_from(gone).unwrap_or(u32::MAX))
        })
        .await
    }
}
