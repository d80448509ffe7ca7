//! Release orders as jobs: an order stays in the queue until its turn has
//! come, its keys are in reach and its people have agreed.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmseal_fleet::{
    Asked, Caller, Deviation, Job, JobKind, JobReview, JobState, Priority, Product, Progress, Reason,
    ReleaseOrder, RequestState, SigningRequest, Time,
};
use firmseal_manifest::{Digest, ReleaseId};
use firmseal_store::{JobOutcome, NewRequest, StoreError};

use crate::attempts::Attempts;
use crate::carry_out::{AGAIN_MAX, Clock, Course};
use crate::error::PipelineError;
use crate::judging::{RECORD_MAX, signs_images};
use crate::order::{Order, OrderedComponent, Requester};
use crate::pipeline::{LEASE, Ordered, Pipeline, request_key};
use crate::rollback::Rollback;
use crate::waiting::ApprovalError;

/// What a release is carried out for.
pub(crate) struct Errand {
    /// The uses of keys for it.
    pub(crate) attempts: Arc<Attempts>,
    /// How far its job is; nothing where it has none.
    job: Option<Progress>,
    priority: Priority,
    /// In which ways it departs from the usual; nothing where nobody looked.
    unusual: BTreeSet<Deviation>,
}

impl Errand {
    /// For whoever waits for it, and keeps no job.
    pub(crate) fn of_nobody(attempts: Attempts) -> Errand {
        Errand {
            attempts: Arc::new(attempts),
            job: None,
            // It stands in no queue, and comes before nobody.
            priority: Priority::default(),
            unusual: BTreeSet::new(),
        }
    }

    /// Whether it is a job, which can be held.
    pub(crate) fn is_job(&self) -> bool {
        self.job.is_some()
    }

    /// How urgent its job is.
    pub(crate) fn priority(&self) -> Priority {
        self.priority
    }

    /// In which ways it departs from the usual, as a policy hears it.
    pub(crate) fn anomalies(&self) -> Vec<String> {
        self.unusual.iter().map(|deviation| deviation.word().to_owned()).collect()
    }

    /// Whether a person has let it go on under these rules.
    pub(crate) fn is_released(&self, rules: &Digest) -> bool {
        self.job.as_ref().is_some_and(|progress| progress.is_released(rules))
    }
}

/// The order that was handed in as a job.
fn order_of(asked: &Asked, order: &ReleaseOrder) -> Order {
    let components = order.components.iter();
    Order {
        // What makes it the same order stands in the job.
        key: None,
        requester: Requester(asked.caller.clone()),
        product: asked.product.clone(),
        channel: asked.channel.clone(),
        version: asked.version.clone(),
        sequence: order.sequence,
        epoch: asked.epoch,
        components: components
            .map(|(name, artifact)| OrderedComponent { name: name.clone(), artifact: *artifact })
            .collect(),
        sbom: order.sbom,
        evidence: asked.evidence.clone(),
        parameters: asked.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        build: asked.build.clone(),
        commit: asked.commit.clone(),
        rollback: order.rollback.map(|(of, to)| Rollback { of, to }),
    }
}

/// Whether gate and policy have said what they think of an order: otherwise it
/// is tried again, and they are asked again.
fn is_decided(made: &Result<JobOutcome, PipelineError>) -> bool {
    match made {
        Ok(outcome) => !matches!(outcome, JobOutcome::Again(_)),
        Err(error) => matches!(
            error,
            PipelineError::Gate(_) | PipelineError::Policy { .. } | PipelineError::Held { .. }
        ),
    }
}

/// What people agree to, as a job shows it: the request itself has more.
fn review_of(request: &SigningRequest) -> JobReview {
    JobReview {
        tbs: request.manifest,
        header: request.header,
        policy: request.policy,
        signer: request.signers.first().copied().unwrap_or(Digest([0; 32])),
        need: request.need,
        expiry: request.expiry,
    }
}

