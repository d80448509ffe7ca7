//! What became of requests, counted: for whoever is on call, and offered to
//! devices where it is a release.

use firmseal_fleet::{Job, JobState};
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
    let Carried { job, signature, release, error, key, uses, trouble, stamps, covered, finished, .. } =
        carried;
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
        if let Some(covered) = covered {
            metrics.builds.signed(covered);
        }
    }
    if let Some(signature) = signature.as_ref().filter(|_| is_own) {
        tracing::info!(
            request = %job.id,
            product = %signature.product,
            version = %signature.version,
            artifact = %signature.artifact,
            key = signature.key,
            build = job.asked.build,
            commit = job.asked.commit,
            log_index = signature.log_index,
            operator = job.asked.caller.name,
            "file signed"
        );
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use firmseal_fleet::{JobKind, Priority, Progress, Reason, Release, ReleaseOrder, ReleaseState};
    use firmseal_manifest::{Digest, ReleaseId};
    use firmseal_store::conformance::samples;

    use super::*;

    fn job(progress: Progress) -> Job {
        Job { progress, ..samples::job("red", "k", Priority::Release) }
    }

    fn order(progress: Progress) -> Job {
        let mut job = job(progress);
        let components = Vec::new();
        job.asked.kind =
            JobKind::Release(ReleaseOrder { sequence: None, components, sbom: None, rollback: None });
        job
    }

    fn carried(job: Job) -> Carried {
        Carried {
            job,
            signature: None,
            release: None,
            error: None,
            key: "k".to_owned(),
            uses: Vec::new(),
            trouble: None,
            stamps: Vec::new(),
            covered: None,
            stored: true,
            finished: samples::later(100),
        }
    }

    fn release_of(job: &Job) -> Release {
        Release {
            id: ReleaseId::new(),
            product: job.asked.product.clone(),
            channel: job.asked.channel.clone(),
            version: job.asked.version.clone(),
            sequence: 1,
            epoch: 1,
            components: Vec::new(),
            manifest: Digest([1; 32]),
            envelope: Digest([2; 32]),
            sbom: None,
            evidence: Vec::new(),
            state: ReleaseState::Verified,
            build: String::new(),
            commit: String::new(),
            request: job.id,
            requester: "ci".to_owned(),
            log_index: 0,
            created: samples::later(3),
        }
    }

    /// What is counted of these, and nothing else.
    fn counts(seen: &[Seen<'_>], expected: &[&str]) {
        let (metrics, catalog) = (Metrics::new(), Catalog::default());
        for seen in seen {
            observe(&metrics, &catalog, *seen);
        }
        let text = metrics.text().unwrap();
        let told = |line: &&str| {
            let families = ["firmseal_signing_requests_total{", "firmseal_signing_duration_seconds_sum{"];
            families.iter().any(|family| line.starts_with(family)) && !line.ends_with(" 0")
        };
        let mut told: Vec<&str> = text.lines().filter(told).collect();
        told.sort_unstable();
        assert_eq!(told, expected);
    }

    fn state(state: JobState) -> Progress {
        Progress { state, ..Progress::default() }
    }

    #[test]
    fn what_expires_in_the_queue_is_the_services_and_what_lapses_is_peoples() {
        let [queued, waiting, held] =
            [JobState::Queued, JobState::Waiting, JobState::Held].map(|own| job(state(own)));
        let ordered = order(state(JobState::Waiting));
        counts(
            &[Seen::Late(&queued), Seen::Late(&waiting), Seen::Late(&held), Seen::Late(&ordered)],
            &[
                "firmseal_signing_requests_total{kind=\"artifact\",outcome=\"expired\"} 1",
                "firmseal_signing_requests_total{kind=\"artifact\",outcome=\"lapsed\"} 2",
                "firmseal_signing_requests_total{kind=\"release\",outcome=\"lapsed\"} 1",
            ],
        );
        // Approvals that nobody brought, and those that nothing came of.
        let nobody = carried(order(state(JobState::Expired)));
        let reasons = vec![Reason::new("service", "it was not signed in time")];
        let nothing = carried(order(Progress { reasons, ..state(JobState::Expired) }));
        counts(
            &[Seen::Carried(&nobody), Seen::Carried(&nothing)],
            &[
                "firmseal_signing_requests_total{kind=\"release\",outcome=\"expired\"} 1",
                "firmseal_signing_requests_total{kind=\"release\",outcome=\"lapsed\"} 1",
            ],
        );
    }

    #[test]
    fn what_is_measured_ends_with_the_signature_and_begins_behind_people() {
        let signed = state(JobState::Signed);
        let file = job(signed.clone());
        let file = Carried { signature: Some(samples::signature(&file)), ..carried(file) };
        let release = order(signed.clone());
        let release = Carried { release: Some(release_of(&release)), ..carried(release) };
        counts(
            &[Seen::Carried(&file), Seen::Carried(&release)],
            &[
                "firmseal_signing_duration_seconds_sum{kind=\"artifact\"} 100.0",
                "firmseal_signing_duration_seconds_sum{kind=\"release\"} 100.0",
                "firmseal_signing_requests_total{kind=\"artifact\",outcome=\"signed\"} 1",
                "firmseal_signing_requests_total{kind=\"release\",outcome=\"signed\"} 1",
            ],
        );
        let agreed = job(Progress { resumed: Some(samples::later(90)), ..signed });
        let agreed = Carried { signature: Some(samples::signature(&agreed)), ..carried(agreed) };
        // What was signed before is measured no more.
        let known = carried(job(state(JobState::Signed)));
        counts(
            &[Seen::Carried(&agreed), Seen::Carried(&known)],
            &[
                "firmseal_signing_duration_seconds_sum{kind=\"artifact\"} 10.0",
                "firmseal_signing_requests_total{kind=\"artifact\",outcome=\"signed\"} 1",
                "firmseal_signing_requests_total{kind=\"artifact\",outcome=\"stored\"} 1",
            ],
        );
    }
}
