//! Updates: polls, reports, and what a device may fetch.

use std::sync::Arc;

use firmseal_api::updates::{Offer, Poll, PollAnswer, REPORTS_MAX, Report, ReportsAnswer};
use firmseal_fleet::{Equipment, Phase, Release, Running};
use firmseal_manifest::{ArtifactId, Digest, ReleaseId};
use firmseal_store::Observation;

use super::App;
use super::catalog::Published;
use super::presence::Known;
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::wire;

impl App {
    /// Takes in what a device says and answers with what it should do.
    ///
    /// When this returns, whatever was new is durable: the device may
    /// forget its reports.
    pub(crate) async fn poll(&self, known: Arc<Known>, poll: Poll) -> Result<PollAnswer, ApiError> {
        let now = self.clock.now();
        let (running, equipment) = wire::state_in(poll.state)?;
        // What is known already is left out of the observation: only a
        // change, or the first word, costs a disk write.
        let running = running.filter(|running| known.device.running.as_ref() != Some(running));
        let equipment =
            Some(equipment).filter(|equipment| known.device.equipment.as_ref() != Some(equipment));
        let news = !poll.reports.is_empty() || running.is_some() || equipment.is_some();
        let offer = if news {
            self.observe(&known, running, equipment, poll.reports).await?;
            // The reports may hold a release back from this device.
            let device = self.store.device(known.device.id).await?;
            self.catalog.snapshot().offers.offer_for(&device, now)
        } else {
            self.presence.note(known.device.id, now);
            self.catalog.snapshot().offers.offer_for(&known.device, now)
        };
        let label = if news { "news" } else { "nothing_new" };
        self.metrics.polls.get_or_create(&Outcome { outcome: label }).inc();
        let offer = offer.and_then(|offer| self.offer_out(&known, offer));
        let trust = self.pipeline.trust();
        Ok(PollAnswer {
            offer,
            root_version: trust.root_version(),
            revocation_version: trust.revocation_version(),
            poll_after: self.limits.poll_seconds,
        })
    }

    fn offer_out(&self, known: &Known, offer: firmseal_fleet::Offer) -> Option<Offer> {
        let published = self.catalog.snapshot().releases.get(&offer.release)?.clone();
        tracing::info!(
            device = %known.device.id,
            release = %offer.release,
            rollout = %offer.rollout,
            request = %offer.request,
            build = offer.build,
            commit = offer.commit,
            "release offered"
        );
        Some(Offer {
            release: offer.release,
            rollout: offer.rollout,
            version: offer.version,
            sequence: offer.sequence,
            epoch: offer.epoch,
            envelope: format!("v1/releases/{}/envelope", offer.release),
            envelope_sha256: ArtifactId(offer.envelope),
            envelope_size: published.envelope_size,
            build: offer.build,
            commit: offer.commit,
            request: offer.request,
        })
    }

    /// Stores reports on their own.
    pub(crate) async fn reports(
        &self,
        known: Arc<Known>,
        reports: Vec<Report>,
    ) -> Result<ReportsAnswer, ApiError> {
        let stored = self.observe(&known, None, None, reports).await?;
        Ok(ReportsAnswer { stored })
    }

    async fn observe(
        &self,
        known: &Known,
        running: Option<Running>,
        equipment: Option<Equipment>,
        reports: Vec<Report>,
    ) -> Result<usize, ApiError> {
        if reports.len() > REPORTS_MAX {
            return Err(ApiError::Malformed(format!("at most {REPORTS_MAX} reports in one request")));
        }
        let now = self.clock.now();
        let device = known.device.id;
        let reports = reports
            .into_iter()
            .map(|report| wire::report_in(device, report, now))
            .collect::<Result<Vec<_>, _>>()?;
        for report in &reports {
            if let Phase::Recovered { message } = &report.phase {
                // Whoever did not order it has something to find out.
                tracing::error!(%device, image = message, "a device took a recovery image");
            }
            tracing::info!(
                %device,
                release = report.release.map(tracing::field::display),
                rollout = report.rollout.map(tracing::field::display),
                request = report.request.map(tracing::field::display),
                build = report.build,
                phase = report.phase.name(),
                code = report.phase.reason().map(|(code, _)| code),
                "device report"
            );
        }
        let counted: Vec<_> = reports
            .iter()
            .map(|report| (report.phase.name(), report.phase.reason().map(|(code, _)| code)))
            .collect();
        let most = self.limits.reports_per_day;
        let observed =
            self.store.observe(Observation { device, now, running, equipment, reports, most }).await?;
        self.presence.forget_certificate(&known.certificate.fingerprint);
        // A batch that was sent twice is counted once, as far as the store
        // can tell: it says how many were new, not which.
        if observed.recorded as usize == counted.len() {
            for (phase, code) in counted {
                self.metrics.report(phase, code);
            }
        }
        Ok(observed.recorded as usize)
    }

    /// The release that is being offered to a device right now.
    fn entitled(&self, known: &Known) -> Option<Arc<Published>> {
        let snapshot = self.catalog.snapshot();
        let offer = snapshot.offers.offer_for(&known.device, self.clock.now())?;
        snapshot.releases.get(&offer.release).cloned()
    }

    /// The envelope's blob, if this device is offered this release.
    pub(crate) fn envelope_for(&self, known: &Known, release: ReleaseId) -> Result<Digest, ApiError> {
        self.entitled(known)
            .filter(|published| published.release.id == release)
            .map(|published| published.release.envelope)
            // The same answer for "not yours" and "not there": a device
            // learns nothing about other products.
            .ok_or_else(|| ApiError::NotFound(format!("release {release} for this device")))
    }

    /// The blob behind a payload or tree, if this device is offered it.
    pub(crate) fn payload_for(&self, known: &Known, payload: Digest, tree: bool) -> Result<Digest, ApiError> {
        self.entitled(known)
            .and_then(|published| blob_in(&published.release, payload, tree))
            .ok_or_else(|| ApiError::NotFound(format!("payload {payload} for this device")))
    }
}

fn blob_in(release: &Release, payload: Digest, tree: bool) -> Option<Digest> {
    let component = release.components.iter().find(|component| component.payload == payload)?;
    Some(if tree { component.hash_blocks } else { component.payload })
}
