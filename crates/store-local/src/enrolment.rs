//! Enrolment in the database: tokens, and the keys and certificates that a
//! device is known by.

use firmseal_fleet::{Certificate, Device, DeviceState, EnrolmentToken, Time};
use firmseal_manifest::{DeviceId, Digest, ProductId};
use firmseal_store::{Allowance, Enrolled, Page, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Hash, Json, Text, When, Word};
use crate::devices::{get_device, read_certificate, set_equipment, set_running};
use crate::error::Failure;
use crate::registry::{all, find_product, fresh, limit, no_product, one};
use crate::reports::since;

const TOKEN: &str = "hash, product, labels, expires, uses, created_by, created";

fn read_token(row: &Row<'_>) -> rusqlite::Result<EnrolmentToken> {
    let (Hash(hash), Text(product), Json(labels)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (When(expires), When(created)) = (row.get(3)?, row.get(6)?);
    Ok(EnrolmentToken { hash, product, labels, expires, uses: row.get(4)?, created_by: row.get(5)?, created })
}

pub(crate) fn find_token(connection: &Connection, hash: &Digest) -> Result<Option<EnrolmentToken>, Failure> {
    one(connection, &format!("SELECT {TOKEN} FROM tokens WHERE hash = ?"), [Hash(*hash)], read_token)
}

pub(crate) fn list_tokens(
    connection: &Connection,
    page: &Page<Digest>,
) -> Result<Vec<EnrolmentToken>, Failure> {
    let sql = format!(
        "SELECT {TOKEN} FROM tokens
         WHERE ?1 IS NULL OR rowid < (SELECT rowid FROM tokens WHERE hash = ?1) ORDER BY rowid DESC LIMIT ?2"
    );
    all(connection, &sql, params![page.after.map(Hash), limit(page)], read_token)
}

pub(crate) fn end_token(connection: &Connection, hash: &Digest, now: Time) -> Result<(), Failure> {
    let ended = connection
        .prepare_cached("UPDATE tokens SET expires = min(expires, ?) WHERE hash = ?")?
        .execute(params![When(now), Hash(*hash)])?;
    match ended {
        0 => Err(no_token().into()),
        _ => Ok(()),
    }
}

pub(crate) fn no_token() -> StoreError {
    // Without the hash: it stands for a secret somebody tried.
    StoreError::not_found("such enrolment token")
}

/// Binds a certificate, and its key for good, to a device.
pub(crate) fn bind(
    connection: &Connection,
    device: DeviceId,
    certificate: &Certificate,
    allowance: Allowance,
) -> Result<(), Failure> {
    let owner: Option<Text<DeviceId>> =
        one(connection, "SELECT device FROM device_keys WHERE spki = ?", [Hash(certificate.spki)], |row| {
            row.get(0)
        })?;
    match owner {
        None => {
            connection
                .prepare_cached("INSERT INTO device_keys (spki, device) VALUES (?, ?)")?
                .execute(params![Hash(certificate.spki), Text(device)])?;
        }
        Some(Text(owner)) if owner == device => {}
        Some(_) => return Err(StoreError::conflict("the key belongs to another device").into()),
    }
    let there = one(
        connection,
        "SELECT fingerprint, spki, serial, not_after, device FROM certificates WHERE fingerprint = ?",
        [Hash(certificate.fingerprint)],
        |row| Ok((read_certificate(row, 0)?, row.get::<_, Text<DeviceId>>(4)?.0)),
    )?;
    let what = format!("certificate {}", certificate.fingerprint);
    if !fresh(there, |(there, owner)| there == certificate && *owner == device, what)? {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO certificates (fingerprint, device, spki, serial, not_after, issued)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Hash(certificate.fingerprint),
            Text(device),
            Hash(certificate.spki),
            certificate.serial,
            When(certificate.not_after),
            When(allowance.now)
        ])?;
    let Allowance { now, most } = allowance;
    if since(connection, RECENT, device, now, most)? > most {
        return Err(StoreError::Quota { what: format!("device {device} has got {most} certificates") }.into());
    }
    Ok(())
}

const RECENT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM certificates WHERE device = ? AND issued > ? LIMIT ?)";

pub(crate) fn enrol(
    connection: &Connection,
    token: &Digest,
    device: &Device,
    allowance: Allowance,
) -> Result<Enrolled, Failure> {
    let conflict = |what: &str| Err(StoreError::conflict(what).into());
    let EnrolmentToken { product, expires, uses, .. } =
        find_token(connection, token)?.ok_or_else(no_token)?;
    if product != device.product {
        return conflict("the enrolment token is for another product");
    }
    if expires <= allowance.now {
        return conflict("the enrolment token has expired; ask for a new one");
    }
    let known: Option<(DeviceId, ProductId, DeviceState, Digest)> = one(
        connection,
        "SELECT d.id, d.product, d.state, d.token FROM devices d
         JOIN device_keys k ON k.device = d.id WHERE k.spki = ?",
        [Hash(device.certificate.spki)],
        |row| {
            let (Text(id), Text(product), Word(state)) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let Hash(token) = row.get(3)?;
            Ok((id, product, state, token))
        },
    )?;
    if let Some((id, of, state, came_with)) = known {
        if state == DeviceState::Revoked || of != product || came_with != *token {
            return conflict("the key belongs to a device that came in otherwise");
        }
        bind(connection, id, &device.certificate, allowance)?;
        return Ok(Enrolled::Again(Box::new(get_device(connection, id)?)));
    }
    if uses == 0 {
        return conflict("the enrolment token is used up; ask for a new one");
    }
    connection.prepare_cached("UPDATE tokens SET uses = uses - 1 WHERE hash = ?")?.execute([Hash(*token)])?;
    insert(connection, device, token)?;
    bind(connection, device.id, &device.certificate, allowance)?;
    Ok(Enrolled::New)
}

fn insert(connection: &Connection, device: &Device, token: &Digest) -> Result<(), Failure> {
    if connection.prepare_cached("SELECT 1 FROM devices WHERE id = ?")?.exists([Text(device.id)])? {
        return Err(StoreError::conflict(format!("device {} exists already", device.id)).into());
    }
    connection
        .prepare_cached(
            "INSERT INTO devices (id, product, state, last_seen, labels, token, created)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Text(device.id),
            device.product.as_str(),
            Word(device.state),
            device.last_seen.map(When),
            Json(&device.labels),
            Hash(*token),
            When(device.created)
        ])?;
    if let Some(running) = &device.running {
        set_running(connection, device.id, running)?;
    }
    if let Some(equipment) = &device.equipment {
        set_equipment(connection, device.id, equipment)?;
    }
    Ok(())
}

/// Adds a token. One that exists keeps its count of uses.
pub(crate) fn insert_token(connection: &Connection, token: &EnrolmentToken) -> Result<(), Failure> {
    find_product(connection, &token.product)?.ok_or_else(|| no_product(&token.product))?;
    let same = |there: &EnrolmentToken| EnrolmentToken { uses: token.uses, ..there.clone() } == *token;
    if !fresh(find_token(connection, &token.hash)?, same, "the enrolment token".to_owned())? {
        return Ok(());
    }
    connection
        .prepare_cached(&format!("INSERT INTO tokens ({TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?)"))?
        .execute(params![
            Hash(token.hash),
            token.product.as_str(),
            Json(&token.labels),
            When(token.expires),
            token.uses,
            token.created_by,
            When(token.created)
        ])?;
    Ok(())
}
