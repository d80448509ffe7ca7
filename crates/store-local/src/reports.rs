//! What devices said, in the database.

use firmseal_fleet::{DeviceState, Report, ReportId, Time};
use firmseal_manifest::{DeviceId, RolloutId};
use firmseal_store::fleet::{DAY, REPORTS_MAX};
use firmseal_store::{Observation, Observed, Page, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Json, Text, When, Word};
use crate::devices::{get_device, set_equipment, set_running, update};
use crate::error::Failure;
use crate::registry::{all, limit, one};

const COLUMNS: &str =
    "device, id, rollout, release, build, request, phase, time, blocks_fetched, blocks_resumed";

fn read(row: &Row<'_>) -> rusqlite::Result<Report> {
    fn optional<T>(text: Option<Text<T>>) -> Option<T> {
        text.map(|Text(value)| value)
    }
    let (Text(device), Text(id), Json(phase)) = (row.get(0)?, row.get(1)?, row.get(6)?);
    let (When(time), Count(blocks_fetched), Count(blocks_resumed)) = (row.get(7)?, row.get(8)?, row.get(9)?);
    Ok(Report {
        id: ReportId(id),
        device,
        rollout: optional(row.get(2)?),
        release: optional(row.get(3)?),
        build: row.get(4)?,
        request: optional(row.get(5)?),
        phase,
        time,
        blocks_fetched,
        blocks_resumed,
    })
}

/// Takes in all of an observation, or fails and leaves nothing of it.
pub(crate) fn observe(connection: &Connection, observation: &Observation) -> Result<Observed, Failure> {
    let Observation { device, now, running, equipment, reports, most } = observation;
    if reports.len() > REPORTS_MAX {
        return Err(StoreError::conflict(format!("send at most {REPORTS_MAX} reports at a time")).into());
    }
    update(
        connection,
        *device,
        "UPDATE devices SET last_seen = max(coalesce(last_seen, 0), ?) WHERE id = ?",
        params![When(*now), Text(*device)],
    )?;
    if let Some(running) = running {
        set_running(connection, *device, running)?;
    }
    if let Some(equipment) = equipment {
        set_equipment(connection, *device, equipment)?;
    }
    let mut observed = Observed::default();
    for report in reports {
        if report.device != *device {
            return Err(StoreError::conflict("a device reports for itself only").into());
        }
        report.check().map_err(|error| StoreError::conflict(error.to_string()))?;
        if insert(connection, report, *now)? {
            observed.recorded += 1;
        } else {
            observed.known += 1;
        }
    }
    // Counted after the insert: whoever is above it takes the whole batch
    // back, and one that brings only what is known is always answered.
    if observed.recorded > 0 && since(connection, RECENT, *device, *now, *most)? > *most {
        return Err(StoreError::Quota { what: format!("device {device} has sent {most} reports") }.into());
    }
    Ok(observed)
}

const RECENT: &str = "SELECT count(*) FROM (SELECT 1 FROM reports WHERE device = ? AND received > ? LIMIT ?)";

/// How many rows a device added within the day that ends now. Counting
/// stops one above `most`.
pub(crate) fn since(
    connection: &Connection,
    sql: &str,
    device: DeviceId,
    now: Time,
    most: u32,
) -> Result<u32, Failure> {
    let begin = now.millis().saturating_sub(DAY.as_millis() as u64);
    let params = params![Text(device), When(Time::from_millis(begin)), i64::from(most) + 1];
    Ok(connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}

/// Records a report; says whether it is new. Only a new one can put a hold
/// on a release: otherwise sending an old batch again would undo a retry
/// that a person has asked for since.
fn insert(connection: &Connection, report: &Report, received: Time) -> Result<bool, Failure> {
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT INTO reports ({COLUMNS}, received) VALUES (?1, ?2,
             (SELECT r.id FROM rollouts r JOIN devices d ON d.product = r.product WHERE r.id = ?3 AND d.id = ?1),
             ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (device, id) DO NOTHING"
        ))?
        .execute(params![
            Text(report.device),
            Text(report.id),
            report.rollout.map(Text),
            report.release.map(Text),
            report.build,
            report.request.map(Text),
            Json(&report.phase),
            When(report.time),
            Count::new("count of blocks", report.blocks_fetched)?,
            Count::new("count of blocks", report.blocks_resumed)?,
            When(received)
        ])?;
    if inserted == 0 {
        return Ok(false);
    }
    if let Some(release) = report.holds() {
        // Only a release that exists: a device cannot fill the table with
        // names it made up.
        connection
            .prepare_cached(
                "INSERT INTO holds (device, release) SELECT ?1, id FROM releases WHERE id = ?2
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![Text(report.device), Text(release)])?;
    }
    Ok(true)
}

pub(crate) fn touch(connection: &Connection, seen: &[(DeviceId, Time)]) -> Result<(), Failure> {
    let mut statement = connection
        .prepare_cached("UPDATE devices SET last_seen = max(coalesce(last_seen, 0), ?) WHERE id = ?")?;
    for (device, time) in seen {
        statement.execute(params![When(*time), Text(*device)])?;
    }
    Ok(())
}

pub(crate) fn heard(connection: &Connection, since: Time) -> Result<(u64, u64), Failure> {
    let sql = "SELECT coalesce(sum(last_seen >= ?), 0), count(*) FROM devices WHERE state = ?";
    let found = one(connection, sql, params![When(since), Word(DeviceState::Active)], |row| {
        let (Count(heard), Count(all)) = (row.get(0)?, row.get(1)?);
        Ok((heard, all))
    })?;
    Ok(found.unwrap_or_default())
}

pub(crate) fn of_device(
    connection: &Connection,
    device: DeviceId,
    page: &Page<ReportId>,
) -> Result<Vec<Report>, Failure> {
    get_device(connection, device)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM reports WHERE device = ?1
         AND (?2 IS NULL OR n < (SELECT n FROM reports WHERE device = ?1 AND id = ?2))
         ORDER BY n DESC LIMIT ?3"
    );
    all(connection, &sql, params![Text(device), page.after.map(Text), limit(page)], read)
}

/// The newest report of each device about a rollout. Devices of another
/// product are left out here as well: reports from before they were left out
/// on arrival may name it.
pub(crate) fn outcomes(
    connection: &Connection,
    rollout: RolloutId,
    page: &Page<DeviceId>,
) -> Result<Vec<Report>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM reports WHERE n IN (
             SELECT max(r.n) FROM reports r
             JOIN rollouts o ON o.id = r.rollout JOIN devices d ON d.id = r.device AND d.product = o.product
             WHERE r.rollout = ?1 AND r.device > coalesce(?2, '') GROUP BY r.device ORDER BY r.device LIMIT ?3)
         ORDER BY device"
    );
    all(connection, &sql, params![Text(rollout), page.after.map(Text), limit(page)], read)
}
