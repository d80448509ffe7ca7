//! Jobs in the database: handed in, looked up, ended.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::{Approval, Job, JobState, Priority, Progress, Reason, Signature, Time};
use firmseal_manifest::{ChannelName, Digest, End, Event, KeyId, ProductId, RequestId};
use firmseal_store::{
    Before, Claim, ClaimedJob, Claiming, Depth, Ending, Highest, Inserted, JobFilter, JobOutcome, Jobs, Page,
    StoreError, Unaccounted,
};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Hash, Json, Text, When, Word, text};
use crate::error::{Failure, sql};
use crate::events::happened;
use crate::registry::{all, one};
use crate::{LocalStore, highest, job_lists, queue, releases, sums};

/// Ends every claim, as `requests::end_leases` does: whoever had one is gone.
pub(crate) fn end_leases(connection: &Connection) -> Result<(), StoreError> {
    let ended = connection
        .execute("UPDATE jobs SET lease_until = NULL WHERE lease_until IS NOT NULL", [])
        .map_err(|error| sql("end the claims of the last process", &error));
    match ended {
        Ok(_) | Err(StoreError::Full { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

pub(crate) const JOB: &str = "id, asked, state, progress";
/// What is open and what has ended, in the words of the indexes (0018).
const OPEN: &str = "(state = 'queued' OR state = 'waiting' OR state = 'held')";
pub(crate) const ENDED: &str = "state <> 'queued' AND state <> 'waiting' AND state <> 'held'";

/// Reads a job from the columns of [`JOB`], with more of them before it.
pub(crate) fn read_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Job> {
    let (Text(id), Json(asked), Word(state)) = (row.get(at)?, row.get(at + 1)?, row.get(at + 2)?);
    let progress: Option<Json<Progress>> = row.get(at + 3)?;
    let progress = progress.map_or_else(Progress::default, |Json(progress)| progress);
    Ok(Job { id, asked, progress: Progress { state, ..progress } })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    read_at(row, 0)
}

fn read_signature(row: &Row<'_>) -> rusqlite::Result<Signature> {
    row.get(0).map(|Json(signature)| signature)
}

fn find(connection: &Connection, id: RequestId) -> Result<Option<Job>, Failure> {
    one(connection, &format!("SELECT {JOB} FROM jobs WHERE id = ?"), [Text(id)], read)
}

pub(crate) fn known(connection: &Connection, id: RequestId) -> Result<Job, Failure> {
    find(connection, id)?.ok_or_else(|| unknown(id))
}

fn unknown(id: RequestId) -> Failure {
    StoreError::not_found(format!("signing request {id}")).into()
}

fn otherwise(job: &Job) -> Failure {
    StoreError::conflict(format!("signing request {} is {}", job.id, job.progress.state.word())).into()
}

/// The number that a priority sorts by.
pub(crate) fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::Emergency => 0,
        Priority::Release => 1,
        Priority::Nightly => 2,
    }
}

fn insert(connection: &Connection, job: &Job, text: &str, most: u64) -> Result<Inserted, Failure> {
    let asked = &job.asked;
    let there = one(
        connection,
        &format!("SELECT fingerprint, {JOB} FROM jobs WHERE key = ?"),
        [&asked.key],
        |row| Ok((row.get::<_, Hash>(0)?.0, read_at(row, 1)?)),
    )?;
    match there {
        Some((fingerprint, there)) if fingerprint != asked.fingerprint => {
            return Ok(Inserted::Conflict { request: there.id });
        }
        Some((_, there)) => return Ok(Inserted::Same(Box::new(there))),
        None => {}
    }
    let open =
        one(connection, "SELECT open FROM job_shares WHERE share = ?", [asked.share()], |row| row.get(0))?;
    let Count(open) = open.unwrap_or(Count(0));
    if open >= most {
        return Ok(Inserted::TooMany { open });
    }
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, key, fingerprint, product, requester, signing_key, priority, share,
                               created, deadline, state, asked)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
        )?
        .execute(params![
            Text(job.id),
            asked.key,
            Hash(asked.fingerprint),
            asked.product.as_str(),
            asked.caller.name,
            asked.signing_key,
            rank(asked.priority),
            asked.share(),
            When(asked.created),
            When(asked.deadline),
            text
        ])?;
    Ok(Inserted::Fresh)
}

