//! Artifact jobs: gate, policy, log, key, record.

use std::sync::Arc;
use std::time::Duration;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{ArtifactOrder, Job, JobReview, Product, Reason, Signature, Time};
use firmseal_keys::{Logged, SignError};
use firmseal_manifest::{ArtifactId, Digest, Intent, Outcome, Purpose, Ruling};
use firmseal_store::JobOutcome;

use crate::artifact::{self, Examined};
use crate::carry_out::{Clock, Course};
use crate::dispatch::Health;
use crate::error::PipelineError;
use crate::job_review::JobAgreed;
use crate::key_rules::KeyPurpose;
use crate::order::Requester;
use crate::pipeline::Pipeline;
use crate::policy::{Decision, Verdict};
use crate::question::{self, Asking};
use crate::signing_key::{Ask, SigningKey};

/// How long a job waits after its key has failed, at first and at most.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(30);

impl Pipeline {
    /// Signs the file of a job, or says what becomes of the job instead.
    pub(crate) async fn sign_artifact(
        &self,
        course: &mut Course,
        order: &ArtifactOrder,
        stand_in: Option<&str>,
        unseen_since: Option<u64>,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        let asked = course.job.asked.clone();
        let product = self.store().product(&asked.product).await?;
        let own = self.key_for(&product, order.key.as_deref(), &asked.caller.name, clock())?;
        let key = match stand_in {
            None => own,
            Some(name) => self.job_key(name).ok_or_else(|| PipelineError::NoArtifactKey {
                product: product.id.to_string(),
                format: product.format.clone(),
            })?,
        };
        course.key = key.name().to_string();
        let examined = self.examine_artifact(&asked, order.artifact, &product, key).await?;
        let tbs = examined.tbs.fingerprint();
        course.turn = Some(self.same_bytes.take((key.id().0, tbs)).await);
        if let Some(since) = unseen_since {
            for intent in self.unseen(since, &examined.tbs, &[own.id(), key.id()]).await? {
                course.failed(intent, Outcome::Unknown);
            }
        }
        let latest = self.store().latest_release(&asked.product).await?;
        artifact::check(&asked, &product, latest.as_ref(), &examined)?;

        let fallback = stand_in.is_some();
        let evidence = self.facts(&asked.product, &asked.evidence, &[order.artifact]).await?;
        let agreed = self.still_agreed(course, &examined, key, clock()).await?;
        let (latest, examined) = (latest.as_ref(), &examined);
        let asking = Asking { product: &product, latest, examined, key, evidence, approvals: agreed.holders };
        let ruled = self.ask_policy(course, asking, fallback, clock())?;
        if let Some(stop) = ruled {
            return Ok(stop);
        }
        // What was signed once is not signed again, whoever asks: the gate
        // and the policy have agreed to this request by itself.
        if let Some(known) = self.store().signature_over(key.id().0, tbs).await? {
            let first = known.request;
            course.known = Some(known);
            return Ok(JobOutcome::SameAs(first));
        }
        self.use_key(course, &product, order.artifact, examined, agreed.statements, key, fallback, clock)
            .await
    }

    /// What approvers of a job would agree to now.
    fn review(&self, job: &Job, examined: &Examined, key: &SigningKey, need: u32) -> JobReview {
        JobReview {
            tbs: examined.tbs.fingerprint(),
            header: examined.inspection.digest(),
            policy: self.rules(),
            signer: key.id().0,
            need,
            expiry: job.asked.deadline.millis() / 1000,
        }
    }

    /// Who has agreed to exactly what would be signed now. What changed since
    /// (file, key, rules) needs their word anew.
    async fn still_agreed(
        &self,
        course: &Course,
        examined: &Examined,
        key: &SigningKey,
        now: Time,
    ) -> Result<JobAgreed, PipelineError> {
        let job = &course.job;
        match &job.progress.review {
            Some(review) if *review == self.review(job, examined, key, review.need) => {
                self.agreed_to(job, review, now).await
            }
            _ => Ok(JobAgreed::default()),
        }
    }

    /// What policy says; `None` if it permits.
    fn ask_policy(
        &self,
        course: &mut Course,
        asking: Asking<'_>,
        fallback: bool,
        now: Time,
    ) -> Result<Option<JobOutcome>, PipelineError> {
        let Some(policy) = self.policy() else {
            // Nobody permits a key to stand in for another one.
            let why = "no policy permits another key to stand in";
            return Ok(fallback.then(|| course.again(now, AGAIN_MAX, "fallback", why)));
        };
        let (examined, key, approvals) = (asking.examined, asking.key, asking.approvals);
        let question = question::of_artifact(&course.job, asking, fallback, now);
        let verdict = match policy.decide(&question) {
            Ok(verdict) => verdict,
            Err(error) => return Ok(Some(course.refuse(vec![Reason::new("policy", error.to_string())]))),
        };
        let record =
            Decision { policy: ArtifactId(self.rules()), question, answer: verdict.clone() }.encode();
        course.decision = Some(record);
        Ok(match verdict {
            Verdict::Permit => None,
            // Only the stand-in is refused: the key itself may come back.
            Verdict::Refuse { reasons } if fallback => {
                course.reasons = reasons;
                Some(JobOutcome::Again(now.plus(AGAIN_MAX)))
            }
            Verdict::Refuse { reasons } => Some(course.refuse(reasons)),
            Verdict::Approvals { need, .. } if approvals >= need => None,
            // People agree to a key by its id: to the one that was asked for.
            Verdict::Approvals { reasons, .. } if fallback => {
                course.reasons = reasons;
                Some(JobOutcome::Again(now.plus(AGAIN_MAX)))
            }
            Verdict::Approvals { need, reasons } => {
                course.reasons = reasons;
                course.ruled(Ruling::Approvals);
                Some(JobOutcome::Waiting(self.review(&course.job, examined, key, need)))
            }
            Verdict::Hold { reasons } => {
                course.reasons = reasons;
                course.ruled(Ruling::Held);
                Some(JobOutcome::Held)
            }
        })
    }

