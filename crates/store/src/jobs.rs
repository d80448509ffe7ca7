//! Jobs: a durable queue of signing requests, and the signatures that they
//! came to.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::{
    Approval, CameTo, Job, JobReview, JobState, Priority, Progress, Reason, Release, Signature, Time,
};
use firmseal_manifest::{ChannelName, Digest, Event, ProductId, ReleaseId, RequestId};
use semver::Version;

use crate::{Claim, Page, StoreError};

/// What became of a job that was handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// It is new, and queued.
    Fresh,
    /// It was handed in before; this is how far it is.
    Same(Box<Job>),
    /// The same key was used for something else.
    Conflict {
        /// The request that has the key.
        request: RequestId,
    },
    /// The share has as many open jobs as it may: nothing was handed in.
    TooMany {
        /// How many.
        open: u64,
    },
}

/// What stands when a file is about to be signed, as of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Before {
    /// As [`Registry::latest_release`](crate::Registry::latest_release) has it.
    pub latest: Option<Release>,
    /// The same of the channel.
    pub latest_on_channel: Option<Release>,
    /// As [`Jobs::highest_signed`] has it.
    pub highest: Highest,
    /// As [`Jobs::signature_over`] has it.
    pub signature: Option<Signature>,
}

/// The highest among a product's files that were signed by themselves: those
/// that signatures were made for, whatever became of the files since.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Highest {
    /// The security epoch, on whatever channel; 0 where none was signed.
    pub epoch: u64,
    /// The same of one channel, if a file was signed for it.
    pub on_channel: Option<Mark>,
}

/// The highest version and the highest security epoch of a channel's files,
/// which need not be one file's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The version.
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
}

/// How many jobs of one signing key may be claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// The signing key, by name.
    pub key: String,
    /// How many.
    pub most: u32,
    /// Whose turn was last: shares take turns, beginning after this one.
    pub after: Option<String>,
}

/// Which jobs are to be claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claiming {
    /// For each key how many. Jobs of other keys stay where they are.
    pub rooms: Vec<Room>,
    /// Now.
    pub now: Time,
    /// How long the claims hold if nothing is heard of them again
    /// ([`Jobs::renew_claims`]).
    pub lease: Duration,
    /// How many entries the log has: what a claim logs stands above.
    pub log_size: u64,
}

/// A job that is to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedJob {
    /// The job.
    pub job: Job,
    /// The right to carry it out; fenced as that of a release is.
    pub claim: Claim,
    /// If an earlier claim ended without a word: from which index on the log
    /// may have entries of it. Whoever ends this claim has to account for
    /// them.
    pub unseen_since: Option<u64>,
}

/// How a claim on a job ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// What became of the job.
    pub outcome: JobOutcome,
    /// Why, where it is not signed.
    pub reasons: Vec<Reason>,
    /// Record of the decision, which is kept under its SHA-256;
    /// `None` keeps the one that it has.
    pub decision: Option<Vec<u8>>,
    /// Whether what an earlier claim left unseen is among the events. If
    /// not, the next claim has to account for it still.
    pub accounted: bool,
    /// How many uses of a key failed under this claim, or went unseen before.
    pub failures: u32,
    /// What the log is to tell of it, noted in the same step.
    pub events: Vec<Event>,
}

impl Ending {
    /// The progress of the job afterwards; `decision` is the SHA-256 of the
    /// decision's record.
    pub fn applied(&self, before: &Progress, decision: Option<Digest>) -> Progress {
        let mut progress = before.clone();
        progress.failures = progress.failures.saturating_add(self.failures);
        progress.reasons.clone_from(&self.reasons);
        progress.decision = decision.or(progress.decision);
        progress.state = match &self.outcome {
            JobOutcome::Signed(signature) => {
                progress.came_to = Some(CameTo::Signature(signature.request));
                JobState::Signed
            }
            JobOutcome::SameAs(first) => {
                progress.came_to = Some(CameTo::Signature(*first));
                JobState::Signed
            }
            JobOutcome::Released(release) => {
                progress.came_to = Some(CameTo::Release(*release));
                JobState::Signed
            }
            JobOutcome::Refused => JobState::Refused,
            JobOutcome::Cancelled => JobState::Cancelled,
            JobOutcome::Expired => JobState::Expired,
            JobOutcome::Waiting(review) => {
                progress.review = Some(review.clone());
                JobState::Waiting
            }
            JobOutcome::Held(rules) => {
                progress.held_under = Some(*rules);
                progress.released_by = None;
                JobState::Held
            }
            JobOutcome::Again(_) => JobState::Queued,
        };
        progress
    }
}

/// What became of a job under a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobOutcome {
    /// It is signed; the record is stored in the same step.
    Signed(Box<Signature>),
    /// An earlier request has the signature over these bytes.
    SameAs(RequestId),
    /// It became a release.
    Released(ReleaseId),
    /// It is refused.
    Refused,
    /// It was taken back, or another release came first.
    Cancelled,
    /// Nobody agreed in time, or its time is over.
    Expired,
    /// It waits for approvals: these people agree to this.
    Waiting(JobReview),
    /// A security officer has to release it, under these rules.
    Held(Digest),
    /// It is queued again, and not claimed before.
    Again(Time),
}

/// Which jobs are listed. What is `None` lets everything through.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those of this product.
    pub product: Option<ProductId>,
    /// Only those in the queue of this signing key.
    pub signing_key: Option<String>,
    /// Only those that this caller asked for.
    pub requester: Option<String>,
}

/// A job that has ended while nobody had seen what an earlier claim did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unaccounted {
    /// The job.
    pub job: Job,
    /// From which index on the log may have entries of it.
    pub since: u64,
}

