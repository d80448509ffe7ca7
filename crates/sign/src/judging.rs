//! Judging: the policy in force is asked about an order after the gate, and
//! before any key is used.
//!
//! What was asked and answered becomes a record. Its digest is in the context
//! of each intent that follows, or in an event where nothing follows.

use std::collections::BTreeSet;

use firmseal_core::{Refusal, Root};
use firmseal_evidence::Facts;
use firmseal_fleet::{Product, SigningRequest, Time};
use firmseal_formats::Inspection;
use firmseal_manifest::{ArtifactId, ChannelName, Digest, Event, ProductId, RequestId, Ruling};
use uuid::Uuid;

use crate::error::PipelineError;
use crate::keys::Keys;
use crate::order::Order;
use crate::pipeline::{Pipeline, rules};
use crate::policy::{Action, ArtifactFacts, Decision, KeyFacts, Policy, PolicyError, Question, Verdict};
use crate::question::previous;
use crate::release_job::Errand;

/// Longest record of a decision, in bytes.
pub(crate) const RECORD_MAX: u64 = 4 << 20;

/// What a policy said, and the record of it.
#[derive(Clone)]
pub(crate) struct Judged {
    /// Digest of the rules that it was judged by.
    pub(crate) rules: Digest,
    pub(crate) record: Digest,
    pub(crate) verdict: Verdict,
}

/// What a policy says of a request that waited.
pub(crate) enum Again {
    /// There is no policy.
    Unasked,
    /// It may be signed, by this record.
    Permit(Digest),
    /// It wants more, which may come: the request waits on.
    NotNow,
}

impl Judged {
    /// How many approvals the policy asks for.
    pub(crate) fn need(&self) -> u32 {
        match &self.verdict {
            Verdict::Approvals { need, .. } => *need,
            _ => 0,
        }
    }
}

/// What a policy learns of a file.
pub(crate) fn artifact_facts(
    component: &str,
    digest: ArtifactId,
    inspection: &Inspection,
    size: u64,
) -> ArtifactFacts {
    ArtifactFacts {
        component: component.to_owned(),
        digest,
        format: inspection.format.clone(),
        size,
        version: inspection.version.clone(),
        epoch: inspection.epoch,
        target: inspection.target.clone(),
        debug: inspection.debug,
        encrypted: inspection.encrypted,
        addresses: inspection.load_addresses.clone(),
    }
}

/// Whether the product's images have signatures of their own.
pub(crate) fn signs_images(product: &Product) -> bool {
    firmseal_formats::find(&product.format).is_ok_and(|format| format.embedding().is_some())
}

/// What a policy learns of the keys that would sign.
fn key_facts(keys: &Keys, signs_images: bool, now: Time) -> Vec<KeyFacts> {
    let images = keys.artifact.iter().filter(|_| signs_images);
    keys.release.iter().chain(images).map(|key| key.facts(now, false)).collect()
}

impl Pipeline {
    /// Asks the policy in force about an order; `None` where there is none.
    /// A refusal is told to the log.
    pub(crate) async fn judge(
        &self,
        request: RequestId,
        order: &Order,
        product: &Product,
        read: (Vec<ArtifactFacts>, Facts),
        errand: &Errand,
        now: Time,
    ) -> Result<Option<Judged>, PipelineError> {
        let Some(policy) = self.deciding()? else { return Ok(None) };
        let (store, product_id, channel) = (self.store(), &order.product, &order.channel);
        let latest = store.latest_release_on(product_id, channel).await?;
        let files = store.highest_signed(product_id, channel).await?.on_channel;
        let question = Question {
            request,
            action: Action::SignRelease,
            caller: order.requester.0.clone(),
            product: order.product.clone(),
            environment: product.environment,
            channel: order.channel.clone(),
            version: order.version.clone(),
            epoch: order.epoch,
            keys: key_facts(self.keys(&product.id), signs_images(product), now),
            artifacts: read.0,
            previous: previous(latest, files),
            priority: Some(errand.priority()),
            build: order.build.clone(),
            commit: order.commit.clone(),
            evidence: read.1,
            approvals: 0,
            released: errand.is_released(&rules(Some(&*policy))),
            anomalies: errand.anomalies(),
            now,
            salt: salt(),
        };
        let judged = self.ask(&*policy, question).await?;
        let (decision, rules) = (judged.record, judged.rules);
        let stop = match judged.verdict.clone() {
            Verdict::Refuse { reasons } => PipelineError::Policy { reasons, decision },
            Verdict::Hold { reasons } => PipelineError::Held { reasons, decision, rules },
            Verdict::Permit | Verdict::Approvals { .. } => return Ok(Some(judged)),
        };
        if !errand.is_job() {
            // Nobody can hold what is no job: it is refused.
            self.store().note(Event::Decided { request, decision, ruling: Ruling::Refused }, None).await?;
        }
        Err(stop)
    }

