//! Rollouts and devices: what the fleet's operators do.

use firmseal_api::fleet::{CreateRollout, Outcome};
use firmseal_fleet::{Device, DeviceState, Release, ReleaseState, Rollout, RolloutState};
use firmseal_manifest::{DeviceId, ReleaseId, RolloutId};
use firmseal_store::Page;

use super::App;
use crate::error::ApiError;
use crate::wire;

impl App {
    /// Begins a rollout. While it is active, the same wish again is the same
    /// rollout: a second one would make no other offers.
    pub(crate) async fn create_rollout(
        &self,
        creator: &str,
        wish: CreateRollout,
    ) -> Result<Rollout, ApiError> {
        let _one = self.rollouts.lock().await;
        let release = self.store.release(wish.release).await?;
        self.check_not_revoked(&release).await?;
        self.check_not_early(&release).await?;
        if release.state == ReleaseState::Signed {
            return Err(ApiError::Refused {
                why: format!("release {} waits for the consent of its devices' owners", release.id),
                hint: "export it, have it countersigned, and carry the bundle to the devices".to_owned(),
            });
        }
        if release.state != ReleaseState::Verified {
            return Err(ApiError::Conflict(format!(
                "release {} is not verified: only a release that this server verified is offered",
                release.id
            )));
        }
        let now = self.clock.now();
        let cohort = wire::cohort_in(wish.cohort);
        // A wish that is repeated because the answer was lost is the rollout
        // that it began: the lock is held, so there is no second one.
        let active = self.store.active_rollouts().await?;
        let same = |known: &Rollout| {
            let starts = wish.starts.unwrap_or(known.created);
            known.release == release.id && known.cohort == cohort && known.starts == starts
        };
        if let Some(known) = active.into_iter().find(same) {
            return Ok(known);
        }
        let rollout = Rollout {
            id: RolloutId::new(),
            release: release.id,
            product: release.product,
            cohort,
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
        let _one = self.rollouts.lock().await;
        if state == RolloutState::Active {
            let release = self.store.release(self.store.rollout(id).await?.release).await?;
            self.check_not_revoked(&release).await?;
            self.check_not_early(&release).await?;
        }
        self.store.set_rollout_state(id, state).await?;
        // Durable from here on; if we crash now, start-up reads it back.
        self.catalog.refresh(self.store.as_ref()).await?;
        tracing::info!(rollout = %id, ?state, operator, "rollout changed");
        Ok(self.store.rollout(id).await?)
    }

    /// Refuses a release that was revoked, marked yet or not: one that was
    /// being signed while the revocation came in is not.
    async fn check_not_revoked(&self, release: &Release) -> Result<(), ApiError> {
        if release.state == ReleaseState::Revoked || self.is_revoked(release).await? {
            let version = self.pipeline.trust().revocation_version();
            return Err(ApiError::Refused {
                why: format!("release {} was revoked (revocation {version})", release.id),
                hint: "devices refuse it; sign a new release with a key that was not revoked".to_owned(),
            });
        }
        Ok(())
    }

    /// Refuses a roll-back that was signed ahead, until the release that it
    /// rolls back is revoked: devices would refuse it, and would not be
    /// offered it again.
    async fn check_not_early(&self, release: &Release) -> Result<(), ApiError> {
        let Some(manifest) = self.pipeline.waits_for(release).await? else { return Ok(()) };
        if self.pipeline.trust().revokes_release(&manifest) {
            return Ok(());
        }
        Err(ApiError::Refused {
            why: format!(
                "release {} is a roll-back that was signed ahead, and the release with manifest {manifest} is \
                 not revoked",
                release.id
            ),
            hint: "`firmseal revoke release` and `firmseal revoke publish` come first".to_owned(),
        })
    }

    /// Each device's newest report of a rollout, by device.
    pub(crate) async fn outcomes(
        &self,
        id: RolloutId,
        page: Page<DeviceId>,
    ) -> Result<Vec<Outcome>, ApiError> {
        self.store.rollout(id).await?;
        let newest = self.store.outcomes(id, page).await?;
        Ok(newest
            .into_iter()
            .map(|report| {
                let (device, report) = (report.device, wire::report_out(report));
                Outcome { device, phase: report.phase, report }
            })
            .collect())
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