/// How many jobs stand in a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Depth {
    /// The signing key.
    pub key: String,
    /// How urgent they are.
    pub priority: Priority,
    /// How many are queued; those being carried out are none of them.
    pub queued: u64,
    /// When the oldest of them was asked for.
    pub oldest: Time,
}

/// Jobs and signatures.
///
/// A job leaves [`JobState::Queued`] under a claim, or because it is
/// cancelled or too late; a claim that was overtaken changes nothing. So of
/// two workers that both believe to have a job one ends it, and a signature
/// is recorded for a request at most once.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Hands a job in, unless its share has `most` open ones already. One
    /// that is [`Inserted::Fresh`] is durable: it will come to an end. Its
    /// product must exist. May be retried.
    async fn insert_job(&self, job: Job, most: u64) -> Result<Inserted, StoreError>;

    /// A job, or `None`.
    async fn job(&self, id: RequestId) -> Result<Option<Job>, StoreError>;

    /// Jobs, newest first.
    async fn jobs(&self, filter: JobFilter, page: Page<RequestId>) -> Result<Vec<Job>, StoreError>;

    /// Claims jobs that are queued, not too late and not to wait: for each
    /// key the more urgent first; among equally urgent ones shares
    /// ([`Asked::share`](firmseal_fleet::Asked::share)) take turns, each with
    /// its oldest. They come back in that order, key by key.
    ///
    /// A claim that ran out by `now` holds nothing. An engine that belongs to
    /// one process ends all claims when it is opened.
    async fn claim_jobs(&self, claiming: Claiming) -> Result<Vec<ClaimedJob>, StoreError>;

    /// Has claims hold for another `lease` from `now` on, for whoever is still
    /// at their jobs. One that was overtaken or has ended stays so, and one on
    /// a job whose deadline has passed runs out as it would have: what hangs
    /// holds nothing for ever.
    async fn renew_claims(&self, claims: Vec<Claim>, now: Time, lease: Duration) -> Result<(), StoreError>;

    /// Ends every claim but those on these jobs, as if they had run out: for
    /// whoever made claims and did not hear which. Jobs of an engine are
    /// claimed by one process at a time.
    async fn end_other_claims(&self, held: Vec<RequestId>) -> Result<(), StoreError>;

    /// Ends a claim: outcome, record and events are one step. A claim that
    /// was overtaken, or has ended already otherwise, is a conflict; ending
    /// it the same way again with [`JobOutcome::Signed`] is `Ok`.
    async fn end_claim(&self, claim: &Claim, ending: Ending) -> Result<(), StoreError>;

    /// Queues a job again that waits, is held or was refused, from that state
    /// alone; for one that was held `by` says who let it go. `since` is when
    /// people had done their part, from which on the service is at it. In
    /// another state it is a conflict.
    async fn resume_job(
        &self,
        id: RequestId,
        from: JobState,
        since: Time,
        by: Option<String>,
        events: Vec<Event>,
    ) -> Result<(), StoreError>;

    /// Takes a job back. One that is being carried out is
    /// [`StoreError::Busy`]; one that is cancelled stays so; one that has
    /// ended otherwise is a conflict. Makes an event.
    async fn cancel_job(&self, id: RequestId, now: Time) -> Result<(), StoreError>;

    /// Ends jobs whose deadline has passed and that nobody carries out, at
    /// most so many; which they were, as they stood until then. Makes an event
    /// for each.
    async fn expire_jobs(&self, now: Time, most: u32) -> Result<Vec<Job>, StoreError>;

    /// Jobs that were cancelled, came too late or were refused, and of whose
    /// earlier claims nobody has accounted for what they logged; none that
    /// somebody may still be at. At most so many.
    async fn unaccounted_jobs(&self, now: Time, most: u32) -> Result<Vec<Unaccounted>, StoreError>;

    /// Accounts for what such a job has in the log from `since` on: so many
    /// uses of a key failed, and the log is told of these events, in one
    /// step. Where somebody else has done it, nothing happens.
    async fn account_for_job(
        &self,
        id: RequestId,
        since: u64,
        failures: u32,
        events: Vec<Event>,
    ) -> Result<(), StoreError>;

    /// How long the queues are, key by key.
    async fn queue_depths(&self) -> Result<Vec<Depth>, StoreError>;

    /// Adds what a holder says of a job that waits, in place of what the
    /// same one said before. Another state is a conflict. Makes an event.
    async fn insert_job_approval(&self, id: RequestId, approval: Approval) -> Result<(), StoreError>;

    /// Takes back what somebody brought for a job that waits; how many there
    /// were. Another state is a conflict. Makes an event for each.
    async fn remove_job_approvals(&self, id: RequestId, brought_by: &str) -> Result<usize, StoreError>;

    /// Approvals of a job, by the name of the holder.
    async fn job_approvals(&self, id: RequestId) -> Result<Vec<Approval>, StoreError>;

    /// The record of a decision, by its SHA-256.
    async fn decision(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// The signature that is recorded under a request.
    async fn signature(&self, request: RequestId) -> Result<Option<Signature>, StoreError>;

    /// What stands when a file is about to be signed by a key, whose
    /// fingerprint is `tbs`.
    async fn before_signing(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        key: Digest,
        tbs: Digest,
    ) -> Result<Before, StoreError>;

    /// The highest that files of a product were signed as, by themselves. It
    /// rises in the step that records a signature
    /// ([`end_claim`](Jobs::end_claim)), and never falls.
    async fn highest_signed(&self, product: &ProductId, channel: &ChannelName)
    -> Result<Highest, StoreError>;

    /// The first signature by a key over bytes of this fingerprint.
    async fn signature_over(&self, key: Digest, tbs: Digest) -> Result<Option<Signature>, StoreError>;
}
