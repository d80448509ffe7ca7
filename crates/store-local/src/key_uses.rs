//! Signing keys and their uses in the database.

use async_trait::async_trait;
use firmseal_fleet::{KeyHour, KeyRecord, KeyState};
use firmseal_manifest::{Digest, Event, KeyChange, KeyId};
use firmseal_store::{GrantedUses, KeyUses, StoreError, WantedUses};
use rusqlite::{Connection, Row, params};

use crate::LocalStore;
use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, one};

const COLUMNS: &str = "id, name, implicit, purpose, environment, spki, entered, state";

/// Near a limit a process is granted this part of what is left.
const SHARE: u64 = 16;

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let (Hash(key), Text(name), Word(purpose), Word(environment)) =
        (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
    let (When(entered), Json(state)) = (row.get(6)?, row.get(7)?);
    Ok(KeyRecord {
        key,
        name,
        implicit: row.get(2)?,
        purpose,
        environment,
        spki: row.get(5)?,
        entered,
        state,
    })
}

fn find(connection: &Connection, key: &Digest) -> Result<Option<KeyRecord>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM keys WHERE id = ?"), [Hash(*key)], read)
}

fn known(connection: &Connection, key: &Digest) -> Result<KeyRecord, Failure> {
    find(connection, key)?.ok_or_else(|| StoreError::not_found(format!("signing key {key}")).into())
}

fn conflict<T>(what: String) -> Result<T, Failure> {
    Err(StoreError::conflict(what).into())
}

