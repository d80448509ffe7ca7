//! Signatures of artifacts: asked for, waited for, looked up.

use std::time::Duration;

use firmseal_api::Base64;
use firmseal_api::requests::Approve;
use firmseal_api::signatures as api;
use firmseal_fleet::{Caller, CameTo, Job, JobKind, JobState, Signature, Time};
use firmseal_manifest::{ArtifactId, Denial, Digest, Event, KeyId, KeyName, RequestId, Ruling};
use firmseal_sign::{ArtifactWish, NewApproval};
use firmseal_store::{Inserted, JobFilter, Page};
use futures_util::future::join_all;

use super::requests::signature_in;
use super::{App, scope};
use crate::error::ApiError;
use crate::metrics::Fate;
use crate::wire;

/// Longest idempotency key, build id, commit, and key name, in bytes.
const KEY_MAX: usize = 128;
/// What the number of a request in a batch adds to the key of all of them.
const NUMBER_MAX: usize = 3;
const TEXT_MAX: usize = 256;
const NAME_MAX: usize = 64;
const EVIDENCE_MAX: usize = 64;
/// How long a request is of use if it does not say, and at most.
const DEADLINE: u32 = 7 * 24 * 3600;
const DEADLINE_MAX: u32 = 365 * 24 * 3600;
/// How many of a caller's own signatures are looked through for one.
const OWN_MAX: u32 = 1000;
/// Longest time that an answer is waited for.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a request for a signature came to.
pub(crate) enum Asked {
    /// It was signed for this request.
    Made(api::SignatureRequest),
    /// It is the same request again, or these bytes were signed before.
    Known(api::SignatureRequest),
    /// It is not at its end.
    Open(api::SignatureRequest),
    /// It is refused.
    Refused(api::SignatureRequest),
}

impl App {
    /// Asks for a signature, once however often it is sent with one key, and
    /// waits for it up to a while.
    pub(crate) async fn create_signature(
        &self,
        caller: Caller,
        key: &str,
        wish: api::CreateSignature,
        wait: Duration,
    ) -> Result<Asked, ApiError> {
        let now = self.clock.now();
        let wish = wish_in(caller.clone(), key, wish, now)?;
        let asked = self.pipeline.artifact_job(wish, now).await;
        let job = asked.map_err(|error| self.denied(&caller, error))?;
        let id = job.id;
        // Before it is handed in, so that nothing is missed.
        let watch = self.dispatcher.watch(id);
        let (job, signature) = match self.dispatcher.submit(job.clone()).await? {
            Inserted::Conflict { request } => {
                let what = format!(
                    "this idempotency key belongs to signing request {request}, which asked \
                                    for something else"
                );
                return Err(ApiError::Conflict(what));
            }
            Inserted::TooMany { open } => return Err(too_many(open)),
            Inserted::Same(job) => {
                let (job, signature) = self.waited(*job, wait).await?;
                return self.asked(job, signature, true).await;
            }
            Inserted::Fresh if wait.is_zero() => (job, None),
            Inserted::Fresh => match tokio::time::timeout(wait, watch).await {
                Ok(Ok(carried)) => (carried.job.clone(), carried.signature.clone()),
                _ => self.looked_up(id).await?,
            },
        };
        self.asked(job, signature, false).await
    }

    /// Asks for several signatures at once, each by itself. What is handed in
    /// together is written together.
    pub(crate) async fn create_signatures(
        &self,
        caller: Caller,
        key: &str,
        wishes: Vec<api::CreateSignature>,
        wait: Duration,
    ) -> Result<Vec<Result<Asked, ApiError>>, ApiError> {
        if !(1..=api::BATCH_MAX).contains(&wishes.len()) {
            return Err(ApiError::Malformed(format!("requests: 1 to {}", api::BATCH_MAX)));
        }
        super::releases::check_text("the idempotency key", key, 1, KEY_MAX - NUMBER_MAX)?;
        let asking = wishes.into_iter().enumerate().map(|(number, wish)| {
            let (caller, key) = (caller.clone(), format!("{key}/{number}"));
            async move { self.create_signature(caller, &key, wish, wait).await }
        });
        Ok(join_all(asking).await)
    }

