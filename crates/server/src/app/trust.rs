//! Trust documents: published, in force, and carried out on what was
//! released before.

use std::time::Instant;

use bytes::Bytes;
use firmseal_api::trust::{PublishedRevocation, PublishedRoot};
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_fleet::{Release, ReleaseState, RolloutState};
use firmseal_manifest::{ReleaseId, RolloutId};
use firmseal_sign::TrustError;
use firmseal_store::page::PAGE_MAX;
use firmseal_store::{Page, StoreError};

use super::App;
use crate::error::ApiError;

impl From<TrustError> for ApiError {
    fn from(err: TrustError) -> ApiError {
        let why = err.to_string();
        let refused = |hint: &str| ApiError::Refused { why: why.clone(), hint: hint.to_owned() };
        match err {
            TrustError::Store(err) => err.into(),
            TrustError::Refused { .. } => {
                refused("nothing was published; the newest root document and its roles say who must sign")
            }
            TrustError::Taken { .. } => ApiError::Conflict(why),
            TrustError::OutOfTurn { .. } => {
                refused("nothing was published; publish one document after another")
            }
            TrustError::Forgets { .. } => {
                refused("nothing was published; `firmseal revoke` carries the entries on by itself")
            }
            TrustError::NoFirst(_) | TrustError::OtherAnchor(_) => ApiError::Internal(why),
        }
    }
}

/// What a revocation did here.
#[derive(Debug, Default)]
pub(crate) struct Enforced {
    releases: Vec<ReleaseId>,
    rollouts: Vec<RolloutId>,
}

impl App {
    /// Publishes a root document. When this returns it is durable, and
    /// releases are signed and verified under it.
    pub(crate) async fn publish_root(&self, operator: &str, bytes: Bytes) -> Result<PublishedRoot, ApiError> {
        let version = self.pipeline.publish_root(bytes, operator, self.clock.now()).await?;
        tracing::info!(version, operator, "root document published");
        let revocation_stands = self.pipeline.trust().revocation_stands();
        let refused = self.refused_rollouts().await?;
        Ok(PublishedRoot { version, revocation_stands, refused })
    }

    /// Releases of active rollouts that devices under the newest root
    /// refuse. They are left alone: devices that are not there yet take
    /// them, and a person may want just that.
    async fn refused_rollouts(&self) -> Result<Vec<ReleaseId>, ApiError> {
        let trust = self.pipeline.trust();
        let mut refused = Vec::new();
        for rollout in self.store.active_rollouts().await? {
            if refused.contains(&rollout.release) {
                continue;
            }
            let release = self.store.release(rollout.release).await?;
            let product = self.store.product(&release.product).await?;
            let envelope = self.store.read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
            if let Err(refusal) = trust.admits(&product, &envelope) {
                tracing::warn!(release = %release.id, rollout = %rollout.id, %refusal, "devices under the new root refuse it");
                refused.push(release.id);
            }
        }
        Ok(refused)
    }

    /// Publishes a revocation. When this returns it is durable, rollouts of
    /// what it takes away are halted, and those releases are marked.
    pub(crate) async fn publish_revocation(
        &self,
        operator: &str,
        bytes: Bytes,
    ) -> Result<PublishedRevocation, ApiError> {
        let began = Instant::now();
        let version = self.pipeline.publish_revocation(bytes, operator, self.clock.now()).await?;
        tracing::warn!(version, operator, "revocation published");
        // Durable from here on. If we crash now, the next start carries it
        // out; the same call does it below.
        let Enforced { releases, rollouts } = self.enforce_revocation().await?;
        self.metrics.revocation_seconds.observe(began.elapsed().as_secs_f64());
        Ok(PublishedRevocation { version, releases, rollouts })
    }

    /// Brings registry and rollouts into line with the newest revocation.
    /// What is in line already is left alone.
    pub(crate) async fn enforce_revocation(&self) -> Result<Enforced, ApiError> {
        let mut enforced = Enforced::default();
        if self.pipeline.trust().revocation().is_none() {
            return Ok(enforced);
        }
        // No rollout begins between the look and the mark. Those that begin
        // later are looked at when they do.
        let one = self.rollouts.lock().await;
        // First what is being offered: the registry may be long.
        for rollout in self.store.active_rollouts().await? {
            let release = self.store.release(rollout.release).await?;
            if self.mark_if_revoked(&release, &mut enforced).await? {
                self.store.set_rollout_state(rollout.id, RolloutState::Halted).await?;
                tracing::warn!(rollout = %rollout.id, release = %release.id, "rollout of a revoked release halted");
                enforced.rollouts.push(rollout.id);
            }
        }
        self.catalog.refresh(self.store.as_ref()).await?;
        drop(one);
        let mut page = Page::first(PAGE_MAX);
        loop {
            let releases = self.store.releases(None, page).await?;
            let Some(last) = releases.last().map(|release| release.id) else { return Ok(enforced) };
            for release in &releases {
                self.mark_if_revoked(release, &mut enforced).await?;
            }
            page = Page::after(last, PAGE_MAX);
        }
    }

    async fn mark_if_revoked(&self, release: &Release, enforced: &mut Enforced) -> Result<bool, ApiError> {
        if release.state == ReleaseState::Revoked {
            return Ok(true);
        }
        match self.is_revoked(release).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // Nobody can be given it, so the others must not wait for it. No
            // rollout of it begins either: that asks again.
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NotFound { .. })) => {
                tracing::error!(release = %release.id, %error, "whether it was revoked cannot be told");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        self.store.set_release_state(release.id, ReleaseState::Revoked).await?;
        tracing::warn!(release = %release.id, product = %release.product, version = %release.version, "release revoked");
        enforced.releases.push(release.id);
        Ok(true)
    }

    /// Whether the newest revocation takes a release away.
    pub(crate) async fn is_revoked(&self, release: &Release) -> Result<bool, StoreError> {
        let trust = self.pipeline.trust();
        if trust.revokes_release(&release.manifest) {
            return Ok(true);
        }
        if !trust.revokes_keys() {
            return Ok(false);
        }
        let product = self.store.product(&release.product).await?;
        let envelope = self.store.read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
        Ok(trust.takes_away(&product, &release.manifest, &envelope))
    }
}
