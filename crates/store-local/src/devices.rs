//! Devices in the database.

use firmseal_fleet::{Certificate, Device, Running};
use firmseal_manifest::DeviceId;
use firmseal_store::StoreError;
use rusqlite::{Connection, Row};

use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::registry::one;

/// Selects what [`read_device`] reads.
pub(crate) const DEVICE: &str = "SELECT d.id, d.product, d.state, d.version, d.sequence, d.epoch, d.slot, d.slot_state, \
                      d.last_seen, d.labels, d.created, \
                      (SELECT json_group_array(release) FROM holds WHERE device = d.id), \
                      c.fingerprint, c.spki, c.serial, c.not_after \
                      FROM devices d JOIN certificates c \
                      ON c.n = (SELECT max(n) FROM certificates WHERE device = d.id)";

pub(crate) fn read_device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let (Text(id), Text(product), Word(state)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let running = match row.get(3)? {
        Some(Text(version)) => {
            let (Count(sequence), Count(epoch), Word(state)) = (row.get(4)?, row.get(5)?, row.get(7)?);
            Some(Running { version, sequence, epoch, slot: row.get(6)?, state })
        }
        None => None,
    };
    let (last_seen, Json(labels), When(created)): (Option<When>, _, _) =
        (row.get(8)?, row.get(9)?, row.get(10)?);
    let (Json(held), certificate) = (row.get(11)?, read_certificate(row, 12)?);
    let last_seen = last_seen.map(|When(time)| time);
    Ok(Device { id, product, certificate, state, running, last_seen, labels, held, created })
}

pub(crate) fn read_certificate(row: &Row<'_>, at: usize) -> rusqlite::Result<Certificate> {
    let (Hash(fingerprint), Hash(spki), When(not_after)) = (row.get(at)?, row.get(at + 1)?, row.get(at + 3)?);
    Ok(Certificate { fingerprint, spki, serial: row.get(at + 2)?, not_after })
}

/// The device of an id.
pub(crate) fn get_device(connection: &Connection, id: DeviceId) -> Result<Device, Failure> {
    one(connection, &format!("{DEVICE} WHERE d.id = ?"), [Text(id)], read_device)?
        .ok_or_else(|| no_device(id).into())
}

pub(crate) fn no_device(id: DeviceId) -> StoreError {
    StoreError::not_found(format!("device {id}"))
}

/// Changes a device in one way, or says that there is none.
pub(crate) fn update(
    connection: &Connection,
    id: DeviceId,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<(), Failure> {
    match connection.prepare_cached(sql)?.execute(params)? {
        0 => Err(no_device(id).into()),
        _ => Ok(()),
    }
}
