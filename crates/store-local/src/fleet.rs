//! The fleet's contract: devices, enrolment, reports and rollouts each do
//! their part.

use std::collections::BTreeMap;

use async_trait::async_trait;
use firmseal_fleet::{
    Certificate, Device, DeviceState, EnrolmentToken, Report, ReportId, Rollout, RolloutState, Time,
};
use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId, RolloutId};
use firmseal_store::{Allowance, Enrolled, Fleet, Observation, Observed, Page, StoreError};
use rusqlite::params;

use crate::column::{Hash, Json, Text, Word};
use crate::devices::{DEVICE, get_device, read_certificate, read_device, update};
use crate::enrolment::{bind, end_token, enrol, find_token, insert_token, list_tokens, no_token};
use crate::registry::{all, limit, one};
use crate::{LocalStore, reports, rollouts};

#[async_trait]
impl Fleet for LocalStore {
    async fn insert_token(&self, token: EnrolmentToken) -> Result<(), StoreError> {
        self.write("add an enrolment token", move |connection| insert_token(connection, &token)).await
    }

    async fn token(&self, hash: &Digest) -> Result<EnrolmentToken, StoreError> {
        let hash = *hash;
        self.query("look an enrolment token up", move |connection| {
            find_token(connection, &hash)?.ok_or_else(|| no_token().into())
        })
        .await
    }

    async fn tokens(&self, page: Page<Digest>) -> Result<Vec<EnrolmentToken>, StoreError> {
        self.query("list enrolment tokens", move |connection| list_tokens(connection, &page)).await
    }

    async fn end_token(&self, hash: &Digest, now: Time) -> Result<(), StoreError> {
        let hash = *hash;
        self.write("end an enrolment token", move |connection| end_token(connection, &hash, now)).await
    }

    async fn enrol(
        &self,
        token: &Digest,
        device: Device,
        allowance: Allowance,
    ) -> Result<Enrolled, StoreError> {
        let token = *token;
        self.write("enrol a device", move |connection| enrol(connection, &token, &device, allowance)).await
    }

    async fn add_certificate(
        &self,
        device: DeviceId,
        certificate: Certificate,
        allowance: Allowance,
    ) -> Result<(), StoreError> {
        self.write("add a device certificate", move |connection| {
            if get_device(connection, device)?.state == DeviceState::Revoked {
                return Err(StoreError::conflict(format!("device {device} is revoked")).into());
            }
            bind(connection, device, &certificate, allowance)
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

    async fn heard(&self, since: Time) -> Result<(u64, u64), StoreError> {
        self.query("count devices that were heard of", move |connection| reports::heard(connection, since))
            .await
    }

    async fn reports(&self, device: DeviceId, page: Page<ReportId>) -> Result<Vec<Report>, StoreError> {
        self.query("list a device's reports", move |connection| reports::of_device(connection, device, &page))
            .await
    }

    async fn outcomes(&self, rollout: RolloutId, page: Page<DeviceId>) -> Result<Vec<Report>, StoreError> {
        self.query("list a rollout's outcomes", move |connection| {
            reports::outcomes(connection, rollout, &page)
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