impl Pipeline {
    /// The job that an order becomes. What can be refused at once is: a
    /// product that nobody has or nobody signs for, and keys that are not
    /// the caller's business.
    pub async fn release_job(
        &self,
        order: Order,
        priority: Priority,
        deadline: Time,
        now: Time,
    ) -> Result<Job, PipelineError> {
        let product = self.store().product(&order.product).await?;
        let keys = self.keys(&product.id);
        let first = keys.release.first();
        let first = first.ok_or_else(|| PipelineError::NoReleaseKey(product.id.to_string()))?;
        self.check_key_scope(&product, &order.requester.0)?;
        let components = order.components.iter().map(|part| (part.name.clone(), part.artifact)).collect();
        let asked = Asked {
            key: request_key(&order).stored(),
            fingerprint: order.fingerprint(),
            caller: order.requester.0.clone(),
            kind: JobKind::Release(ReleaseOrder {
                sequence: order.sequence,
                components,
                sbom: order.sbom,
                rollback: order.rollback.map(|rollback| (rollback.of, rollback.to)),
            }),
            product: order.product,
            channel: order.channel,
            version: order.version,
            epoch: order.epoch,
            parameters: order
                .parameters
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            build: order.build,
            commit: order.commit,
            evidence: order.evidence,
            signing_key: first.name().to_string(),
            priority,
            created: now,
            deadline,
        };
        Ok(Job { id: firmseal_manifest::RequestId::new(), asked, progress: Progress::default() })
    }

    /// Whether the keys that sign for a product are all a caller's business.
    fn check_key_scope(&self, product: &Product, caller: &Caller) -> Result<(), PipelineError> {
        let keys = self.keys(&product.id);
        let images = keys.artifact.iter().filter(|_| signs_images(product));
        match keys.release.iter().chain(images).find(|key| !caller.scope.takes_key(key.name().as_str())) {
            Some(key) => Err(PipelineError::OutOfScope(format!("signing key `{}`", key.name()))),
            None => Ok(()),
        }
    }

    /// Makes the release of a job, or says what becomes of the job instead.
    pub(crate) async fn carry_release(
        &self,
        course: &mut Course,
        order: &ReleaseOrder,
        stand_in: Option<&str>,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        let now = clock();
        if stand_in.is_some() {
            let why = "no key stands in for a release key: devices know each of them";
            return Ok(course.again(now, AGAIN_MAX, "fallback", why));
        }
        // An order is a use of the key in whose queue it stands, whichever
        // others sign beside it.
        let first = self.keys(&course.job.asked.product).release.first().cloned();
        let unusual = match &first {
            Some(key) => self.unusual(key, &course.job.asked, now).await?,
            None => BTreeSet::new(),
        };
        let job = Some(course.job.progress.clone());
        let priority = course.job.asked.priority;
        let errand = Errand { attempts: course.attempts.clone(), job, priority, unusual };
        let made = match self.store().signing_request(course.job.id).await? {
            Some(request) => self.carry_waiting(course, &errand, request, now).await,
            None => {
                let made = self.carry_order(course, &errand, order, now).await;
                if let Some(key) = first.as_ref().filter(|_| is_decided(&made)) {
                    self.tell_unusual(course, key, &errand.unusual, None, now);
                }
                made
            }
        };
        if let Some(key) = first.filter(|_| course.release.is_some()) {
            self.learn(&key, &course.job.asked, now);
            // It is released, whatever becomes of counting it.
            course.covered = self.covered(&order_of(&course.job.asked, order)).await.ok();
        }
        let made = match made {
            // The store may have heard all the same.
            Err(error @ PipelineError::Store(_)) => self.perhaps_made(course, error).await,
            made => made,
        };
        // What was decided stands in the record of the decision.
        if let Err(PipelineError::Policy { decision, .. } | PipelineError::Held { decision, .. }) = &made {
            course.decision = Some(self.store().read_all(decision, RECORD_MAX).await?.to_vec());
        }
        made
    }

    /// What became of an order about which the store gave no answer.
    async fn perhaps_made(
        &self,
        course: &mut Course,
        error: PipelineError,
    ) -> Result<JobOutcome, PipelineError> {
        let id = course.job.id;
        let look = async || {
            let release = self.store().release_of_request(id).await?;
            Ok::<_, StoreError>((release, self.store().signing_request(id).await?))
        };
        match look().await {
            Ok((Some(release), _)) => {
                let made = release.id;
                course.release = Some(release);
                Ok(JobOutcome::Released(made))
            }
            Ok((None, Some(request)))
                if request.state == RequestState::Waiting && course.job.progress.review.is_none() =>
            {
                Ok(JobOutcome::Waiting(review_of(&request)))
            }
            Ok(_) => Err(error),
            Err(_) => {
                course.unsure = true;
                Err(error)
            }
        }
    }

