//! Approvals of jobs: what people agree to when a file is to be signed, and
//! whether enough of them have.
//!
//! The approvers are those that the root document names for releases of the
//! product; how many have to agree, policy says. What they sign has a
//! purpose of its own, so that no device takes it for an approval of a
//! release.

use std::collections::BTreeMap;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, Refusal, Root, StatementPurpose, statement};
use firmseal_fleet::{Approval, Job, JobKind, JobReview, JobState, Time};
use firmseal_manifest::{Digest, Event, RequestId, Ruling, SignedStatement, Statement};
use firmseal_store::{JobFilter, Page, StoreError};

use crate::error::PipelineError;
use crate::order::Requester;
use crate::pipeline::Pipeline;
use crate::waiting::{ApprovalError, NewApproval, agreement, approver_key, is_own};

/// Who has agreed to a job.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct JobAgreed {
    /// The Statement, where somebody has.
    pub(crate) statements: Vec<Digest>,
    /// How many holders.
    pub(crate) holders: u32,
    /// When there were enough of them, if there are.
    pub(crate) since: Option<Time>,
}

/// Jobs that are read at once.
const PAGE: u32 = 256;

/// What approvers of a job sign. All sign the same bytes.
pub fn job_statement(job: &Job, review: &JobReview, root: &Root<'_>) -> Statement {
    Statement {
        purpose: StatementPurpose::Artifact,
        environment: root.environment(),
        lineage: *root.lineage(),
        request: job.id,
        manifest: review.tbs,
        signers: vec![KeyId(review.signer)],
        previous: None,
        expiry: review.expiry,
        header: review.header,
        // Everything that was asked for, which has nothing before it.
        difference: job.asked.fingerprint,
        policy: review.policy,
        requester: Requester(job.asked.caller.clone()).id(),
    }
}

impl Pipeline {
    /// Takes an approval of a job, if an approver of the product signed
    /// exactly its Statement. With the last one that is missing the job is
    /// queued again.
    pub async fn approve_job(
        &self,
        id: RequestId,
        brought: NewApproval,
        now: Time,
    ) -> Result<Approval, PipelineError> {
        let job = self.store().job(id).await?.ok_or(ApprovalError::Unknown(id))?;
        let (JobState::Waiting, Some(review)) = (job.progress.state, &job.progress.review) else {
            return Err(ApprovalError::Closed(id, job.progress.state.word()).into());
        };
        if now.millis() / 1000 > review.expiry {
            return Err(ApprovalError::Closed(id, JobState::Expired.word()).into());
        }
        let NewApproval { key, signature, brought_by } = brought;
        let mut approval =
            Approval { holder: String::new(), key: key.0, signature, brought_by, created: now };
        approval.holder = self.holder_of(&job, review, &approval)?;
        self.store().insert_job_approval(id, approval.clone()).await?;
        // If we crash here, the next round of `resume_agreed` does it.
        self.resume_if_agreed(&job, now).await?;
        Ok(approval)
    }

    /// Queues the jobs again that wait although enough people have agreed:
    /// what a crash left between the last approval and the queue is found
    /// here. One that cannot be queued now holds no other up: why not stands
    /// beside its id.
    pub async fn resume_agreed(&self, now: Time) -> Result<Vec<(RequestId, PipelineError)>, PipelineError> {
        let waiting = JobFilter { state: Some(JobState::Waiting), ..JobFilter::default() };
        let (mut stopped, mut page) = (Vec::new(), Page::first(PAGE));
        loop {
            let jobs = self.store().jobs(waiting.clone(), page).await?;
            let Some(last) = jobs.last().map(|job| job.id) else { return Ok(stopped) };
            // People agree to a release by its request: `finish_waiting`.
            for job in jobs.iter().filter(|job| matches!(job.asked.kind, JobKind::Artifact(_))) {
                if let Err(error) = self.resume_if_agreed(job, now).await {
                    stopped.push((job.id, error));
                }
            }
            page = Page::after(last, PAGE);
        }
    }

    /// Queues a job again if enough people have agreed to it.
    async fn resume_if_agreed(&self, job: &Job, now: Time) -> Result<(), PipelineError> {
        let Some(review) = &job.progress.review else { return Ok(()) };
        let Some(since) = self.agreed_to(job, review, now).await?.since else { return Ok(()) };
        let decision = job.progress.decision.unwrap_or(Digest([0; 32]));
        let event = Event::Decided { request: job.id, decision, ruling: Ruling::Agreed };
        match self.store().resume_job(job.id, JobState::Waiting, since, None, vec![event]).await {
            // Somebody else's approval may have done it at the same moment.
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose approval it is under the root in force, if it counts: its key is
    /// an approver's who did not ask, is not revoked, and signed exactly this.
    fn holder_of(&self, job: &Job, review: &JobReview, approval: &Approval) -> Result<String, PipelineError> {
        let (key, product) = (KeyId(approval.key), job.asked.product.to_string());
        if self.trust().revokes_key(&key).is_some() {
            return Err(ApprovalError::Revoked(key).into());
        }
        let document = self.root();
        let root = Root::decode(&document)?;
        let stranger = || ApprovalError::Stranger { key, product: product.clone() };
        let public = approver_key(&root, &key)?.ok_or_else(stranger)?;
        let signed = SignedStatement {
            statement: job_statement(job, review, &root),
            signatures: vec![agreement(&approval.signature, &public)],
        };
        let mut holder = None;
        let taken = statement::approvers(
            &signed.encode()?,
            &root.approvers(&product, Some(job.asked.channel.as_str()))?,
            |name, _| holder = Some(name.to_owned()),
            &RustCrypto,
        );
        match taken {
            Ok(()) => {}
            Err(Refusal::BadSignature | Refusal::Malformed(_)) => {
                return Err(ApprovalError::BadSignature.into());
            }
            Err(other) => return Err(other.into()),
        }
        let holder = holder.ok_or_else(stranger)?;
        match is_own(&signed.statement.requester, &root, &holder) {
            true => Err(ApprovalError::Own(holder).into()),
            false => Ok(holder),
        }
    }

    /// Who has agreed to this, by the keys and the root in force now.
    pub(crate) async fn agreed_to(
        &self,
        job: &Job,
        review: &JobReview,
        now: Time,
    ) -> Result<JobAgreed, PipelineError> {
        if now.millis() / 1000 > review.expiry {
            return Ok(JobAgreed::default());
        }
        let mut holders = BTreeMap::new();
        for approval in self.store().job_approvals(job.id).await? {
            match self.holder_of(job, review, &approval) {
                Ok(holder) => {
                    holders.insert(holder, approval.created);
                }
                // It counted once, under other keys or about other bytes.
                Err(PipelineError::Approval(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if holders.is_empty() {
            return Ok(JobAgreed::default());
        }
        let document = self.root();
        let statement = job_statement(job, review, &Root::decode(&document)?).digest();
        let mut times: Vec<Time> = holders.into_values().collect();
        times.sort_unstable();
        let holders = u32::try_from(times.len()).unwrap_or(u32::MAX);
        let since = times.get((review.need as usize).saturating_sub(1)).copied();
        Ok(JobAgreed { statements: vec![statement], holders, since })
    }
}
