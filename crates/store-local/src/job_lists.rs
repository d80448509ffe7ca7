//! Lists of jobs: for people, and of those that are to be accounted for.

use firmseal_fleet::{Job, JobState, Time};
use firmseal_manifest::{Event, RequestId};
use firmseal_store::{JobFilter, Page, Unaccounted};
use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use crate::column::{Count, Json, Text, When, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::jobs::{ENDED, JOB, known, read_at};
use crate::registry::{all, limit};

/// Those of a filter, newest first. Only conditions that are asked for stand
/// in the statement, so that each finds its index.
pub(crate) fn list(
    connection: &Connection,
    filter: &JobFilter,
    page: &Page<RequestId>,
) -> Result<Vec<Job>, Failure> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut given: Vec<Box<dyn ToSql>> = Vec::new();
    let mut wanted = |condition: &'static str, value: Box<dyn ToSql>| {
        conditions.push(condition);
        given.push(value);
    };
    match filter.state {
        None => {}
        Some(state @ JobState::Signed) => wanted("state = ?", Box::new(Word(state))),
        // The second condition is that of the index.
        Some(state) => wanted("state = ? AND state <> 'signed'", Box::new(Word(state))),
    }
    if let Some(product) = &filter.product {
        wanted("product = ?", Box::new(product.as_str().to_owned()));
    }
    if let Some(key) = &filter.signing_key {
        wanted("signing_key = ?", Box::new(key.clone()));
    }
    if let Some(requester) = &filter.requester {
        wanted("requester = ?", Box::new(requester.clone()));
    }
    if let Some(after) = page.after {
        wanted("n < (SELECT n FROM jobs WHERE id = ?)", Box::new(Text(after)));
    }
    let conditions = match conditions.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", conditions.join(" AND ")),
    };
    let sql = format!("SELECT {JOB} FROM jobs {conditions} ORDER BY n DESC LIMIT ?");
    given.push(Box::new(limit(page)));
    all(connection, &sql, rusqlite::params_from_iter(given), |row| read_at(row, 0))
}

/// Ended jobs whose claims nobody has accounted for.
pub(crate) fn unaccounted(
    connection: &Connection,
    now: Time,
    most: u32,
) -> Result<Vec<Unaccounted>, Failure> {
    let sql = format!(
        "SELECT since, {JOB} FROM jobs
         WHERE since IS NOT NULL AND {ENDED}
           AND (lease_until IS NULL OR lease_until <= ?) ORDER BY n"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![When(now)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() == most as usize {
            break;
        }
        let Count(since) = row.get(0)?;
        match read_at(row, 1) {
            Ok(job) => found.push(Unaccounted { job, since }),
            // It stays as it is, and keeps none behind it from its account.
            Err(rusqlite::Error::FromSqlConversionFailure(..)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Notes what was found of one of them.
pub(crate) fn account(
    connection: &Connection,
    id: RequestId,
    since: u64,
    failures: u32,
    events: &[Event],
) -> Result<(), Failure> {
    let Job { mut progress, .. } = known(connection, id)?;
    progress.failures = progress.failures.saturating_add(failures);
    let changed = connection
        .prepare_cached(&format!(
            "UPDATE jobs SET since = NULL, lease_until = NULL, progress = ?
             WHERE id = ? AND since = ? AND {ENDED}"
        ))?
        .execute(params![Json(&progress), Text(id), Count(since)])?;
    match changed {
        0 => Ok(()),
        _ => events.iter().try_for_each(|event| happened(connection, event)),
    }
}
