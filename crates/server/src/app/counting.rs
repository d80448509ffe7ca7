//! What became of requests, counted: for whoever is on call, and offered to
//! devices where it is a release.

use firmseal_fleet::{Job, JobKind, JobState};
use firmseal_sign::{Carried, Health, PipelineError, Seen, StampAnswer};

use super::catalog::Catalog;
use crate::metrics::{Fate, Incident, Metrics, Outcome};

/// Counts what became of a job, offers what was released, and says what
/// somebody has to know of.
pub(crate) fn observe(metrics: &Metrics, catalog: &Catalog, seen: Seen<'_>) {
    match seen {
        Seen::Carried(carried) => observe_carried(metrics, catalog, carried),
        Seen::Late(job) => {
            let fate = if job.progress.state == JobState::Queued { Fate::Expired } else { Fate::Lapsed };
            metrics.signing(&job.asked.kind, fate);
            let (request, state) = (job.id, job.progress.state.word());
            tracing::info!(%request, state, "a signing request was too late");
        }
    }
}

fn observe_carried(metrics: &Metrics, catalog: &Catalog, carried: &Carried) {
    let Carried { job, signature, release, error, key, uses, trouble, stamps, finished, .. } = carried;
    if let Some(release) = release {
        super::releases::published(catalog, release, &release.requester, "release signed");
        metrics.verifications.get_or_create(&Outcome { outcome: "verified" }).inc();
    }
    if let Some(PipelineError::Refused(_)) = error.as_deref() {
        metrics.verifications.get_or_create(&Outcome { outcome: "refused" }).inc();
    }
    for (_, health) in uses.iter().filter(|(_, health)| *health != Health::Untouched) {
        metrics.key_uses.get_or_create(&Outcome { outcome: health.word() }).inc();
        match health {
            Health::Trouble => metrics.incident(Incident::Key),
            Health::WrongPin => metrics.incident(Incident::Pin),
            Health::Signed | Health::Untouched => {}
        }
    }
    let is_own = signature.as_ref().is_some_and(|signature| signature.request == job.id);
    let is_new = is_own || release.is_some();
    metrics.signing(&job.asked.kind, fate(job, is_new));
    if is_new {
        let took = finished.millis().saturating_sub(job.since().millis());
        metrics.signed_after(&job.asked.kind, took as f64 / 1000.0);
    }
    let (request, state) = (job.id, job.progress.state.word());
    metrics.stamps(stamps);
    for StampAnswer { authority, refused } in stamps {
        if let Some(why) = refused {
            tracing::warn!(%request, authority, why, "a timestamp authority gave none");
        }
    }
    match trouble {
        Some(trouble) => tracing::warn!(%request, key, state, trouble, "a signing request met trouble"),
        None => tracing::debug!(%request, key, state, "a signing request was carried out"),
    }
}

/// What a job that was carried out came to; `is_new` says that something was
/// signed for it.
fn fate(job: &Job, is_new: bool) -> Fate {
    // The service could not do it, whatever was asked for.
    let is_at_fault = job.progress.reasons.iter().any(|reason| reason.rule == "service");
    match job.progress.state {
        JobState::Queued => Fate::Again,
        JobState::Waiting => Fate::Waiting,
        JobState::Held => Fate::Held,
        JobState::Signed if is_new => Fate::Signed,
        JobState::Signed => Fate::Stored,
        JobState::Refused if is_at_fault => Fate::Failed,
        JobState::Refused => Fate::Refused,
        JobState::Expired if is_at_fault => Fate::Expired,
        JobState::Expired => Fate::Lapsed,
        JobState::Cancelled => Fate::Cancelled,
    }
}
