//! Events on their way into the log, in the database.

use async_trait::async_trait;
use firmseal_fleet::audit::Circumstances;
use firmseal_manifest::Event;
use firmseal_store::{Events, StoreError, WaitingEvent};
use rusqlite::{Connection, params};

use crate::LocalStore;
use crate::column::{Count, Json};
use crate::error::Failure;
use crate::registry::all;

/// Notes an event, in the transaction that makes it happen.
pub(crate) fn happened(connection: &Connection, event: &Event) -> Result<(), Failure> {
    note(connection, event, None)
}

/// Notes an event with what the log does not say of it.
pub(crate) fn note(
    connection: &Connection,
    event: &Event,
    circumstances: Option<&Circumstances>,
) -> Result<(), Failure> {
    connection
        .prepare_cached("INSERT INTO events (event, circumstances) VALUES (?, ?)")?
        .execute(params![event.encode(), circumstances.map(Json)])?;
    Ok(())
}

#[async_trait]
impl Events for LocalStore {
    async fn note(&self, event: Event, circumstances: Option<Circumstances>) -> Result<(), StoreError> {
        self.write("note an event", move |connection| note(connection, &event, circumstances.as_ref())).await
    }

    async fn waiting_events(&self, limit: u32) -> Result<Vec<WaitingEvent>, StoreError> {
        self.query("list events that wait", move |connection| {
            let sql = "SELECT number, event FROM events WHERE log_index IS NULL ORDER BY number LIMIT ?";
            let rows: Vec<(Count, Vec<u8>)> =
                all(connection, sql, [limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.into_iter()
                .map(|(Count(number), leaf)| {
                    let event = Event::decode(&leaf);
                    let event = event.ok_or_else(|| StoreError::corrupt(format!("event {number}")))?;
                    Ok(WaitingEvent { number, event })
                })
                .collect()
        })
        .await
    }

    async fn events_entered(&self, entered: Vec<(u64, u64)>) -> Result<(), StoreError> {
        self.write("note where events stand in the log", move |connection| {
            let mut statement = connection
                .prepare_cached("UPDATE events SET log_index = ? WHERE number = ? AND log_index IS NULL")?;
            for (number, index) in &entered {
                statement
                    .execute(params![Count::new("log index", *index)?, Count::new("event", *number)?])?;
            }
            Ok(())
        })
        .await
    }
}