fn enter(connection: &Connection, record: &KeyRecord) -> Result<KeyRecord, Failure> {
    let KeyRecord { key, name, .. } = record;
    let named = one(connection, "SELECT id FROM keys WHERE name = ?", [name.as_str()], |row| row.get(0))?;
    if let Some(Hash(other)) = named.filter(|Hash(other)| other != key) {
        return conflict(format!(
            "`{name}` is the name of key {other}, and stays that; call key {key} something else"
        ));
    }
    let Some(there) = find(connection, key)? else {
        connection
            .prepare_cached(&format!("INSERT INTO keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?
            .execute(params![
                Hash(*key),
                name.as_str(),
                record.implicit,
                Word(record.purpose),
                Word(record.environment),
                record.spki,
                When(record.entered),
                Json(&record.state)
            ])?;
        return Ok(record.clone());
    };
    if (there.purpose, there.environment) != (record.purpose, record.environment) {
        return conflict(format!(
            "key {key} was `{}` for {} and {} here, and is never anything else",
            there.name,
            there.purpose,
            there.environment.name()
        ));
    }
    if there.name == *name || record.implicit {
        // Whoever has no table for it any more calls it what it was called.
        return Ok(there);
    }
    if !there.implicit {
        return conflict(format!("key {key} is called `{}` here; a key keeps its name", there.name));
    }
    connection
        .prepare_cached("UPDATE keys SET name = ?, implicit = 0 WHERE id = ?")?
        .execute(params![name.as_str(), Hash(*key)])?;
    known(connection, key)
}

fn set_state(connection: &Connection, key: &Digest, state: &KeyState) -> Result<KeyRecord, Failure> {
    let there = known(connection, key)?;
    if (there.state.phase, there.state.due) == (state.phase, state.due) {
        return Ok(there);
    }
    if let Some(why) = there.state.stands_against(state) {
        return conflict(format!("key `{}` cannot be {} now: {why}", there.name, state.phase.word()));
    }
    connection
        .prepare_cached("UPDATE keys SET state = ? WHERE id = ?")?
        .execute(params![Json(state), Hash(*key)])?;
    let change = KeyChange::from(state.phase);
    let due = state.due.map_or(0, |due| due.millis() / 1000);
    happened(connection, &Event::Key { key: KeyId(*key), by: state.by_id, change, due })?;
    Ok(KeyRecord { state: state.clone(), ..there })
}

fn granted(connection: &Connection, key: &Digest, hour: u64) -> Result<(u64, u64), Failure> {
    let hour = Count::new("hour", hour)?;
    let in_hour = one(
        connection,
        "SELECT granted FROM key_hours WHERE key = ? AND hour = ?",
        params![Hash(*key), hour],
        |row| row.get(0),
    )?;
    let all = one(connection, "SELECT granted FROM keys WHERE id = ?", [Hash(*key)], |row| row.get(0))?;
    Ok((in_hour.map_or(0, |Count(count)| count), all.map_or(0, |Count(count)| count)))
}

/// Adds to what was granted in an hour, or takes from it.
fn count(connection: &Connection, key: &Digest, hour: u64, more: i64) -> Result<(), Failure> {
    let hour = Count::new("hour", hour)?;
    // Two steps: the row that an upsert would insert has to pass the CHECK,
    // also where it is only added to another.
    connection
        .prepare_cached("INSERT OR IGNORE INTO key_hours (key, hour, granted) VALUES (?, ?, 0)")?
        .execute(params![Hash(*key), hour])?;
    connection
        .prepare_cached("UPDATE key_hours SET granted = granted + ? WHERE key = ? AND hour = ?")?
        .execute(params![more, Hash(*key), hour])?;
    connection
        .prepare_cached("UPDATE keys SET granted = granted + ? WHERE id = ?")?
        .execute(params![more, Hash(*key)])?;
    Ok(())
}

fn grant(connection: &Connection, wanted: &WantedUses) -> Result<GrantedUses, Failure> {
    let WantedUses { key, hour, want, limits, unused, now } = wanted;
    let record = known(connection, key)?;
    if let Some((earlier, unused)) = *unused {
        if granted(connection, key, earlier)?.0 < unused {
            return conflict(format!(
                "key `{}` was not granted the {unused} uses that come back",
                record.name
            ));
        }
        let unused = i64::try_from(unused).unwrap_or(i64::MAX);
        if unused > 0 {
            count(connection, key, earlier, -unused)?;
        }
    }
    if *want > 0 && !record.state.signs(*now) {
        let what = format!("key `{}` is {}", record.name, record.state.at(*now).word());
        return conflict(what);
    }
    let (in_hour, all) = granted(connection, key, *hour)?;
    let left = |limit: Option<u64>, have: u64| limit.map(|limit| limit.saturating_sub(have));
    let (left_in_hour, left) = (left(limits.per_hour, in_hour), left(limits.total, all));
    let share = [left_in_hour, left].into_iter().flatten().map(|left| left.min((left / SHARE).max(1))).min();
    let granted = share.map_or(*want, |share| share.min(*want)).min(u64::from(u32::MAX));
    if granted > 0 {
        count(connection, key, *hour, granted.cast_signed())?;
    }
    let less = |left: Option<u64>| left.map(|left| left - granted);
    Ok(GrantedUses { granted, left_in_hour: less(left_in_hour), left: less(left) })
}

fn note(connection: &Connection, key: &Digest, uses: &[KeyHour]) -> Result<(), Failure> {
    known(connection, key)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO key_uses (key, hour, product, caller, uses, last) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (key, hour, product, caller)
         DO UPDATE SET uses = uses + excluded.uses, last = max(last, excluded.last)",
    )?;
    for own in uses {
        let (hour, count) = (Count::new("hour", own.hour)?, Count::new("number of uses", own.uses)?);
        statement.execute(params![
            Hash(*key),
            hour,
            own.product.as_str(),
            own.caller,
            count,
            When(own.last)
        ])?;
    }
    Ok(())
}

fn read_hour(row: &Row<'_>) -> rusqlite::Result<KeyHour> {
    let (Count(hour), Text(product), Count(uses), When(last)) =
        (row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
    Ok(KeyHour { hour, product, caller: row.get(2)?, uses, last })
}

#[async_trait]
impl KeyUses for LocalStore {
    async fn enter_key(&self, record: KeyRecord) -> Result<KeyRecord, StoreError> {
        self.write("enter a signing key", move |connection| enter(connection, &record)).await
    }

    async fn key_records(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.query("list signing keys", |connection| {
            all(connection, &format!("SELECT {COLUMNS} FROM keys ORDER BY name"), [], read)
        })
        .await
    }

    async fn set_key_state(&self, key: &Digest, state: KeyState) -> Result<KeyRecord, StoreError> {
        let key = *key;
        self.write("change the state of a signing key", move |connection| set_state(connection, &key, &state))
            .await
    }

    async fn grant_uses(&self, wanted: WantedUses) -> Result<GrantedUses, StoreError> {
        self.write("grant uses of a signing key", move |connection| grant(connection, &wanted)).await
    }

    async fn note_uses(&self, key: &Digest, uses: Vec<KeyHour>) -> Result<(), StoreError> {
        let key = *key;
        self.write("note uses of a signing key", move |connection| note(connection, &key, &uses)).await
    }

    async fn key_uses(&self, key: &Digest, from: u64, until: u64) -> Result<Vec<KeyHour>, StoreError> {
        let key = *key;
        self.query("list uses of a signing key", move |connection| {
            let sql = "SELECT hour, product, caller, uses, last FROM key_uses
                       WHERE key = ? AND hour >= ? AND hour < ? ORDER BY hour, product, caller";
            let (from, until) = (Count::new("hour", from)?, Count::new("hour", until)?);
            all(connection, sql, params![Hash(key), from, until], read_hour)
        })
        .await
    }

    async fn granted(&self, key: &Digest, hour: u64) -> Result<(u64, u64), StoreError> {
        let key = *key;
        self.query("count granted uses of a signing key", move |connection| granted(connection, &key, hour))
            .await
    }
}