fn store_signature(connection: &Connection, signature: &Signature, text: &str) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO signatures (request, key_id, tbs, log_index, signature) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            Text(signature.request),
            Hash(signature.key_id),
            Hash(signature.tbs),
            Count::new("log index", signature.log_index)?,
            text
        ])?;
    Ok(())
}

fn find_signature(connection: &Connection, request: RequestId) -> Result<Option<Signature>, Failure> {
    one(connection, "SELECT signature FROM signatures WHERE request = ?", [Text(request)], read_signature)
}

fn signature_over(connection: &Connection, key: Digest, tbs: Digest) -> Result<Option<Signature>, Failure> {
    one(
        connection,
        "SELECT signature FROM signatures WHERE tbs = ? AND key_id = ? ORDER BY n LIMIT 1",
        params![Hash(tbs), Hash(key)],
        read_signature,
    )
}

/// How a claim ends, and what of it is prepared before the writing thread,
/// of which there is one, has it.
struct Prepared {
    ending: Ending,
    decision: Option<Digest>,
    signature: String,
}

impl Prepared {
    fn new(ending: Ending) -> Result<Prepared, StoreError> {
        let decision = ending.decision.as_deref().map(|record| Digest(sums::sha256(record)));
        let signature = match &ending.outcome {
            JobOutcome::Signed(signature) => text("end a claim", signature)?,
            _ => String::new(),
        };
        Ok(Prepared { ending, decision, signature })
    }
}

fn end(connection: &Connection, claim: &Claim, prepared: Prepared) -> Result<(), Failure> {
    let Prepared { ending, decision, signature: text } = prepared;
    let request = claim.request;
    let (Count(attempt), Word(state), progress) =
        one(connection, "SELECT attempt, state, progress FROM jobs WHERE id = ?", [Text(request)], |row| {
            Ok((row.get(0)?, row.get::<_, Word<JobState>>(1)?, row.get::<_, Option<Json<Progress>>>(2)?))
        })?
        .ok_or_else(|| unknown(request))?;
    if attempt != claim.attempt || state != JobState::Queued {
        if let JobOutcome::Signed(signature) = &ending.outcome
            && find_signature(connection, request)?.as_ref() == Some(&**signature)
        {
            return Ok(());
        }
        let what = format!("signing request {request} was taken over by another attempt");
        return Err(StoreError::conflict(what).into());
    }
    let before = progress.map_or_else(Progress::default, |Json(progress)| progress);
    let mut not_before = Time::EPOCH;
    // What says no comes first: nothing has been changed by then.
    match &ending.outcome {
        JobOutcome::Signed(signature) if signature.request != request => {
            let what = format!("the signature belongs to signing request {}", signature.request);
            return Err(StoreError::conflict(what).into());
        }
        JobOutcome::Signed(signature) => {
            let risen = highest::risen(connection, signature)?;
            store_signature(connection, signature, &text)?;
            highest::keep(connection, signature, risen)?;
        }
        JobOutcome::SameAs(first) if find_signature(connection, *first)?.is_none() => {
            return Err(StoreError::not_found(format!("signature of request {first}")).into());
        }
        JobOutcome::Again(time) => not_before = *time,
        _ => {}
    }
    let progress = ending.applied(&before, decision);
    if let (Some(digest), Some(record)) = (decision, &ending.decision) {
        connection
            .prepare_cached("INSERT OR IGNORE INTO decisions (digest, record) VALUES (?, ?)")?
            .execute(params![Hash(digest), record])?;
    }
    for event in &ending.events {
        happened(connection, event)?;
    }
    // The attempt counts on: whoever ended a claim can do nothing under it
    // any more.
    connection
        .prepare_cached(
            "UPDATE jobs SET attempt = attempt + 1, lease_until = NULL, since = iif(?, NULL, since),
                             not_before = ?, state = ?, progress = ? WHERE id = ?",
        )?
        .execute(params![
            ending.accounted,
            When(not_before),
            Word(progress.state),
            Json(&progress),
            Text(request)
        ])?;
    Ok(())
}

fn put_progress(connection: &Connection, id: RequestId, progress: &Progress) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE jobs SET state = ?, progress = ?, not_before = 0 WHERE id = ?")?
        .execute(params![Word(progress.state), Json(progress), Text(id)])?;
    Ok(())
}

