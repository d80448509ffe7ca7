//! The queue: which jobs are claimed, in which order.
//!
//! Every step is a seek in the index `jobs_queue`, so that a claim costs
//! what it brings and not what waits behind it.

use std::time::Duration;

use firmseal_fleet::{Job, Priority, Time};
use firmseal_manifest::RequestId;
use firmseal_store::{Claim, ClaimedJob, Claiming, Depth, Room, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Text, When};
use crate::error::Failure;
use crate::jobs::{JOB, rank, read_at};
use crate::registry::{all, one};

/// Most shares that are looked at for one claim: bounds it where every
/// caller is a team. Turns come round all the same.
const SHARES: usize = 256;

const QUEUED: &str = "state = 'queued' AND lease_until IS NULL";

/// Claims what there is room for.
pub(crate) fn claim(connection: &Connection, claiming: &Claiming) -> Result<Vec<ClaimedJob>, Failure> {
    // Looked for first: an update of what it looks for makes a table of its own,
    // even where there is nothing.
    let over = "SELECT 1 FROM jobs WHERE lease_until <= ?";
    if connection.prepare_cached(over)?.exists([When(claiming.now)])? {
        connection
            .prepare_cached("UPDATE jobs SET lease_until = NULL WHERE lease_until <= ?")?
            .execute([When(claiming.now)])?;
    }
    let mut claimed = Vec::new();
    for room in &claiming.rooms {
        let mut left = room.most;
        for priority in Priority::ALL {
            if left == 0 {
                break;
            }
            for found in take(connection, room, priority, left, claiming)? {
                claimed.push(mark(connection, found, claiming)?);
                left -= 1;
            }
        }
    }
    Ok(claimed)
}

struct Found {
    job: Job,
    attempt: u64,
    since: Option<u64>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Found> {
    let (Count(attempt), since) = (row.get(1)?, row.get::<_, Option<Count>>(2)?);
    Ok(Found { job: read_at(row, 3)?, attempt, since: since.map(|Count(since)| since) })
}

/// Takes a job that came back damaged out of everybody's way: whatever else
/// is queued must not wait for it. Nothing of it is changed, and whoever asks
/// for it hears that it is damaged. With the next start, perhaps from a
/// backup, it is looked at again.
fn set_aside(connection: &Connection, number: i64) -> Result<(), Failure> {
    connection.prepare_cached("UPDATE jobs SET lease_until = ? WHERE n = ?")?.execute([i64::MAX, number])?;
    Ok(())
}

/// Rows that begin with their number, without those that came back damaged,
/// which are set aside.
pub(crate) fn undamaged<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let found = all(connection, sql, params, |row| {
        let number: i64 = row.get(0)?;
        match read(row) {
            Err(rusqlite::Error::FromSqlConversionFailure(..)) => Ok(Err(number)),
            found => found.map(Ok),
        }
    })?;
    let mut whole = Vec::with_capacity(found.len());
    for found in found {
        match found {
            Ok(found) => whole.push(found),
            Err(number) => set_aside(connection, number)?,
        }
    }
    Ok(whole)
}

/// Up to `most` jobs of a key and a priority, shares taking turns.
fn take(
    connection: &Connection,
    room: &Room,
    priority: Priority,
    most: u32,
    claiming: &Claiming,
) -> Result<Vec<Found>, Failure> {
    let mut shares = Vec::new();
    for share in shares_in_turn(connection, room, priority)? {
        let sql = format!(
            "SELECT n, attempt, since, {JOB} FROM jobs
             WHERE {QUEUED} AND signing_key = ?1 AND priority = ?2 AND share = ?3
               AND not_before <= ?4 AND deadline > ?4 ORDER BY n LIMIT ?5"
        );
        let given = params![room.key, rank(priority), share, When(claiming.now), most];
        let found = undamaged(connection, &sql, given, read)?;
        if !found.is_empty() {
            shares.push(found.into_iter());
        }
    }
    let mut taken = Vec::new();
    while taken.len() < most as usize && !shares.is_empty() {
        shares.retain_mut(|share| match share.next() {
            Some(found) => {
                taken.push(found);
                true
            }
            None => false,
        });
    }
    // What the last round brought too much was nobody's turn yet.
    taken.truncate(most as usize);
    Ok(taken)
}