    /// Asks once more, when a request that waited is about to be signed:
    /// people have agreed since, and time has passed.
    pub(crate) async fn judge_again(
        &self,
        request: &SigningRequest,
        approvals: u32,
        errand: &Errand,
        now: Time,
    ) -> Result<Again, PipelineError> {
        let policy = self.deciding()?;
        if rules(policy.as_deref()) != request.policy {
            return Err(PipelineError::Superseded("another policy is in force since then".to_owned()));
        }
        let Some(policy) = policy else { return Ok(Again::Unasked) };
        // Every request is asked about before it waits. One that says so of
        // none was never permitted.
        let first = request.decision.ok_or_else(|| {
            PipelineError::Superseded("the policy in force was never asked about it".to_owned())
        })?;
        let record = self.store().read_all(&first, RECORD_MAX).await?;
        let asked: Decision =
            serde_json::from_slice(&record).map_err(|error| PolicyError(format!("its record: {error}")))?;
        let product = self.store().product(&request.product).await?;
        // While people thought, a key's day of rotation may have passed.
        let keys = key_facts(self.usable_keys(&product, now)?, signs_images(&product), now);
        let released = errand.is_released(&request.policy);
        let question = Question { approvals, released, keys, now, ..asked.question };
        match policy.decide(&question)? {
            Verdict::Hold { reasons } if errand.is_job() => {
                let verdict = Verdict::Hold { reasons: reasons.clone() };
                let Judged { rules, record, .. } = self.record(&*policy, question, verdict).await?;
                Err(PipelineError::Held { reasons, decision: record, rules })
            }
            Verdict::Permit => {
                Ok(Again::Permit(self.record(&*policy, question, Verdict::Permit).await?.record))
            }
            _ => Ok(Again::NotNow),
        }
    }

    /// Refuses to wait for more people than there are.
    pub(crate) fn check_approvers(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        need: u32,
    ) -> Result<(), PipelineError> {
        if need == 0 {
            return Ok(());
        }
        let document = self.root();
        let root = Root::decode(&document)?;
        let have = match root.approvers(product.as_str(), Some(channel.as_str())) {
            Ok(role) => role.keys().map(|(holder, _)| holder).collect::<BTreeSet<_>>().len(),
            Err(Refusal::RoleMissing) => 0,
            Err(other) => return Err(other.into()),
        };
        match usize::try_from(need).is_ok_and(|need| need <= have) {
            true => Ok(()),
            false => Err(PipelineError::TooFewApprovers { need, have }),
        }
    }

    async fn ask(&self, policy: &dyn Policy, question: Question) -> Result<Judged, PipelineError> {
        let verdict = policy.decide(&question)?;
        self.record(policy, question, verdict).await
    }

    /// Stores what was asked and answered.
    async fn record(
        &self,
        policy: &dyn Policy,
        question: Question,
        verdict: Verdict,
    ) -> Result<Judged, PipelineError> {
        let decision = Decision::of(policy, question, verdict.clone());
        let under = decision.policy.0;
        let record = self.store().put_bytes(decision.encode().into()).await?;
        Ok(Judged { rules: under, record, verdict })
    }
}

/// 122 random bits as hex.
pub(crate) fn salt() -> String {
    Uuid::new_v4().simple().to_string()
}
