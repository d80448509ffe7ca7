//! The audit trail in the database.

use async_trait::async_trait;
use firmseal_fleet::audit::Circumstances;
use firmseal_fleet::{AuditRecord, Time};
use firmseal_manifest::Event;
use firmseal_store::{AuditFilter, AuditPosition, AuditTrail, Happened, Page, StoreError, Unrecorded};
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use crate::LocalStore;
use crate::column::{Count, Json, Text, When, Word};
use crate::error::Failure;
use crate::registry::{all, limit, one};

fn position(connection: &Connection) -> Result<AuditPosition, Failure> {
    let found = one(connection, "SELECT event, signature FROM audit_position", [], |row| {
        let (Count(event), Count(signature)) = (row.get(0)?, row.get(1)?);
        Ok(AuditPosition { event, signature })
    })?;
    found.ok_or_else(|| StoreError::corrupt("the position of the audit trail").into())
}

/// Number, leaf, index and circumstances.
type EventRow = (Count, Vec<u8>, Option<Count>, Option<Json<Box<Circumstances>>>);

pub(crate) fn unrecorded(connection: &Connection, limit: u32) -> Result<Unrecorded, Failure> {
    let since = position(connection)?;
    let (mut until, mut happened) = (since, Vec::new());
    let signatures = all(
        connection,
        "SELECT signatures.n, signature, asked FROM signatures LEFT JOIN jobs ON jobs.id = request
         WHERE signatures.n > ? ORDER BY signatures.n LIMIT ?",
        params![Count(since.signature), limit],
        |row| {
            let (Count(number), Json(signature)) = (row.get(0)?, row.get(1)?);
            let asked = row.get::<_, Option<Json<_>>>(2)?.map(|Json(asked)| asked);
            Ok((number, Happened::Signature { signature, asked }))
        },
    )?;
    for (number, signature) in signatures {
        until.signature = number;
        happened.push(signature);
    }
    let events: Vec<EventRow> = all(
        connection,
        "SELECT number, event, log_index, circumstances FROM events WHERE number > ? ORDER BY number LIMIT ?",
        params![Count(since.event), limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    for (Count(number), leaf, index, circumstances) in events {
        let Some(Count(log_index)) = index else { break };
        let event = Event::decode(&leaf).ok_or_else(|| StoreError::corrupt(format!("event {number}")))?;
        until.event = number;
        let circumstances = circumstances.map(|Json(known)| known);
        happened.push(Happened::Event { event, log_index, circumstances });
    }
    Ok(Unrecorded { since, until, happened })
}

fn record(
    connection: &Connection,
    since: AuditPosition,
    until: AuditPosition,
    records: Vec<AuditRecord>,
) -> Result<(), Failure> {
    if position(connection)? != since {
        return Err(StoreError::conflict("somebody else has recorded what happened").into());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO audit (time, action, who, product, key, request, build, source_commit, record)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut name = connection
        .prepare_cached("INSERT OR IGNORE INTO audit_artifacts (artifact, number) VALUES (?, ?)")?;
    for record in records {
        let subject = &record.subject;
        let who = record.caller.as_ref().map(|caller| &caller.name).or(record.by.as_ref());
        insert.execute(params![
            When(record.time),
            Word(record.action),
            who,
            subject.product.as_ref().map(|product| product.as_str()),
            subject.key,
            subject.request.map(Text),
            subject.build,
            subject.commit,
            Json(&record),
        ])?;
        let number = connection.last_insert_rowid();
        for artifact in subject.digest.iter().chain(&subject.artifacts) {
            name.execute(params![Text(*artifact), number])?;
        }
    }
    // From here on the records alone have names, which go with them.
    connection
        .prepare_cached(
            "UPDATE events SET circumstances = NULL
             WHERE number > ? AND number <= ? AND circumstances IS NOT NULL",
        )?
        .execute(params![Count(since.event), Count(until.event)])?;
    connection
        .prepare_cached("UPDATE audit_position SET event = ?, signature = ?")?
        .execute(params![Count(until.event), Count(until.signature)])?;
    Ok(())
}

/// A record under the number that its row has.
fn read(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let (Count(number), Json(record)) = (row.get(0)?, row.get::<_, Json<AuditRecord>>(1)?);
    Ok(AuditRecord { number, ..record })
}

#[async_trait]
impl AuditTrail for LocalStore {
    async fn unrecorded(&self, limit: u32) -> Result<Unrecorded, StoreError> {
        self.query("look for what is not on record", move |connection| unrecorded(connection, limit)).await
    }

    async fn record(
        &self,
        since: AuditPosition,
        until: AuditPosition,
        records: Vec<AuditRecord>,
    ) -> Result<(), StoreError> {
        self.write("put on record what happened", move |connection| record(connection, since, until, records))
            .await
    }

    async fn audit_records(
        &self,
        filter: AuditFilter,
        page: Page<u64>,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.query("read the audit trail", move |connection| {
            let AuditFilter { from, before, by, action, product, key, request, artifact, build, commit } =
                filter;
            let boxed = |value: Option<String>| value.map(|value| Box::new(value) as Box<dyn ToSql>);
            let number = |value: Option<Time>| value.map(|value| Box::new(When(value)) as Box<dyn ToSql>);
            let wanted = [
                ("time >= ?", number(from)),
                ("time < ?", number(before)),
                ("who = ?", boxed(by)),
                ("action = ?", boxed(action.map(|action| action.word().to_owned()))),
                ("product = ?", boxed(product.map(|product| product.to_string()))),
                ("key = ?", boxed(key)),
                ("request = ?", boxed(request.map(|request| request.to_string()))),
                ("build = ?", boxed(build)),
                ("source_commit = ?", boxed(commit)),
                (
                    "number IN (SELECT number FROM audit_artifacts WHERE artifact = ?)",
                    boxed(artifact.map(|artifact| artifact.to_string())),
                ),
                ("number < ?", page.after.map(|after| Box::new(Count(after)) as Box<dyn ToSql>)),
            ];
            // Only what is asked for stands in the statement: an index serves
            // nobody behind `OR`.
            let (mut sql, mut given) = ("SELECT number, record FROM audit".to_owned(), Vec::new());
            for (condition, value) in wanted {
                if let Some(value) = value {
                    sql += if given.is_empty() { " WHERE " } else { " AND " };
                    sql += condition;
                    given.push(value);
                }
            }
            sql += " ORDER BY number DESC LIMIT ?";
            given.push(Box::new(limit(&page)));
            all(connection, &sql, params_from_iter(given), read)
        })
        .await
    }

    async fn records_after(&self, number: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.query("read the audit trail", move |connection| {
            let sql = "SELECT number, record FROM audit WHERE number > ? ORDER BY number LIMIT ?";
            all(connection, sql, params![Count::new("record", number)?, limit], read)
        })
        .await
    }

    async fn told(&self, receiver: &str) -> Result<u64, StoreError> {
        let receiver = receiver.to_owned();
        self.write("look up what a receiver was told", move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO audit_receivers (name, told)
                     VALUES (?, (SELECT coalesce(max(number), 0) FROM audit)) ON CONFLICT DO NOTHING",
                )?
                .execute([&receiver])?;
            let told =
                one(connection, "SELECT told FROM audit_receivers WHERE name = ?", [&receiver], |row| {
                    row.get(0)
                })?;
            Ok(told.map_or(0, |Count(told)| told))
        })
        .await
    }

    async fn set_told(&self, receiver: &str, number: u64) -> Result<(), StoreError> {
        let receiver = receiver.to_owned();
        self.write("note what a receiver was told", move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO audit_receivers (name, told) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET told = max(told, ?2)",
                )?
                .execute(params![receiver, Count::new("record", number)?])?;
            Ok(())
        })
        .await
    }

    async fn forget_records(&self, before: Time, most: u32) -> Result<u32, StoreError> {
        self.write("forget records", move |connection| {
            let chosen = "SELECT number FROM audit WHERE time < ?1 ORDER BY number LIMIT ?2";
            let given = params![When(before), most];
            connection
                .prepare_cached(&format!("DELETE FROM audit_artifacts WHERE number IN ({chosen})"))?
                .execute(given)?;
            let gone = connection
                .prepare_cached(&format!("DELETE FROM audit WHERE number IN ({chosen})"))?
                .execute(given)?;
            Ok(u32::try_from(gone).unwrap_or(u32::MAX))
        })
        .await
    }
}
