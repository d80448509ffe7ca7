//! Artifact jobs: gate, policy, log, key, record.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{ArtifactOrder, Deviation, Job, JobReview, Product, Reason, Signature, Time};
use firmseal_manifest::{Digest, Intent, Purpose, Ruling};
use firmseal_store::JobOutcome;

use crate::artifact::{self, Examined};
use crate::carry_out::{AGAIN_MAX, Clock, Course};
use crate::error::PipelineError;
use crate::evidence::Covered;
use crate::job_review::JobAgreed;
use crate::key_rules::KeyPurpose;
use crate::order::Requester;
use crate::pipeline::{Pipeline, rules};
use crate::policy::{Decision, Policy, PolicyError, Verdict};
use crate::question::{self, Asking};
use crate::signing_key::{Ask, SigningKey};

/// What a key is used with.
struct Using<'a> {
    product: &'a Product,
    order: &'a ArtifactOrder,
    examined: &'a Examined,
    statements: Vec<Digest>,
    key: &'a Arc<SigningKey>,
    fallback: bool,
    /// What was asked: another policy may be in force by now.
    rules: Digest,
}

impl Pipeline {
    /// Signs the file of a job, or says what becomes of the job instead.
    pub(crate) async fn sign_artifact(
        &self,
        course: &mut Course,
        order: &ArtifactOrder,
        stand_in: Option<&str>,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        let asked = course.job.asked.clone();
        let policy = match self.deciding() {
            Ok(policy) => policy,
            // Nobody's request is at fault, and somebody can mend it.
            Err(PolicyError(why)) => {
                course.trouble = Some(why.clone());
                return Ok(course.again(clock(), AGAIN_MAX, "policy", &why));
            }
        };
        let rules = rules(policy.as_deref());
        // What belongs together is asked for at once, and heard in the order in
        // which it is refused.
        let store = self.store();
        let (product, stored) = tokio::join!(store.product(&asked.product), store.artifact(&order.artifact));
        let product = product?;
        // The one that was resolved, and held against the caller's scope, when it
        // was asked for: the product's own may be another by now.
        let own = self.key_for(&product, Some(&asked.signing_key), &asked.caller.name, clock())?;
        let key = match stand_in {
            None => own,
            Some(name) => match self.stand_in(&product, name, &asked.caller, clock()) {
                Ok(key) => key,
                // The key itself may come back.
                Err(error) => return Ok(course.again(clock(), AGAIN_MAX, "fallback", &error.to_string())),
            },
        };
        course.key = key.name().to_string();
        let examined = Arc::new(self.examine_artifact(&asked, stored, &product, key).await?);
        // A refusal says what was read.
        course.examined = Some((order.artifact, examined.clone()));
        let tbs = examined.tbs.fingerprint();
        course.turn = Some(self.same_bytes.take((key.id().0, tbs)).await);
        // In its turn: what the one before has signed is on record by now.
        let before = store.before_signing(&asked.product, &asked.channel, own.id().0, tbs).await?;
        let fallback = stand_in.is_some();
        // What was signed once is not signed again, whoever asks: the gate
        // and the policy agree to this request by itself. Nor does a stand-in
        // sign what the key itself has signed.
        let known = match &before.signature {
            None if fallback => store.signature_over(key.id().0, tbs).await?,
            known => known.clone(),
        };
        let known = match known {
            Some(known) if self.is_same_file(&examined, &known).await? => Some(known),
            _ => None,
        };
        let epochs = self.epochs_of_file(&asked, &before, known.is_some());
        artifact::check(&asked, &product, &examined, epochs)?;

        let evidence = self.facts(&asked.product, &asked.evidence, &[order.artifact]).await?;
        course.covered = Some(Covered::by(&evidence, product.environment));
        let agreed = self.still_agreed(course, &examined, key, rules, clock()).await?;
        let examined = &*examined;
        let unusual = self.unusual(key, &asked, clock()).await?;
        if let Some(policy) = policy {
            let (product, approvals, unusual) = (&product, agreed.holders, &unusual);
            // Nothing goes back where nothing new is signed.
            let files = before.highest.on_channel.filter(|_| known.is_none());
            let previous = question::previous(before.latest_on_channel, files);
            let asking = Asking { product, previous, examined, key, evidence, approvals, fallback, unusual };
            let stop = self.ask_policy(course, &*policy, rules, asking, clock())?;
            self.tell_unusual(course, key, unusual, stop.as_ref(), clock());
            if let Some(stop) = stop {
                return Ok(stop);
            }
        } else if fallback {
            // Nobody permits a key to stand in for another one.
            let why = "no policy permits another key to stand in";
            return Ok(course.again(clock(), AGAIN_MAX, "fallback", why));
        } else {
            self.tell_unusual(course, key, &unusual, None, clock());
        }
        if let Some(known) = known {
            let first = known.request;
            course.known = Some(known);
            return Ok(JobOutcome::SameAs(first));
        }
        let statements = agreed.statements;
        let using = Using { product: &product, order, examined, statements, key, fallback, rules };
        self.use_key(course, using, clock).await
    }

    /// Has the log tell of a use that departs from the usual, refused or not:
    /// somebody tried.
    pub(crate) fn tell_unusual(
        &self,
        course: &mut Course,
        key: &SigningKey,
        unusual: &BTreeSet<Deviation>,
        stop: Option<&JobOutcome>,
        now: Time,
    ) {
        // A job that is tried again is asked about again.
        if matches!(stop, Some(JobOutcome::Again(_))) {
            return;
        }
        let fresh = self.untold(key, &course.job.asked, unusual, now);
        if !fresh.is_empty() {
            course.unusual(key.id(), &fresh);
        }
    }

