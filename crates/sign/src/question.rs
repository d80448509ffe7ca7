//! What a policy is asked about a job.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmseal_evidence::Facts;
use firmseal_fleet::{Deviation, Job, JobKind, Product, Release, Time};
use firmseal_manifest::{ArtifactId, Digest};
use firmseal_store::Mark;

use crate::artifact::Examined;
use crate::judging::{artifact_facts, salt};
use crate::policy::{Action, Previous, Question};
use crate::signing_key::SigningKey;

/// What a question is put together from, beside the job.
pub(crate) struct Asking<'a> {
    pub(crate) product: &'a Product,
    /// What stands before it, on the channel.
    pub(crate) previous: Option<Previous>,
    pub(crate) examined: &'a Examined,
    pub(crate) key: &'a Arc<SigningKey>,
    pub(crate) evidence: Facts,
    pub(crate) approvals: u32,
    /// Whether the key stands in for another.
    pub(crate) fallback: bool,
    pub(crate) unusual: &'a BTreeSet<Deviation>,
}

/// What stands before, on a channel: the latest release, or what is higher of
/// the files that were signed by themselves. Releases have an order of their
/// own, in which a person may go back; files have none but their versions.
pub(crate) fn previous(latest: Option<Release>, files: Option<Mark>) -> Option<Previous> {
    let latest = latest.map(|release| Previous { version: release.version, epoch: release.epoch });
    let files = files.map(|mark| Previous { version: mark.version, epoch: mark.epoch });
    match (latest, files) {
        (Some(latest), Some(files)) => Some(Previous {
            version: latest.version.max(files.version),
            epoch: latest.epoch.max(files.epoch),
        }),
        (latest, files) => latest.or(files),
    }
}

/// The question about one file, to a policy in force under these rules.
pub(crate) fn of_artifact(job: &Job, asking: Asking<'_>, rules: &Digest, now: Time) -> Question {
    let Asking { product, previous, examined, key, evidence, approvals, fallback, unusual } = asking;
    let asked = &job.asked;
    let only = match product.components.as_slice() {
        [only] => only.name.clone(),
        _ => String::new(),
    };
    let digest = match &asked.kind {
        JobKind::Artifact(order) => order.artifact,
        JobKind::Release(_) => ArtifactId(Digest([0; 32])),
    };
    Question {
        request: job.id,
        action: Action::SignArtifact,
        caller: asked.caller.clone(),
        product: asked.product.clone(),
        environment: product.environment,
        channel: asked.channel.clone(),
        version: asked.version.clone(),
        epoch: asked.epoch,
        keys: vec![key.facts(now, fallback)],
        artifacts: vec![artifact_facts(&only, digest, &examined.inspection, examined.size)],
        previous,
        priority: Some(asked.priority),
        build: asked.build.clone(),
        commit: asked.commit.clone(),
        evidence,
        approvals,
        released: job.progress.is_released(rules),
        anomalies: unusual.iter().map(|deviation| deviation.word().to_owned()).collect(),
        now,
        salt: salt(),
    }
}