    #[allow(clippy::too_many_arguments)]
    async fn use_key(
        &self,
        course: &mut Course,
        product: &Product,
        artifact: ArtifactId,
        examined: &Examined,
        statements: Vec<Digest>,
        key: &Arc<SigningKey>,
        fallback: bool,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        let asked = course.job.asked.clone();
        // Before the log: nothing is announced that the key's rules forbid.
        let ask = Ask { purpose: KeyPurpose::Artifact, product, caller: &asked.caller.name, now: clock() };
        let used = self.claim(key, ask).await?;
        let header = examined.inspection.digest();
        let decision = course.decision.as_deref().map(|record| RustCrypto.digest(record));
        let intent = Intent {
            purpose: Purpose::Artifact,
            subject: examined.tbs.fingerprint(),
            keys: vec![key.id()],
            delegation: None,
            statements,
            requester: Requester(asked.caller.clone()).id(),
            policy: self.rules(),
            context: [header].into_iter().chain(decision).collect(),
        };
        let logged = Logged::append_for(self.log(), intent, key.public_key()).await?;
        let index = logged.index();
        let signing = used.sign(logged, examined.tbs.clone());
        let value = match tokio::time::timeout(self.attempt_limit(), signing).await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => return Ok(key_failed(course, index, &error, clock())),
            Err(_) => {
                course.health = Health::Trouble;
                course.trouble = Some(format!("no answer within {} s", self.attempt_limit().as_secs()));
                course.failed(index, Outcome::Unknown);
                let wait = backoff(course.attempts());
                return Ok(course.again(clock(), wait, "key", "the key does not answer"));
            }
        };
        course.health = Health::Signed;
        let signed = match self.attach(&asked.caller.name, examined, &value, clock()).await {
            Ok(signed) => signed,
            Err(error) => {
                // The key was used, and what came of it leaves nowhere.
                course.failed(index, Outcome::Failed);
                return Err(error);
            }
        };
        let timestamps = match self.timestamp(&value.0).await {
            Ok(timestamps) => timestamps,
            Err(PipelineError::Stamp(error)) => {
                // Required, and nobody gave one: the signature leaves
                // nowhere, and is made again when there is an authority.
                course.failed(index, Outcome::Failed);
                let wait = backoff(course.attempts());
                return Ok(course.again(clock(), wait, "timestamp", &error.to_string()));
            }
            Err(error) => {
                course.failed(index, Outcome::Failed);
                return Err(error);
            }
        };
        let format = examined.inspection.format.clone();
        Ok(JobOutcome::Signed(Box::new(Signature {
            request: course.job.id,
            product: asked.product,
            channel: asked.channel,
            version: asked.version,
            artifact,
            format,
            value: value.0,
            tbs: examined.tbs.fingerprint(),
            header,
            signed,
            key: key.name().to_string(),
            key_id: key.id().0,
            algorithm: key.public_key().algorithm().to_string(),
            fallback,
            policy: self.rules(),
            decision,
            log_index: index,
            attempts: course.attempts() + 1,
            timestamps,
            asked: asked.created,
            finished: clock(),
        })))
    }
}

fn backoff(failures: u32) -> Duration {
    AGAIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(AGAIN_MAX)
}

/// What becomes of a job whose key did not sign.
fn key_failed(course: &mut Course, index: u64, error: &SignError, now: Time) -> JobOutcome {
    course.trouble = Some(error.to_string());
    match error {
        // Whether it has signed is not known: the answer was lost, not made.
        SignError::Unavailable(_) => {
            course.health = Health::Trouble;
            course.failed(index, Outcome::Unknown);
            let wait = backoff(course.attempts());
            course.again(now, wait, "key", "the key is out of reach")
        }
        SignError::BadSignature => {
            course.health = Health::Trouble;
            course.failed(index, Outcome::Failed);
            let wait = backoff(course.attempts());
            course.again(now, wait, "key", "what the key answered does not verify")
        }
        SignError::WrongPin => {
            course.health = Health::WrongPin;
            course.failed(index, Outcome::Failed);
            course.again(now, Duration::ZERO, "key", "the key refused its PIN; somebody has to see to it")
        }
        SignError::NotCovered
        | SignError::NoLeaf(_)
        | SignError::Unsupported { .. }
        | SignError::Refused(_) => {
            course.failed(index, Outcome::Failed);
            course.refuse(vec![Reason::new("key", "the key refused to sign this")])
        }
    }
}