    /// A job, once it is not queued any more or the wait is over.
    async fn waited(&self, job: Job, wait: Duration) -> Result<(Job, Option<Signature>), ApiError> {
        if job.progress.state == JobState::Queued && !wait.is_zero() {
            let watch = self.dispatcher.watch(job.id);
            // It may have ended in between.
            let (job, signature) = self.looked_up(job.id).await?;
            if job.progress.state != JobState::Queued {
                return Ok((job, signature));
            }
            if let Ok(Ok(carried)) = tokio::time::timeout(wait, watch).await {
                return Ok((carried.job.clone(), carried.signature.clone()));
            }
        }
        self.looked_up(job.id).await
    }

    pub(super) async fn looked_up(&self, id: RequestId) -> Result<(Job, Option<Signature>), ApiError> {
        let job = self.store.job(id).await?;
        let job = job.ok_or_else(|| ApiError::NotFound(format!("signing request {id}")))?;
        let signature = self.signature_of(&job).await?;
        Ok((job, signature))
    }

    /// The same, for what only requests for files have: people agree to a
    /// release by its request for approvals.
    async fn looked_up_file(&self, id: RequestId) -> Result<(), ApiError> {
        match self.looked_up(id).await?.0.asked.kind {
            JobKind::Artifact(_) => Ok(()),
            JobKind::Release(_) => {
                Err(ApiError::NotFound(format!("signing request {id} for a file: it is for a release")))
            }
        }
    }

    /// The signature on record that a job came to.
    pub(crate) async fn signature_of(&self, job: &Job) -> Result<Option<Signature>, ApiError> {
        match job.progress.came_to {
            Some(CameTo::Signature(request)) => Ok(self.store.signature(request).await?),
            _ => Ok(None),
        }
    }

    pub(crate) async fn signature_request(
        &self,
        id: RequestId,
        wait: Duration,
    ) -> Result<api::SignatureRequest, ApiError> {
        let (job, signature) = self.looked_up(id).await?;
        let (job, signature) = match job.progress.state {
            JobState::Queued => self.waited(job, wait).await?,
            _ => (job, signature),
        };
        self.signature_out(job, signature).await
    }

    /// A request as it is shown.
    pub(crate) async fn signature_out(
        &self,
        job: Job,
        signature: Option<Signature>,
    ) -> Result<api::SignatureRequest, ApiError> {
        let approvals = match (&job.asked.kind, &job.progress.review) {
            (JobKind::Artifact(_), Some(_)) => self.store.job_approvals(job.id).await?,
            // Those of an order stand with the request that people agree to.
            _ => Vec::new(),
        };
        Ok(wire::signature_request_out(job, signature, approvals))
    }

    async fn asked(&self, job: Job, signature: Option<Signature>, again: bool) -> Result<Asked, ApiError> {
        let made = signature.as_ref().is_some_and(|signature| signature.request == job.id);
        let state = job.progress.state;
        let request = self.signature_out(job, signature).await?;
        Ok(match state {
            JobState::Queued | JobState::Waiting | JobState::Held => Asked::Open(request),
            JobState::Refused => Asked::Refused(request),
            JobState::Signed if made && !again => Asked::Made(request),
            JobState::Signed | JobState::Expired | JobState::Cancelled => Asked::Known(request),
        })
    }

