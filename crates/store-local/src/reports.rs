//! What devices said, in the database.

use firmseal_fleet::{Report, ReportId, Time};
use firmseal_manifest::{DeviceId, RolloutId};
use firmseal_store::fleet::REPORTS_MAX;
use firmseal_store::{Observation, Observed, Page, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Json, Text, When};
use crate::devices::{get_device, set_equipment, set_running, update};
use crate::error::Failure;
use crate::registry::{all, limit};

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
    let Observation { device, now, running, equipment, reports } = observation;
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
    Ok(observed)
}

/// Records a report; says whether it is new. Only a new one can put a hold
/// on a release: otherwise sending an old batch again would undo a retry
/// that a person has asked for since.
fn insert(connection: &Connection, report: &Report, received: Time) -> Result<bool, Failure> {
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT INTO reports ({COLUMNS}, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (device, id) DO NOTHING"
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

pub(crate) fn of_rollout(
    connection: &Connection,
    rollout: RolloutId,
    page: &Page<(DeviceId, ReportId)>,
) -> Result<Vec<Report>, Failure> {
    let (device, report) = page.after.unzip();
    let sql = format!(
        "SELECT {COLUMNS} FROM reports WHERE rollout = ?1
         AND (?2 IS NULL OR n < (SELECT n FROM reports WHERE device = ?2 AND id = ?3))
         ORDER BY n DESC LIMIT ?4"
    );
    all(connection, &sql, params![Text(rollout), device.map(Text), report.map(Text), limit(page)], read)
}
