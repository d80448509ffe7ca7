//! What a policy is asked about a job.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmseal_evidence::Facts;
use firmseal_fleet::{Deviation, Job, JobKind, Product, Release, Time};
use firmseal_manifest::{ArtifactId, Digest};

use crate::artifact::Examined;
use crate::judging::{artifact_facts, salt};
use crate::policy::{Action, Previous, Question};
use crate::signing_key::SigningKey;

/// What a question is put together from, beside the job.
pub(crate) struct Asking<'a> {
    pub(crate) product: &'a Product,
    /// The release before, on the channel.
    pub(crate) before: Option<&'a Release>,
    pub(crate) examined: &'a Examined,
    pub(crate) key: &'a Arc<SigningKey>,
    pub(crate) evidence: Facts,
    pub(crate) approvals: u32,
    /// Whether the key stands in for another.
    pub(crate) fallback: bool,
    pub(crate) unusual: &'a BTreeSet<Deviation>,
}

/// The question about one file, to a policy in force under these rules.
pub(crate) fn of_artifact(job: &Job, asking: Asking<'_>, rules: &Digest, now: Time) -> Question {
    let Asking { product, before, examined, key, evidence, approvals, fallback, unusual } = asking;
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
        previous: before.map(|release| Previous { version: release.version.clone(), epoch: release.epoch }),
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
