//! Devices in the database.

use firmseal_fleet::{Bootloader, Certificate, Device, Equipment, Running};
use firmseal_manifest::DeviceId;
use firmseal_store::StoreError;
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::registry::one;

/// Selects what [`read_device`] reads.
pub(crate) const DEVICE: &str = "SELECT d.id, d.product, d.state, d.version, d.sequence, d.epoch, d.slot, d.slot_state, \
                      d.last_seen, d.labels, d.created, \
                      (SELECT json_group_array(release) FROM holds WHERE device = d.id), \
                      c.fingerprint, c.spki, c.serial, c.not_after, \
                      d.agent, d.root_version, d.hardware, d.bootloader, d.verifies, d.trial, d.epoch_counter, \
                      d.manifest \
                      FROM devices d JOIN certificates c \
                      ON c.n = (SELECT max(n) FROM certificates WHERE device = d.id)";

pub(crate) fn read_device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let (Text(id), Text(product), Word(state)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let running = match row.get(3)? {
        Some(Text(version)) => {
            let (Count(sequence), Count(epoch), Word(state)) = (row.get(4)?, row.get(5)?, row.get(7)?);
            let manifest = row.get::<_, Option<Hash>>(23)?.map(|Hash(manifest)| manifest);
            Some(Running { version, sequence, manifest, epoch, slot: row.get(6)?, state })
        }
        None => None,
    };
    let (last_seen, Json(labels), When(created)): (Option<When>, _, _) =
        (row.get(8)?, row.get(9)?, row.get(10)?);
    let (Json(held), certificate) = (row.get(11)?, read_certificate(row, 12)?);
    let (last_seen, equipment) = (last_seen.map(|When(time)| time), read_equipment(row, 16)?);
    Ok(Device { id, product, certificate, state, running, equipment, last_seen, labels, held, created })
}

fn read_equipment(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Equipment>> {
    let Some(agent) = row.get(at)? else { return Ok(None) };
    let Count(root_version) = row.get(at + 1)?;
    let bootloader = Bootloader {
        name: row.get(at + 3)?,
        verifies: row.get(at + 4)?,
        trial: row.get(at + 5)?,
        epoch_counter: row.get(at + 6)?,
    };
    Ok(Some(Equipment { agent, root_version, hardware: row.get(at + 2)?, bootloader }))
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

/// Records what a device runs.
pub(crate) fn set_running(
    connection: &Connection,
    device: DeviceId,
    running: &Running,
) -> Result<(), Failure> {
    update(
        connection,
        device,
        "UPDATE devices SET version = ?, sequence = ?, manifest = ?, epoch = ?, slot = ?, slot_state = ? WHERE id = ?",
        params![
            Text(&running.version),
            Count::new("sequence", running.sequence)?,
            running.manifest.map(Hash),
            Count::new("epoch", running.epoch)?,
            running.slot,
            Word(running.state),
            Text(device)
        ],
    )
}

/// Records what a device has.
pub(crate) fn set_equipment(
    connection: &Connection,
    device: DeviceId,
    equipment: &Equipment,
) -> Result<(), Failure> {
    let Equipment { agent, root_version, hardware, bootloader } = equipment;
    update(
        connection,
        device,
        "UPDATE devices SET agent = ?, root_version = ?, hardware = ?, bootloader = ?, verifies = ?, trial = ?,
         epoch_counter = ? WHERE id = ?",
        params![
            agent,
            Count::new("root version", *root_version)?,
            hardware,
            bootloader.name,
            bootloader.verifies,
            bootloader.trial,
            bootloader.epoch_counter,
            Text(device)
        ],
    )
}