    /// Takes an approval; with the last one that is missing the request is
    /// carried out.
    pub(crate) async fn approve_signature(
        &self,
        operator: &Caller,
        id: RequestId,
        approve: Approve,
    ) -> Result<api::SignatureRequest, ApiError> {
        let brought = NewApproval {
            key: KeyId(approve.key.0),
            signature: signature_in(approve.signature),
            brought_by: operator.name.clone(),
        };
        self.looked_up_file(id).await?;
        let taken = self.pipeline.approve_job(id, brought, self.clock.now()).await;
        let approval = taken.map_err(|error| self.denied(operator, error))?;
        self.dispatcher.wake();
        let operator = &operator.name;
        tracing::info!(request = %id, holder = approval.holder, key = %approval.key, operator, "approved");
        self.signature_request(id, Duration::ZERO).await
    }

    /// The signature on record of a key over bytes with this fingerprint, as a
    /// request that is the caller's business: the first one, or one of the
    /// caller's own that came to the same.
    pub(crate) async fn signature_by(
        &self,
        caller: &Caller,
        key: &KeyName,
        tbs: Digest,
    ) -> Result<api::SignatureRequest, ApiError> {
        let none = || ApiError::NotFound(format!("signature of key `{key}` over {tbs}"));
        let record = self.key_record(key).await.map_err(|_| none())?;
        let signature = self.store.signature_over(record.key, tbs).await?.ok_or_else(none)?;
        let first = self.store.job(signature.request).await?;
        if let Some(job) = first.filter(|job| scope::job(caller, job).is_ok()) {
            return self.signature_out(job, Some(signature)).await;
        }
        let filter = JobFilter {
            state: Some(JobState::Signed),
            requester: Some(caller.name.clone()),
            signing_key: Some(key.to_string()),
            product: None,
        };
        let own = self.store.jobs(filter, Page::first(OWN_MAX)).await?.into_iter().find(|job| {
            job.progress.came_to == Some(CameTo::Signature(signature.request))
                && scope::job(caller, job).is_ok()
        });
        self.signature_out(own.ok_or_else(none)?, Some(signature)).await
    }

    /// Takes back the approvals that somebody brought.
    pub(crate) async fn withdraw_signature_approvals(
        &self,
        operator: &str,
        id: RequestId,
    ) -> Result<api::SignatureRequest, ApiError> {
        self.looked_up_file(id).await?;
        let withdrawn = self.store.remove_job_approvals(id, operator).await?;
        tracing::info!(request = %id, operator, withdrawn, "approvals withdrawn");
        self.signature_request(id, Duration::ZERO).await
    }

    /// The file that is to be signed.
    pub(crate) async fn file_to_sign(&self, id: RequestId) -> Result<Digest, ApiError> {
        let (job, _) = self.looked_up(id).await?;
        match job.asked.kind {
            JobKind::Artifact(order) => Ok(order.artifact.0),
            JobKind::Release(_) => Err(ApiError::NotFound(format!("signing request {id}"))),
        }
    }

    /// The file with the signature attached.
    pub(crate) async fn signed_file(&self, id: RequestId) -> Result<Digest, ApiError> {
        let (_, signature) = self.looked_up(id).await?;
        let signed = signature.and_then(|signature| signature.signed);
        signed.map(|id| id.0).ok_or_else(|| {
            ApiError::NotFound(format!(
                "file with the signature of request {id}: it is not signed, or its \
                                        format has no place for one"
            ))
        })
    }

    /// The proof that the intent behind a signature stands in the log.
    pub(crate) async fn signature_proof(&self, id: RequestId) -> Result<api::SignatureProof, ApiError> {
        let (_, signature) = self.looked_up(id).await?;
        let none = || ApiError::NotFound(format!("signature of request {id}"));
        let log_index = signature.ok_or_else(none)?.log_index;
        let leaf = self.log.dyn_read(log_index, 1).await.map_err(|err| ApiError::Busy(err.to_string()))?;
        let leaf = leaf.into_iter().next().ok_or_else(none)?;
        let included = self.inclusion(log_index).await?;
        Ok(api::SignatureProof {
            log_index,
            leaf: Base64(leaf),
            size: included.size,
            path: included.path.into_iter().map(ArtifactId).collect(),
            checkpoint: included.checkpoint,
        })
    }