    async fn carry_order(
        &self,
        course: &mut Course,
        errand: &Errand,
        order: &ReleaseOrder,
        now: Time,
    ) -> Result<JobOutcome, PipelineError> {
        let asked = &course.job.asked;
        // Its keys may be others by now than when it was asked for.
        self.check_key_scope(&self.store().product(&asked.product).await?, &asked.caller)?;
        let order = order_of(asked, order);
        let request = NewRequest {
            id: course.job.id,
            key: asked.key.clone(),
            fingerprint: asked.fingerprint,
            requester: asked.caller.name.clone(),
            now,
            lease: LEASE,
            // The job has one claim, and this is under it.
            alone: true,
        };
        match self.release_for(&order, request, errand, now).await? {
            Ordered::Signed(signed) => {
                let id = signed.release.id;
                course.release = (!signed.stored).then_some(signed.release);
                Ok(JobOutcome::Released(id))
            }
            Ordered::Waiting(request) if request.id == course.job.id => {
                Ok(JobOutcome::Waiting(review_of(&request)))
            }
            // It was asked for before orders were jobs.
            Ordered::Waiting(request) => {
                let why = format!("signing request {} has this order", request.id);
                course.reasons = vec![Reason::new("superseded", why)];
                Ok(JobOutcome::Cancelled)
            }
        }
    }

    /// Goes on with an order that has waited for approvals.
    async fn carry_waiting(
        &self,
        course: &mut Course,
        errand: &Errand,
        request: SigningRequest,
        now: Time,
    ) -> Result<JobOutcome, PipelineError> {
        let state = match request.state {
            RequestState::Waiting => match self.finish_for(request.id, errand, now).await {
                Ok(Some(signed)) => {
                    let id = signed.release.id;
                    course.release = (!signed.stored).then_some(signed.release);
                    return Ok(JobOutcome::Released(id));
                }
                Ok(None) => return Ok(JobOutcome::Waiting(review_of(&request))),
                // It was closed at this moment.
                Err(PipelineError::Approval(ApprovalError::Closed(..))) => {
                    let request = self.store().signing_request(request.id).await?;
                    request.map_or(RequestState::Cancelled, |request| request.state)
                }
                Err(error) => return Err(error),
            },
            state => state,
        };
        Ok(match state {
            RequestState::Waiting => JobOutcome::Waiting(review_of(&request)),
            RequestState::Signed => JobOutcome::Released(self.made_of(&request).await?),
            RequestState::Expired => {
                if let Ok(0) = self.missing_approvals(&request).await {
                    // Not for want of people.
                    let why = "enough people had agreed, and it was not signed before that expired";
                    course.reasons = vec![Reason::new("service", why)];
                }
                JobOutcome::Expired
            }
            RequestState::Cancelled => JobOutcome::Cancelled,
            RequestState::Superseded => {
                course.reasons = vec![Reason::new("superseded", "another release came first")];
                JobOutcome::Cancelled
            }
        })
    }

    async fn made_of(&self, request: &SigningRequest) -> Result<ReleaseId, PipelineError> {
        let release = self.store().release_of_request(request.id).await?;
        let missing = || StoreError::not_found(format!("release of signing request {}", request.id));
        Ok(release.ok_or_else(missing)?.id)
    }

    /// Brings the job of a request that waits to where the request is: on
    /// with it where enough people have agreed, to its end where the request
    /// has ended, or the request to its end where the job has. `None` if it
    /// has no job. Says whether it is queued now.
    pub async fn align(&self, request: &SigningRequest, now: Time) -> Result<Option<bool>, PipelineError> {
        let Some(job) = self.store().job(request.id).await? else { return Ok(None) };
        let close = async |state| match self.store().close_signing_request(request.id, state).await {
            // Somebody else did.
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(Some(false)),
            Err(error) => Err(PipelineError::from(error)),
        };
        match job.progress.state {
            JobState::Queued => return Ok(Some(true)),
            // A refused one waits for whoever orders it again, a held one
            // for an officer.
            JobState::Held | JobState::Refused => return Ok(Some(false)),
            JobState::Cancelled if request.state == RequestState::Waiting => {
                return close(RequestState::Cancelled).await;
            }
            JobState::Expired if request.state == RequestState::Waiting => {
                return close(RequestState::Expired).await;
            }
            JobState::Cancelled | JobState::Expired | JobState::Signed => return Ok(Some(false)),
            JobState::Waiting => {}
        }
        let over = now.millis() / 1000 > request.expiry;
        if request.state == RequestState::Waiting && over {
            close(RequestState::Expired).await?;
        } else if request.state == RequestState::Waiting && self.missing_approvals(request).await? > 0 {
            return Ok(Some(false));
        }
        // This may come long after the last of them.
        let approvals = self.store().approvals(request.id).await?;
        let since = approvals.iter().map(|approval| approval.created).max().unwrap_or(now);
        match self.store().resume_job(request.id, JobState::Waiting, since, None, Vec::new()).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(Some(true)),
            Err(error) => Err(error.into()),
        }
    }
}
