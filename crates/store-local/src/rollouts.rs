//! Rollouts in the database.

use firmseal_fleet::{Rollout, RolloutState};
use firmseal_manifest::{Event, Phase, RolloutId};
use firmseal_store::{Page, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Json, Text, When, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, fresh, limit, one};
use crate::releases;

const COLUMNS: &str = "id, release, product, cohort, state, starts, created_by, created";

fn read(row: &Row<'_>) -> rusqlite::Result<Rollout> {
    let (Text(id), Text(release), Text(product)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (Json(cohort), Word(state)) = (row.get(3)?, row.get(4)?);
    let (When(starts), created_by, When(created)) = (row.get(5)?, row.get(6)?, row.get(7)?);
    Ok(Rollout { id, release, product, cohort, state, starts, created_by, created })
}

fn find(connection: &Connection, id: RolloutId) -> Result<Option<Rollout>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?"), [Text(id)], read)
}

pub(crate) fn get(connection: &Connection, id: RolloutId) -> Result<Rollout, Failure> {
    find(connection, id)?.ok_or_else(|| StoreError::not_found(format!("rollout {id}")).into())
}

pub(crate) fn insert(connection: &Connection, rollout: &Rollout) -> Result<(), Failure> {
    let same = |there: &Rollout| Rollout { state: rollout.state, ..there.clone() } == *rollout;
    if !fresh(find(connection, rollout.id)?, same, format!("rollout {}", rollout.id))? {
        return Ok(());
    }
    let product = releases::get(connection, rollout.release)?.product;
    if product != rollout.product {
        let what = format!("release {} is for {product}, not {}", rollout.release, rollout.product);
        return Err(StoreError::conflict(what).into());
    }
    connection
        .prepare_cached(&format!("INSERT INTO rollouts ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?
        .execute(params![
            Text(rollout.id),
            Text(rollout.release),
            rollout.product.as_str(),
            Json(&rollout.cohort),
            Word(rollout.state),
            When(rollout.starts),
            rollout.created_by,
            When(rollout.created)
        ])?;
    changed(connection, rollout, rollout.state)
}

pub(crate) fn list(connection: &Connection, page: &Page<RolloutId>) -> Result<Vec<Rollout>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rollouts
         WHERE ?1 IS NULL OR n < (SELECT n FROM rollouts WHERE id = ?1) ORDER BY n DESC LIMIT ?2"
    );
    all(connection, &sql, params![page.after.map(Text), limit(page)], read)
}

pub(crate) fn active(connection: &Connection) -> Result<Vec<Rollout>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE state = ? ORDER BY n DESC");
    all(connection, &sql, [Word(RolloutState::Active)], read)
}

pub(crate) fn set_state(connection: &Connection, id: RolloutId, state: RolloutState) -> Result<(), Failure> {
    let rollout = get(connection, id)?;
    let now = rollout.state;
    if now == state {
        return Ok(());
    }
    if !now.may_become(state) {
        let what = format!("rollout {id} is {now:?} and cannot become {state:?}").to_lowercase();
        return Err(StoreError::conflict(what).into());
    }
    connection
        .prepare_cached("UPDATE rollouts SET state = ? WHERE id = ?")?
        .execute(params![Word(state), Text(id)])?;
    changed(connection, &rollout, state)
}

/// Notes what a rollout does now.
fn changed(connection: &Connection, rollout: &Rollout, state: RolloutState) -> Result<(), Failure> {
    let manifest = releases::get(connection, rollout.release)?.manifest;
    let phase = match state {
        RolloutState::Active => Phase::Active,
        RolloutState::Halted => Phase::Halted,
        RolloutState::Finished => Phase::Finished,
    };
    happened(connection, &Event::Rollout { rollout: rollout.id, manifest, phase })
}