    /// Takes a request back.
    pub(crate) async fn cancel_signature(
        &self,
        caller: &Caller,
        id: RequestId,
    ) -> Result<api::SignatureRequest, ApiError> {
        let (job, _) = self.looked_up(id).await?;
        if !caller.scope.takes_product(&job.asked.product) {
            return Err(ApiError::NotFound(format!("signing request {id}")));
        }
        match (&job.asked.kind, job.progress.state) {
            // What people were asked to agree to ends first, and the job with
            // it.
            (JobKind::Release(_), JobState::Waiting) => return self.cancel_order(&caller.name, id).await,
            _ => self.store.cancel_job(id, self.clock.now()).await?,
        }
        if job.progress.state.is_open() {
            self.metrics.signing(&job.asked.kind, Fate::Cancelled);
        }
        self.dispatcher.ended_elsewhere(id);
        tracing::info!(request = %id, operator = caller.name, "signing request cancelled");
        self.signature_request(id, Duration::ZERO).await
    }

    /// Ends the hold on a request. Nobody lets the own request go.
    pub(crate) async fn release_hold(
        &self,
        caller: &Caller,
        id: RequestId,
    ) -> Result<api::SignatureRequest, ApiError> {
        let (job, _) = self.looked_up(id).await?;
        if job.asked.caller.name == caller.name {
            self.count_denial(Denial::Own, Some(format!("the hold on {id}")), Some(caller), caller.source);
            return Err(ApiError::Refused {
                why: format!("{} asked for this signature", caller.name),
                hint: "another security officer has to look at it".to_owned(),
            });
        }
        let decision = job.progress.decision.unwrap_or(Digest([0; 32]));
        let event = Event::Decided { request: id, decision, ruling: Ruling::Released };
        let by = Some(caller.name.clone());
        self.store.resume_job(id, JobState::Held, self.clock.now(), by, vec![event]).await?;
        self.dispatcher.wake();
        tracing::info!(request = %id, operator = caller.name, "hold ended");
        self.signature_request(id, Duration::ZERO).await
    }
}

fn wish_in(
    caller: Caller,
    key: &str,
    wish: api::CreateSignature,
    now: Time,
) -> Result<ArtifactWish, ApiError> {
    use super::releases::{check_parameters, check_text};
    check_text("the idempotency key", key, 1, KEY_MAX)?;
    check_text("build", &wish.build, 0, TEXT_MAX)?;
    check_text("commit", &wish.commit, 0, TEXT_MAX)?;
    if let Some(name) = &wish.key {
        check_text("key", name, 1, NAME_MAX)?;
    }
    check_parameters(&wish.parameters)?;
    if wish.evidence.len() > EVIDENCE_MAX {
        return Err(ApiError::Malformed(format!("evidence: at most {EVIDENCE_MAX}")));
    }
    let deadline = deadline(wish.deadline_seconds, now)?;
    Ok(ArtifactWish {
        key: Some(key.to_owned()),
        caller,
        product: wish.product,
        channel: wish.channel,
        artifact: wish.artifact,
        signing_key: wish.key,
        version: wish.version,
        epoch: wish.epoch,
        parameters: wish.parameters,
        build: wish.build,
        commit: wish.commit,
        evidence: wish.evidence,
        priority: wire::priority_in(wish.priority),
        deadline,
    })
}

pub(super) fn too_many(open: u64) -> ApiError {
    ApiError::Busy(format!("{open} signing requests of your team are open, which is as many as may be"))
}

/// When a request is of no use any more.
pub(super) fn deadline(seconds: Option<u32>, now: Time) -> Result<Time, ApiError> {
    let seconds = seconds.unwrap_or(DEADLINE);
    match (1..=DEADLINE_MAX).contains(&seconds) {
        true => Ok(now.plus(Duration::from_secs(seconds.into()))),
        false => Err(ApiError::Malformed(format!("deadline_seconds: 1 to {DEADLINE_MAX}"))),
    }
}
