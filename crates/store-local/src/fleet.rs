//! Devices and enrolment in the database, and the fleet's way to reports
//! and rollouts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use firmseal_fleet::{
    Certificate, Device, DeviceState, EnrolmentToken, Report, ReportId, Rollout, RolloutState, Running, Time,
};
use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId, RolloutId};
use firmseal_store::{Enrolled, Fleet, Observation, Observed, Page, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::registry::{all, find_product, fresh, limit, no_product, one};
use crate::{LocalStore, reports, rollouts};

const TOKEN: &str = "hash, product, labels, expires, uses, created_by, created";

fn read_token(row: &Row<'_>) -> rusqlite::Result<EnrolmentToken> {
    let (Hash(hash), Text(product), Json(labels)) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (When(expires), When(created)) = (row.get(3)?, row.get(6)?);
    Ok(EnrolmentToken { hash, product, labels, expires, uses: row.get(4)?, created_by: row.get(5)?, created })
}

fn find_token(connection: &Connection, hash: &Digest) -> Result<Option<EnrolmentToken>, Failure> {
    one(connection, &format!("SELECT {TOKEN} FROM tokens WHERE hash = ?"), [Hash(*hash)], read_token)
}

fn no_token() -> StoreError {
    // Without the hash: it stands for a secret somebody tried.
    StoreError::not_found("such enrolment token")
}

const DEVICE: &str = "SELECT d.id, d.product, d.state, d.version, d.sequence, d.epoch, d.slot, d.slot_state, \
                      d.last_seen, d.labels, d.created, \
                      (SELECT json_group_array(release) FROM holds WHERE device = d.id), \
                      c.fingerprint, c.spki, c.serial, c.not_after \
                      FROM devices d JOIN certificates c \
                      ON c.n = (SELECT max(n) FROM certificates WHERE device = d.id)";

fn read_device(row: &Row<'_>) -> rusqlite::Result<Device> {
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

fn read_certificate(row: &Row<'_>, at: usize) -> rusqlite::Result<Certificate> {
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

/// Binds a certificate, and its key for good, to a device.
fn bind(connection: &Connection, device: DeviceId, certificate: &Certificate) -> Result<(), Failure> {
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
            "INSERT INTO certificates (fingerprint, device, spki, serial, not_after) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Hash(certificate.fingerprint),
            Text(device),
            Hash(certificate.spki),
            certificate.serial,
            When(certificate.not_after)
        ])?;
    Ok(())
}

fn enrol(connection: &Connection, token: &Digest, device: &Device, now: Time) -> Result<Enrolled, Failure> {
    let conflict = |what: &str| Err(StoreError::conflict(what).into());
    let EnrolmentToken { product, expires, uses, .. } =
        find_token(connection, token)?.ok_or_else(no_token)?;
    if product != device.product {
        return conflict("the enrolment token is for another product");
    }
    if expires <= now {
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
        bind(connection, id, &device.certificate)?;
        return Ok(Enrolled::Again(Box::new(get_device(connection, id)?)));
    }
    if uses == 0 {
        return conflict("the enrolment token is used up; ask for a new one");
    }
    connection.prepare_cached("UPDATE tokens SET uses = uses - 1 WHERE hash = ?")?.execute([Hash(*token)])?;
    insert(connection, device, token)?;
    bind(connection, device.id, &device.certificate)?;
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
        reports::set_running(connection, device.id, running)?;
    }
    Ok(())
}

#[async_trait]
impl Fleet for LocalStore {
    async fn insert_token(&self, token: EnrolmentToken) -> Result<(), StoreError> {
        self.write("add an enrolment token", move |connection| {
            find_product(connection, &token.product)?.ok_or_else(|| no_product(&token.product))?;
            let same = |there: &EnrolmentToken| EnrolmentToken { uses: token.uses, ..there.clone() } == token;
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
        })
        .await
    }

    async fn token(&self, hash: &Digest) -> Result<EnrolmentToken, StoreError> {
        let hash = *hash;
        self.query("look an enrolment token up", move |connection| {
            find_token(connection, &hash)?.ok_or_else(|| no_token().into())
        })
        .await
    }

    async fn enrol(&self, token: &Digest, device: Device, now: Time) -> Result<Enrolled, StoreError> {
        let token = *token;
        self.write("enrol a device", move |connection| enrol(connection, &token, &device, now)).await
    }

    async fn add_certificate(&self, device: DeviceId, certificate: Certificate) -> Result<(), StoreError> {
        self.write("add a device certificate", move |connection| {
            if get_device(connection, device)?.state == DeviceState::Revoked {
                return Err(StoreError::conflict(format!("device {device} is revoked")).into());
            }
            bind(connection, device, &certificate)
        })
        .await
    }