    /// Who has agreed to exactly what would be signed now. What changed since
    /// (file, key, rules) needs their word anew.
    async fn still_agreed(
        &self,
        course: &Course,
        examined: &Examined,
        key: &SigningKey,
        rules: Digest,
        now: Time,
    ) -> Result<JobAgreed, PipelineError> {
        let job = &course.job;
        match &job.progress.review {
            Some(review) if *review == review_of(job, examined, key, rules, review.need) => {
                self.agreed_to(job, review, now).await
            }
            _ => Ok(JobAgreed::default()),
        }
    }

    /// What policy says; `None` if it permits.
    fn ask_policy(
        &self,
        course: &mut Course,
        policy: &dyn Policy,
        rules: Digest,
        asking: Asking<'_>,
        now: Time,
    ) -> Result<Option<JobOutcome>, PipelineError> {
        let (examined, key, approvals, fallback) =
            (asking.examined, asking.key, asking.approvals, asking.fallback);
        let question = question::of_artifact(&course.job, asking, &rules, now);
        let verdict = match policy.decide(&question) {
            Ok(verdict) => verdict,
            Err(error) => return Ok(Some(course.refuse(vec![Reason::new("policy", error.to_string())]))),
        };
        let record = Decision::of(policy, question, verdict.clone()).encode();
        course.decision = Some(record);
        Ok(match verdict {
            Verdict::Permit => None,
            // Only the stand-in is refused: the key itself may come back.
            Verdict::Refuse { reasons } if fallback => {
                course.reasons = reasons;
                Some(JobOutcome::Again(now.plus(AGAIN_MAX)))
            }
            Verdict::Refuse { reasons } => Some(course.refused_by_policy(reasons)),
            Verdict::Approvals { need, .. } if approvals >= need => None,
            // People agree to a key by its id: to the one that was asked for.
            Verdict::Approvals { reasons, .. } if fallback => {
                course.reasons = reasons;
                Some(JobOutcome::Again(now.plus(AGAIN_MAX)))
            }
            Verdict::Approvals { need, reasons } => {
                let asked = &course.job.asked;
                self.check_approvers(&asked.product, &asked.channel, need)?;
                course.ruled(Ruling::Approvals, reasons);
                Some(JobOutcome::Waiting(review_of(&course.job, examined, key, rules, need)))
            }
            Verdict::Hold { reasons } => {
                course.ruled(Ruling::Held, reasons);
                Some(JobOutcome::Held(rules))
            }
        })
    }

    /// Uses the key, and makes the record.
    async fn use_key(
        &self,
        course: &mut Course,
        using: Using<'_>,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        let Using { product, order, examined, statements, key, fallback, rules } = using;
        let asked = course.job.asked.clone();
        // Before the log: nothing is announced that the key's rules forbid.
        let ask = Ask { purpose: KeyPurpose::Artifact, product, caller: &asked.caller.name, now: clock() };
        let used = match self.claim(key, ask).await {
            Err(PipelineError::KeyRefused(refusal)) if fallback => {
                return Ok(course.again(clock(), AGAIN_MAX, "fallback", &refusal.to_string()));
            }
            claimed => claimed?,
        };
        let header = examined.inspection.digest();
        let decision = course.decision.as_deref().map(|record| RustCrypto.digest(record));
        let intent = Intent {
            purpose: Purpose::Artifact,
            subject: examined.tbs.fingerprint(),
            keys: vec![key.id()],
            delegation: None,
            statements,
            requester: Requester(asked.caller.clone()).id(),
            policy: rules,
            context: [header].into_iter().chain(decision).chain(course.attempts.mark()).collect(),
        };
        let logged = course.attempts.log(self.log(), &used, intent).await?;
        let log_index = logged.index();
        let value = course.attempts.sign(used, logged, examined.tbs.clone()).await?;
        // From here on the key was used; where one of these fails, what came
        // of it leaves nowhere.
        let signed = self.attach(&asked.caller.name, examined, &value, clock()).await?;
        let timestamps = self.timestamp(&value.0, &mut course.stamps).await?;
        self.learn(key, &asked, clock());
        Ok(JobOutcome::Signed(Box::new(Signature {
            request: course.job.id,
            product: asked.product,
            channel: asked.channel,
            version: asked.version,
            artifact: order.artifact,
            format: examined.inspection.format.clone(),
            value: value.0,
            tbs: examined.tbs.fingerprint(),
            header,
            signed,
            key: key.name().to_string(),
            key_id: key.id().0,
            algorithm: key.public_key().algorithm().to_string(),
            fallback,
            policy: rules,
            decision,
            log_index,
            attempts: course.tries(),
            timestamps,
            asked: asked.created,
            finished: clock(),
        })))
    }
}

/// What approvers of a job would agree to now.
fn review_of(job: &Job, examined: &Examined, key: &SigningKey, rules: Digest, need: u32) -> JobReview {
    JobReview {
        tbs: examined.tbs.fingerprint(),
        header: examined.inspection.digest(),
        policy: rules,
        signer: key.id().0,
        need,
        expiry: job.asked.deadline.millis() / 1000,
    }
}