/// Shares with something in the queue, beginning after the one whose turn
/// was last.
fn shares_in_turn(connection: &Connection, room: &Room, priority: Priority) -> Result<Vec<String>, Failure> {
    // One seek for each share ("skip-scan"), in their order.
    let sql = format!(
        "SELECT share FROM jobs WHERE {QUEUED} AND signing_key = ?1 AND priority = ?2 AND share > ?3
         ORDER BY share LIMIT 1"
    );
    let from = room.after.as_deref().unwrap_or("");
    let mut shares: Vec<String> = Vec::new();
    let (mut last, mut wrapped) = (from.to_owned(), false);
    while shares.len() < SHARES {
        let next =
            one(connection, &sql, params![room.key, rank(priority), last], |row| row.get::<_, String>(0))?;
        match next {
            Some(share) if wrapped && share.as_str() > from => break,
            Some(share) => {
                last.clone_from(&share);
                shares.push(share);
            }
            None if wrapped || from.is_empty() => break,
            None => {
                wrapped = true;
                last.clear();
            }
        }
    }
    Ok(shares)
}

fn mark(connection: &Connection, found: Found, claiming: &Claiming) -> Result<ClaimedJob, Failure> {
    let Found { job, attempt, since } = found;
    let claim = Claim { request: job.id, attempt: attempt + 1 };
    // Until somebody accounts for it, an earlier claim's first index stands.
    connection
        .prepare_cached(
            "UPDATE jobs SET attempt = ?, lease_until = ?, since = coalesce(since, ?) WHERE id = ?",
        )?
        .execute(params![
            Count(claim.attempt),
            When(claiming.now.plus(claiming.lease)),
            Count::new("log index", claiming.log_size)?,
            Text(job.id)
        ])?;
    Ok(ClaimedJob { job, claim, unseen_since: since })
}

/// Has claims that hold still do so for longer.
pub(crate) fn renew(
    connection: &Connection,
    claims: &[Claim],
    now: Time,
    lease: Duration,
) -> Result<(), Failure> {
    let mut renew = connection.prepare_cached(
        "UPDATE jobs SET lease_until = ?1
         WHERE id = ?2 AND attempt = ?3 AND lease_until IS NOT NULL AND deadline > ?4",
    )?;
    for claim in claims {
        renew.execute(params![
            When(now.plus(lease)),
            Text(claim.request),
            Count(claim.attempt),
            When(now)
        ])?;
    }
    Ok(())
}

/// Ends the claims on all jobs but these.
pub(crate) fn end_others(connection: &Connection, held: &[RequestId]) -> Result<(), Failure> {
    let sql = "SELECT id FROM jobs WHERE lease_until IS NOT NULL";
    let claimed = all(connection, sql, [], |row| row.get(0).map(|Text(id)| id))?;
    let mut end = connection.prepare_cached("UPDATE jobs SET lease_until = NULL WHERE id = ?")?;
    for id in claimed.into_iter().filter(|id| !held.contains(id)) {
        end.execute([Text(id)])?;
    }
    Ok(())
}

/// How long the queues are.
pub(crate) fn depths(connection: &Connection) -> Result<Vec<Depth>, Failure> {
    // Counted in the index alone; of each queue one row is read.
    let sql = format!(
        "SELECT signing_key, priority, queued, (SELECT created FROM jobs WHERE jobs.n = first)
         FROM (SELECT signing_key, priority, count(*) AS queued, min(n) AS first FROM jobs
               WHERE {QUEUED} GROUP BY signing_key, priority)
         ORDER BY signing_key, priority"
    );
    let rows = all(connection, &sql, [], |row| {
        let (Count(queued), When(oldest)) = (row.get(2)?, row.get(3)?);
        Ok((row.get::<_, String>(0)?, row.get::<_, u8>(1)?, queued, oldest))
    })?;
    rows.into_iter()
        .map(|(key, number, queued, oldest)| {
            let priority = Priority::ALL.into_iter().find(|priority| rank(*priority) == number);
            let priority = priority.ok_or_else(|| StoreError::corrupt(format!("priority {number}")))?;
            Ok(Depth { key, priority, queued, oldest })
        })
        .collect()
}