fn resume(
    connection: &Connection,
    id: RequestId,
    from: JobState,
    since: Time,
    by: Option<String>,
    events: &[Event],
) -> Result<(), Failure> {
    let job = known(connection, id)?;
    if job.progress.state != from || !matches!(from, JobState::Waiting | JobState::Held | JobState::Refused) {
        return Err(otherwise(&job));
    }
    let mut progress = job.progress;
    progress.state = JobState::Queued;
    progress.released_by = by.or(progress.released_by);
    progress.resumed = Some(since);
    put_progress(connection, id, &progress)?;
    events.iter().try_for_each(|event| happened(connection, event))
}

/// Ends a job that nobody carries out.
fn close(connection: &Connection, job: Job, state: JobState, why: Option<Reason>) -> Result<(), Failure> {
    let Job { id, mut progress, .. } = job;
    progress.state = state;
    progress.reasons.extend(why);
    put_progress(connection, id, &progress)?;
    let end = if state == JobState::Expired { End::Expired } else { End::Cancelled };
    happened(connection, &Event::Closed { request: id, end })
}

fn cancel(connection: &Connection, id: RequestId, now: Time) -> Result<(), Failure> {
    let job = known(connection, id)?;
    if job.progress.state == JobState::Cancelled {
        return Ok(());
    }
    if !job.progress.state.is_open() {
        return Err(otherwise(&job));
    }
    let taken = connection
        .prepare_cached("SELECT 1 FROM jobs WHERE id = ? AND lease_until > ?")?
        .exists(params![Text(id), When(now)])?;
    if taken {
        return Err(StoreError::Busy { what: format!("signing request {id}, which is being signed,") }.into());
    }
    close(connection, job, JobState::Cancelled, None)
}

fn expire(connection: &Connection, now: Time, most: u32) -> Result<Vec<Job>, Failure> {
    let late = queue::undamaged(
        connection,
        &format!(
            "SELECT n, {JOB} FROM jobs WHERE {OPEN} AND deadline <= ?1
               AND (lease_until IS NULL OR lease_until <= ?1) ORDER BY deadline LIMIT ?2"
        ),
        params![When(now), most],
        |row| read_at(row, 1),
    )?;
    for job in late.clone() {
        let why = format!("its deadline was {}", job.asked.deadline);
        close(connection, job, JobState::Expired, Some(Reason::new("deadline", why)))?;
    }
    Ok(late)
}

