//! Rollouts and devices: what the fleet's operators do.

use std::collections::HashMap;

use firmseal_api::fleet::{CreateRollout, Outcome};
use firmseal_fleet::{Device, DeviceState, ReleaseState, Report, Rollout, RolloutState};
use firmseal_manifest::{DeviceId, ReleaseId, RolloutId};
use firmseal_store::Page;

use super::App;
use crate::error::ApiError;
use crate::wire;

/// Reports read at most to find each device's newest; a rollout with more
/// is read by the reports of its devices.
const REPORTS_READ: usize = 100_000;

impl App {
    pub(crate) async fn create_rollout(
        &self,
        creator: &str,
        wish: CreateRollout,
    ) -> Result<Rollout, ApiError> {
        let release = self.store.release(wish.release).await?;
        if release.state != ReleaseState::Verified {
            return Err(ApiError::Conflict(format!(
                "release {} is not verified: only a release that this server verified is offered",
                release.id
            )));
        }
        let now = self.clock.now();
        let rollout = Rollout {
            id: RolloutId::new(),
            release: release.id,
            product: release.product,
            cohort: wire::cohort_in(wish.cohort),
            state: RolloutState::Active,
            starts: wish.starts.unwrap_or(now),
            created_by: creator.to_owned(),
            created: now,
        };
        self.store.insert_rollout(rollout.clone()).await?;
        self.catalog.refresh(self.store.as_ref()).await?;
        tracing::info!(
            rollout = %rollout.id,
            release = %release.id,
            request = %release.request,
            build = release.build,
            commit = release.commit,
            creator,
            "rollout begun"
        );
        Ok(rollout)
    }

    pub(crate) async fn set_rollout(
        &self,
        operator: &str,
        id: RolloutId,
        state: RolloutState,
    ) -> Result<Rollout, ApiError> {
        self.store.set_rollout_state(id, state).await?;
        // Durable from here on; if we crash now, start-up reads it back.
        self.catalog.refresh(self.store.as_ref()).await?;
        tracing::info!(rollout = %id, ?state, operator, "rollout changed");
        Ok(self.store.rollout(id).await?)
    }

    /// Each device's newest report of a rollout, by device.
    pub(crate) async fn outcomes(&self, id: RolloutId) -> Result<Vec<Outcome>, ApiError> {
        self.store.rollout(id).await?;
        let mut newest: HashMap<DeviceId, Report> = HashMap::new();
        let mut page = Page::first(firmseal_store::page::PAGE_MAX);
        let mut read = 0;
        loop {
            let reports = self.store.rollout_reports(id, page).await?;
            let Some(last) = reports.last().map(|report| (report.device, report.id)) else { break };
            read += reports.len();
            for report in reports {
                // Newest first: the first one of a device stands.
                newest.entry(report.device).or_insert(report);
            }
            if read >= REPORTS_READ {
                break;
            }
            page = Page::after(last, firmseal_store::page::PAGE_MAX);
        }
        let mut outcomes: Vec<Outcome> = newest
            .into_iter()
            .map(|(device, report)| {
                let report = wire::report_out(report);
                Outcome { device, phase: report.phase, report }
            })
            .collect();
        outcomes.sort_by_key(|outcome| outcome.device);
        Ok(outcomes)
    }

    /// Revokes a device. The next request over any of its connections is
    /// refused.
    pub(crate) async fn revoke_device(&self, operator: &str, id: DeviceId) -> Result<Device, ApiError> {
        self.store.set_device_state(id, DeviceState::Revoked).await?;
        self.presence.forget(id);
        tracing::info!(device = %id, operator, "device revoked");
        Ok(self.store.device(id).await?)
    }

    /// Lifts the hold on a release for one device.
    pub(crate) async fn retry_release(
        &self,
        operator: &str,
        id: DeviceId,
        release: ReleaseId,
    ) -> Result<Device, ApiError> {
        self.store.retry(id, release).await?;
        self.presence.forget(id);
        tracing::info!(device = %id, %release, operator, "hold lifted");
        Ok(self.store.device(id).await?)
    }
}