    async fn device(&self, id: DeviceId) -> Result<Device, StoreError> {
        self.query("look a device up", move |connection| get_device(connection, id)).await
    }

    async fn device_of_certificate(
        &self,
        fingerprint: &Digest,
    ) -> Result<Option<(Device, Certificate)>, StoreError> {
        let fingerprint = *fingerprint;
        self.query("look a device certificate up", move |connection| {
            let found = one(
                connection,
                "SELECT fingerprint, spki, serial, not_after, device FROM certificates WHERE fingerprint = ?",
                [Hash(fingerprint)],
                |row| Ok((read_certificate(row, 0)?, row.get::<_, Text<DeviceId>>(4)?.0)),
            )?;
            let Some((certificate, id)) = found else { return Ok(None) };
            Ok(Some((get_device(connection, id)?, certificate)))
        })
        .await
    }

    async fn devices(
        &self,
        product: Option<&ProductId>,
        page: Page<DeviceId>,
    ) -> Result<Vec<Device>, StoreError> {
        let product = product.cloned();
        self.query("list devices", move |connection| {
            let sql = format!(
                "{DEVICE} WHERE (?1 IS NULL OR d.product = ?1)
                 AND (?2 IS NULL OR d.n < (SELECT n FROM devices WHERE id = ?2)) ORDER BY d.n DESC LIMIT ?3"
            );
            let params = params![product.as_ref().map(ProductId::as_str), page.after.map(Text), limit(&page)];
            all(connection, &sql, params, read_device)
        })
        .await
    }

    async fn set_device_state(&self, id: DeviceId, state: DeviceState) -> Result<(), StoreError> {
        self.write("change a device's state", move |connection| {
            let params = params![Word(state), Text(id)];
            update(connection, id, "UPDATE devices SET state = ? WHERE id = ?", params)
        })
        .await
    }

    async fn set_labels(&self, id: DeviceId, labels: BTreeMap<String, String>) -> Result<(), StoreError> {
        self.write("change a device's labels", move |connection| {
            let params = params![Json(labels), Text(id)];
            update(connection, id, "UPDATE devices SET labels = ? WHERE id = ?", params)
        })
        .await
    }

    async fn retry(&self, device: DeviceId, release: ReleaseId) -> Result<(), StoreError> {
        self.write("lift a hold", move |connection| {
            get_device(connection, device)?;
            connection
                .prepare_cached("DELETE FROM holds WHERE device = ? AND release = ?")?
                .execute(params![Text(device), Text(release)])?;
            Ok(())
        })
        .await
    }

    async fn observe(&self, observation: Observation) -> Result<Observed, StoreError> {
        self.write("take in a device's reports", move |connection| reports::observe(connection, &observation))
            .await
    }

    async fn touch(&self, seen: Vec<(DeviceId, Time)>) -> Result<(), StoreError> {
        self.write("note when devices were heard of", move |connection| reports::touch(connection, &seen))
            .await
    }

    async fn reports(&self, device: DeviceId, page: Page<ReportId>) -> Result<Vec<Report>, StoreError> {
        self.query("list a device's reports", move |connection| reports::of_device(connection, device, &page))
            .await
    }

    async fn rollout_reports(
        &self,
        rollout: RolloutId,
        page: Page<(DeviceId, ReportId)>,
    ) -> Result<Vec<Report>, StoreError> {
        self.query("list a rollout's reports", move |connection| {
            reports::of_rollout(connection, rollout, &page)
        })
        .await
    }

    async fn insert_rollout(&self, rollout: Rollout) -> Result<(), StoreError> {
        self.write("add a rollout", move |connection| rollouts::insert(connection, &rollout)).await
    }

    async fn rollout(&self, id: RolloutId) -> Result<Rollout, StoreError> {
        self.query("look a rollout up", move |connection| rollouts::get(connection, id)).await
    }

    async fn rollouts(&self, page: Page<RolloutId>) -> Result<Vec<Rollout>, StoreError> {
        self.query("list rollouts", move |connection| rollouts::list(connection, &page)).await
    }

    async fn active_rollouts(&self) -> Result<Vec<Rollout>, StoreError> {
        self.query("list active rollouts", rollouts::active).await
    }

    async fn set_rollout_state(&self, id: RolloutId, state: RolloutState) -> Result<(), StoreError> {
        self.write("change a rollout's state", move |connection| rollouts::set_state(connection, id, state))
            .await
    }
}