fn approve(connection: &Connection, id: RequestId, approval: &Approval) -> Result<(), Failure> {
    let job = known(connection, id)?;
    let (JobState::Waiting, Some(review)) = (job.progress.state, &job.progress.review) else {
        return Err(otherwise(&job));
    };
    if approvals(connection, id)?.contains(approval) {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO job_approvals (request, holder, approval) VALUES (?, ?, ?)")?
        .execute(params![Text(id), approval.holder, Json(approval)])?;
    happened(connection, &Event::Approved { request: id, manifest: review.tbs, key: KeyId(approval.key) })
}

fn disapprove(connection: &Connection, id: RequestId, brought_by: &str) -> Result<usize, Failure> {
    let job = known(connection, id)?;
    if job.progress.state != JobState::Waiting {
        return Err(otherwise(&job));
    }
    let mut removed = 0;
    for approval in approvals(connection, id)?.into_iter().filter(|own| own.brought_by == brought_by) {
        removed += connection
            .prepare_cached("DELETE FROM job_approvals WHERE request = ? AND holder = ?")?
            .execute(params![Text(id), approval.holder])?;
        happened(connection, &Event::Unapproved { request: id, key: KeyId(approval.key) })?;
    }
    Ok(removed)
}

fn approvals(connection: &Connection, id: RequestId) -> Result<Vec<Approval>, Failure> {
    let sql = "SELECT approval FROM job_approvals WHERE request = ? ORDER BY holder";
    all(connection, sql, [Text(id)], |row| row.get(0).map(|Json(approval)| approval))
}

#[async_trait]
impl Jobs for LocalStore {
    async fn insert_job(&self, job: Job, most: u64) -> Result<Inserted, StoreError> {
        let text = text("hand a signing request in", &job.asked)?;
        self.write_whole("hand a signing request in", move |connection| insert(connection, &job, &text, most))
            .await
    }

    async fn job(&self, id: RequestId) -> Result<Option<Job>, StoreError> {
        self.query("look a signing request up", move |connection| find(connection, id)).await
    }

    async fn jobs(&self, filter: JobFilter, page: Page<RequestId>) -> Result<Vec<Job>, StoreError> {
        self.query("list signing requests", move |connection| job_lists::list(connection, &filter, &page))
            .await
    }

    async fn claim_jobs(&self, claiming: Claiming) -> Result<Vec<ClaimedJob>, StoreError> {
        self.write("claim signing requests", move |connection| queue::claim(connection, &claiming)).await
    }

    async fn renew_claims(&self, claims: Vec<Claim>, now: Time, lease: Duration) -> Result<(), StoreError> {
        self.write("hold on to signing requests", move |connection| {
            queue::renew(connection, &claims, now, lease)
        })
        .await
    }

    async fn end_other_claims(&self, held: Vec<RequestId>) -> Result<(), StoreError> {
        self.write("end claims that nobody holds", move |connection| queue::end_others(connection, &held))
            .await
    }

    async fn end_claim(&self, claim: &Claim, ending: Ending) -> Result<(), StoreError> {
        let (claim, prepared) = (claim.clone(), Prepared::new(ending)?);
        self.write_whole("end a claim", move |connection| end(connection, &claim, prepared)).await
    }

    async fn resume_job(
        &self,
        id: RequestId,
        from: JobState,
        since: Time,
        by: Option<String>,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        self.write("queue a signing request again", move |connection| {
            resume(connection, id, from, since, by, &events)
        })
        .await
    }

    async fn cancel_job(&self, id: RequestId, now: Time) -> Result<(), StoreError> {
        self.write("take a signing request back", move |connection| cancel(connection, id, now)).await
    }

    async fn expire_jobs(&self, now: Time, most: u32) -> Result<Vec<Job>, StoreError> {
        self.write("end what is too late", move |connection| expire(connection, now, most)).await
    }

    async fn unaccounted_jobs(&self, now: Time, most: u32) -> Result<Vec<Unaccounted>, StoreError> {
        self.query("look for what nobody saw", move |connection| {
            job_lists::unaccounted(connection, now, most)
        })
        .await
    }

    async fn account_for_job(
        &self,
        id: RequestId,
        since: u64,
        failures: u32,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        self.write("account for a claim", move |connection| {
            job_lists::account(connection, id, since, failures, &events)
        })
        .await
    }

    async fn queue_depths(&self) -> Result<Vec<Depth>, StoreError> {
        self.query("measure the queues", queue::depths).await
    }

    async fn insert_job_approval(&self, id: RequestId, approval: Approval) -> Result<(), StoreError> {
        self.write("add an approval", move |connection| approve(connection, id, &approval)).await
    }

    async fn remove_job_approvals(&self, id: RequestId, brought_by: &str) -> Result<usize, StoreError> {
        let brought_by = brought_by.to_owned();
        self.write("take approvals back", move |connection| disapprove(connection, id, &brought_by)).await
    }

    async fn job_approvals(&self, id: RequestId) -> Result<Vec<Approval>, StoreError> {
        self.query("list approvals", move |connection| approvals(connection, id)).await
    }

    async fn decision(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.query("look a decision up", move |connection| {
            one(connection, "SELECT record FROM decisions WHERE digest = ?", [Hash(digest)], |row| row.get(0))
        })
        .await
    }

    async fn signature(&self, request: RequestId) -> Result<Option<Signature>, StoreError> {
        self.query("look a signature up", move |connection| find_signature(connection, request)).await
    }

    async fn before_signing(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        key: Digest,
        tbs: Digest,
    ) -> Result<Before, StoreError> {
        let (product, channel) = (product.clone(), channel.clone());
        self.query("look up what stands before a signature", move |connection| {
            let latest = releases::latest(connection, &product)?;
            let latest_on_channel = match &latest {
                Some(latest) if latest.channel == channel => Some(latest.clone()),
                Some(_) => releases::latest_on(connection, &product, &channel)?,
                None => None,
            };
            let highest = highest::find(connection, &product, &channel)?;
            let signature = signature_over(connection, key, tbs)?;
            Ok(Before { latest, latest_on_channel, highest, signature })
        })
        .await
    }

    async fn highest_signed(
        &self,
        product: &ProductId,
        channel: &ChannelName,
    ) -> Result<Highest, StoreError> {
        let (product, channel) = (product.clone(), channel.clone());
        self.query("look up what was signed", move |connection| highest::find(connection, &product, &channel))
            .await
    }

    async fn signature_over(&self, key: Digest, tbs: Digest) -> Result<Option<Signature>, StoreError> {
        self.query("look a signature up", move |connection| signature_over(connection, key, tbs)).await
    }
}
