//! Jobs: none is lost, none ends twice, nobody's turn is forgotten.

mod claims;

use std::time::Duration;

use firmseal_fleet::{ApprovalSignature, CameTo, Job, JobReview, JobState, Priority, Progress, Reason, Time};
use firmseal_manifest::{Digest, End, Event, KeyId, Outcome, RequestId, Ruling};
use futures_util::future::join_all;

use super::{Engine, conflict, not_found, refused, samples};
use crate::{
    Before, Claim, ClaimedJob, Claiming, Depth, Ending, Highest, Inserted, JobFilter, JobOutcome, Mark, Page,
    Room, Store, StoreError,
};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_handed_in_is_kept_once(engine).await;
    urgent_ones_come_first_and_shares_take_turns(engine).await;
    of_many_who_claim_one_has_it(engine).await;
    claims_run_out_and_are_accounted_for(engine).await;
    a_signature_is_recorded_once(engine).await;
    the_highest_that_was_signed_never_falls(engine).await;
    nothing_becomes_of_what_has_ended(engine).await;
    people_are_waited_for(engine).await;
    what_is_too_late_ends(engine).await;
    what_nobody_saw_is_kept_until_somebody_accounts_for_it(engine).await;
    a_share_has_so_many_open_jobs_and_no_more(engine).await;
    claims::all(engine).await;
    lists_are_filtered(engine).await;
}

/// More than any test hands in.
const MOST: u64 = 1000;

async fn store(engine: &dyn Engine) -> std::sync::Arc<dyn Store> {
    let store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    // What waits from here on is about jobs.
    let waiting = store.waiting_events(9).await.unwrap();
    store.events_entered(waiting.iter().map(|waiting| (waiting.number, 0)).collect()).await.unwrap();
    store
}

async fn insert(store: &dyn Store, team: &str, key: &str, priority: Priority) -> Job {
    let job = samples::job(team, key, priority);
    assert_eq!(store.insert_job(job.clone(), MOST).await.unwrap(), Inserted::Fresh);
    job
}

fn room(key: &str, most: u32) -> Room {
    Room { key: key.to_owned(), most, after: None }
}

fn claiming(rooms: Vec<Room>, now: Time) -> Claiming {
    Claiming { rooms, now, lease: Duration::from_secs(60), log_size: 7 }
}

async fn claim(store: &dyn Store, rooms: Vec<Room>) -> Vec<ClaimedJob> {
    store.claim_jobs(claiming(rooms, samples::NOW)).await.unwrap()
}

async fn claim_one(store: &dyn Store, now: Time) -> ClaimedJob {
    let mut claimed = store.claim_jobs(claiming(vec![room("k", 9)], now)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

fn ids(claimed: &[ClaimedJob]) -> Vec<RequestId> {
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

fn ending(outcome: JobOutcome) -> Ending {
    Ending { outcome, reasons: vec![], decision: None, accounted: true, failures: 0, events: vec![] }
}

async fn progress(store: &dyn Store, id: RequestId) -> Progress {
    store.job(id).await.unwrap().unwrap().progress
}

async fn what_is_handed_in_is_kept_once(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let job = samples::job("red", "k", Priority::Release);
    assert!(store.insert_job(job.clone(), MOST).await.is_err(), "its product does not exist");
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    assert_eq!(store.job(job.id).await.unwrap(), None);
    let again = Job { id: RequestId::new(), ..job.clone() };
    let mut other = again.clone();
    other.asked.fingerprint = samples::digest();
    let outcomes = join_all([&job, &job, &job].map(|job| store.insert_job(job.clone(), MOST))).await;
    let fresh = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Inserted::Fresh))).count();
    assert_eq!(fresh, 1, "{outcomes:?}");
    store = engine.reopen(store).await;
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    assert_eq!(store.insert_job(again, MOST).await.unwrap(), Inserted::Same(Box::new(job.clone())));
    assert_eq!(store.insert_job(other, MOST).await.unwrap(), Inserted::Conflict { request: job.id });
    let depth = Depth { key: "k".to_owned(), priority: Priority::Release, queued: 1, oldest: samples::NOW };
    assert_eq!(store.queue_depths().await.unwrap(), [depth]);
}

async fn urgent_ones_come_first_and_shares_take_turns(engine: &dyn Engine) {
    let store = store(engine).await;
    let store = &*store;
    let mut red = Vec::new();
    for _ in 0..4 {
        red.push(insert(store, "red", "k", Priority::Release).await.id);
    }
    let blue = insert(store, "blue", "k", Priority::Release).await.id;
    let green = insert(store, "green", "k", Priority::Release).await.id;
    let night = insert(store, "blue", "k", Priority::Nightly).await.id;
    let urgent = insert(store, "red", "k", Priority::Emergency).await.id;
    let other = insert(store, "red", "other", Priority::Emergency).await.id;
    assert_eq!(claim(store, vec![]).await, []);
    assert_eq!(claim(store, vec![room("k", 0), room("nobody's", 9)]).await, []);
    // After blue it is green's turn, then red's, then blue's.
    let after = Room { after: Some("blue".to_owned()), ..room("k", 4) };
    let claimed = claim(store, vec![after, room("other", 1)]).await;
    assert_eq!(ids(&claimed), [urgent, green, red[0], blue, other]);
    assert!(claimed.iter().all(|claimed| claimed.claim.attempt == 1 && claimed.unseen_since.is_none()));
    assert_eq!(ids(&claim(store, vec![room("k", 2)]).await), red[1..3]);
    assert_eq!(ids(&claim(store, vec![room("k", 9)]).await), [red[3], night]);
    assert_eq!(claim(store, vec![room("k", 9)]).await, []);
}

async fn of_many_who_claim_one_has_it(engine: &dyn Engine) {
    let store = store(engine).await;
    for _ in 0..40 {
        insert(&*store, "red", "k", Priority::Release).await;
    }
    let mut all = Vec::new();
    for claimed in join_all((0..20).map(|_| claim(&*store, vec![room("k", 3)]))).await {
        all.extend(ids(&claimed));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((count, all.len()), (40, 40));
}

async fn claims_run_out_and_are_accounted_for(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let job = insert(&*store, "red", "k", Priority::Release).await;
    let first = claim_one(&*store, samples::NOW).await;
    assert_eq!(store.claim_jobs(claiming(vec![room("k", 9)], samples::later(59))).await.unwrap(), []);
    // It runs out; what the log may have of it begins where it began.
    let late = Claiming { log_size: 20, ..claiming(vec![room("k", 9)], samples::later(60)) };
    let second = store.claim_jobs(late).await.unwrap().remove(0);
    assert_eq!((second.claim.attempt, second.unseen_since), (2, Some(7)));
    conflict(store.end_claim(&first.claim, ending(JobOutcome::Refused)).await);
    store = engine.reopen(store).await;
    let third = claim_one(&*store, samples::NOW).await;
    assert_eq!((third.claim.attempt, third.unseen_since), (3, Some(7)));
    conflict(store.end_claim(&second.claim, ending(JobOutcome::Refused)).await);
    let event = Event::Attempt { request: job.id, intent: 9, outcome: Outcome::Unknown };
    let reasons = vec![Reason::new("key", "it is out of reach")];
    let again = Ending {
        reasons: reasons.clone(),
        failures: 2,
        events: vec![event],
        ..ending(JobOutcome::Again(samples::later(5)))
    };
    store.end_claim(&third.claim, again.clone()).await.unwrap();
    conflict(store.end_claim(&third.claim, again).await);
    assert_eq!(
        store.waiting_events(9).await.unwrap().iter().map(|own| own.event).collect::<Vec<_>>(),
        [event]
    );
    let expected = Progress { failures: 2, reasons, ..Progress::default() };
    assert_eq!(progress(&*store, job.id).await, expected);
    assert_eq!(store.claim_jobs(claiming(vec![room("k", 9)], samples::later(4))).await.unwrap(), []);
    let fourth = claim_one(&*store, samples::later(5)).await;
    assert_eq!(fourth.unseen_since, None, "somebody has accounted for it");
    let unknown = Claim { request: RequestId::new(), attempt: 1 };
    not_found(store.end_claim(&unknown, ending(JobOutcome::Refused)).await);
}

async fn a_signature_is_recorded_once(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let job = insert(&*store, "red", "k", Priority::Release).await;
    let claimed = claim_one(&*store, samples::NOW).await;
    let signature = samples::signature(&job);
    assert_eq!(store.signature(job.id).await.unwrap(), None);
    let mut foreign = signature.clone();
    foreign.request = RequestId::new();
    conflict(store.end_claim(&claimed.claim, ending(JobOutcome::Signed(Box::new(foreign)))).await);
    not_found(store.end_claim(&claimed.claim, ending(JobOutcome::SameAs(job.id))).await);
    assert_eq!(progress(&*store, job.id).await.state, JobState::Queued, "nothing of it happened");
    let signed =
        Ending { decision: Some(b"abc".to_vec()), ..ending(JobOutcome::Signed(Box::new(signature.clone()))) };
    store.end_claim(&claimed.claim, signed.clone()).await.unwrap();
    store.end_claim(&claimed.claim, signed.clone()).await.unwrap();
    let mut unlike = signature.clone();
    unlike.value = vec![1];
    conflict(store.end_claim(&claimed.claim, ending(JobOutcome::Signed(Box::new(unlike)))).await);
    store = engine.reopen(store).await;
    assert_eq!(store.signature(job.id).await.unwrap(), Some(signature.clone()));
    let over = store.signature_over(signature.key_id, signature.tbs).await.unwrap();
    assert_eq!(over, Some(signature.clone()));
    let (product, channel) = (&job.asked.product, &job.asked.channel);
    let before = store.before_signing(product, channel, signature.key_id, signature.tbs).await.unwrap();
    let (latest, latest_on_channel, highest) = (None, None, marked(2, Some(("1.2.3", 2))));
    assert_eq!(before, Before { latest, latest_on_channel, highest, signature: Some(signature.clone()) });
    assert_eq!(store.signature_over(samples::digest(), signature.tbs).await.unwrap(), None);
    assert_eq!(store.signature_over(signature.key_id, samples::digest()).await.unwrap(), None);
    // SHA-256 of "abc" (FIPS 180-4, example).
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let abc = firmseal_manifest::ids::parse_digest(abc);
    assert_eq!(store.decision(abc.unwrap()).await.unwrap().as_deref(), Some(&b"abc"[..]));
    assert_eq!(store.decision(samples::digest()).await.unwrap(), None);
    let came_to = Some(CameTo::Signature(job.id));
    let expected = Progress { state: JobState::Signed, decision: abc, came_to, ..Progress::default() };
    assert_eq!(progress(&*store, job.id).await, expected);
    // The same bytes for somebody else.
    let twin = insert(&*store, "blue", "k", Priority::Release).await;
    let claimed = claim_one(&*store, samples::NOW).await;
    store.end_claim(&claimed.claim, ending(JobOutcome::SameAs(job.id))).await.unwrap();
    assert_eq!(progress(&*store, twin.id).await.came_to, came_to);
    assert_eq!(store.signature(twin.id).await.unwrap(), None);
}

fn marked(epoch: u64, on_channel: Option<(&str, u64)>) -> Highest {
    let mark = |(version, epoch): (&str, u64)| Mark { version: version.parse().unwrap(), epoch };
    Highest { epoch, on_channel: on_channel.map(mark) }
}

async fn the_highest_that_was_signed_never_falls(engine: &dyn Engine) {
    let mut store = store(engine).await;
    store.insert_product(samples::product("camera"), &samples::admin()).await.unwrap();
    let of = |product: &str, channel: &str, version: &str, epoch: u64| {
        let mut job = samples::job("red", "k", Priority::Release);
        (job.asked.product, job.asked.channel) = (product.parse().unwrap(), channel.parse().unwrap());
        (job.asked.version, job.asked.epoch) = (version.parse().unwrap(), epoch);
        job
    };
    let (gateway, stable) = ("gateway".parse().unwrap(), "stable".parse().unwrap());
    assert_eq!(store.highest_signed(&gateway, &stable).await.unwrap(), marked(0, None));
    for (version, epoch, expected) in [
        ("1.9.0", 0, ("1.9.0", 0)),
        // Neither text nor the newest: ten is above nine, and a release above
        // its candidates.
        ("1.10.0-rc.9", 5, ("1.10.0-rc.9", 5)),
        ("1.10.0-rc.10", 4, ("1.10.0-rc.10", 5)),
        ("1.10.0", 0, ("1.10.0", 5)),
        ("1.10.0-rc.11", 5, ("1.10.0", 5)),
        ("1.2.0", 6, ("1.10.0", 6)),
    ] {
        let job = of("gateway", "stable", version, epoch);
        store.insert_job(job.clone(), MOST).await.unwrap();
        let claimed = claim_one(&*store, samples::NOW).await;
        let signed = ending(JobOutcome::Signed(Box::new(samples::signature(&job))));
        // Told twice, as after an answer that was lost.
        store.end_claim(&claimed.claim, signed.clone()).await.unwrap();
        store.end_claim(&claimed.claim, signed).await.unwrap();
        let found = store.highest_signed(&gateway, &stable).await.unwrap();
        assert_eq!(found, marked(expected.1, Some(expected)), "after {version}, epoch {epoch}");
    }
    // What came to nothing, or to a signature of before, is no mark.
    let first = of("gateway", "stable", "8.0.0", 8);
    let second = of("gateway", "stable", "9.0.0", 9);
    let signed = of("gateway", "beta", "1.0.0", 2);
    for (job, outcome) in [
        (&first, JobOutcome::Refused),
        (&signed, JobOutcome::Signed(Box::new(samples::signature(&signed)))),
        (&second, JobOutcome::SameAs(signed.id)),
    ] {
        store.insert_job(job.clone(), MOST).await.unwrap();
        let claimed = claim_one(&*store, samples::NOW).await;
        store.end_claim(&claimed.claim, ending(outcome)).await.unwrap();
    }
    store = engine.reopen(store).await;
    // Epochs are the product's, versions each channel's.
    for (product, channel, expected) in [
        ("gateway", "stable", marked(6, Some(("1.10.0", 6)))),
        ("gateway", "beta", marked(6, Some(("1.0.0", 2)))),
        ("gateway", "elsewhere", marked(6, None)),
        ("camera", "stable", marked(0, None)),
    ] {
        let (product, channel) = (product.parse().unwrap(), channel.parse().unwrap());
        assert_eq!(store.highest_signed(&product, &channel).await.unwrap(), expected, "{product} {channel}");
        let before = store.before_signing(&product, &channel, samples::digest(), samples::digest()).await;
        assert_eq!(before.unwrap().highest, expected, "{product} {channel}");
    }
}

async fn nothing_becomes_of_what_has_ended(engine: &dyn Engine) {
    let store = store(engine).await;
    let job = insert(&*store, "red", "k", Priority::Release).await;
    not_found(store.cancel_job(RequestId::new(), samples::NOW).await);
    let claimed = claim_one(&*store, samples::NOW).await;
    refused!(store.cancel_job(job.id, samples::NOW).await, StoreError::Busy { .. });
    // Whoever has it is silent: the job goes, and what comes late is lost.
    for _ in 0..2 {
        store.cancel_job(job.id, samples::later(60)).await.unwrap();
    }
    conflict(store.end_claim(&claimed.claim, ending(JobOutcome::Refused)).await);
    assert_eq!(store.claim_jobs(claiming(vec![room("k", 9)], samples::later(61))).await.unwrap(), []);
    assert_eq!(progress(&*store, job.id).await.state, JobState::Cancelled);
    let refused = insert(&*store, "red", "k", Priority::Release).await;
    let claimed = claim_one(&*store, samples::NOW).await;
    let event = Event::Decided { request: refused.id, decision: Digest([0; 32]), ruling: Ruling::Refused };
    let no = Ending { events: vec![event], ..ending(JobOutcome::Refused) };
    store.end_claim(&claimed.claim, no).await.unwrap();
    conflict(store.cancel_job(refused.id, samples::NOW).await);
    conflict(store.resume_job(refused.id, JobState::Held, samples::NOW, None, vec![]).await);
    let events: Vec<_> = store.waiting_events(9).await.unwrap().iter().map(|own| own.event).collect();
    assert_eq!(events, [Event::Closed { request: job.id, end: End::Cancelled }, event]);
}

async fn people_are_waited_for(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let job = insert(&*store, "red", "k", Priority::Release).await;
    let approval = samples::approval("ann", "desk");
    conflict(store.insert_job_approval(job.id, approval.clone()).await);
    conflict(store.remove_job_approvals(job.id, "desk").await);
    not_found(store.remove_job_approvals(RequestId::new(), "desk").await);
    not_found(store.insert_job_approval(RequestId::new(), approval.clone()).await);
    let claimed = claim_one(&*store, samples::NOW).await;
    let review = JobReview {
        tbs: samples::digest(),
        header: samples::digest(),
        policy: samples::digest(),
        signer: samples::digest(),
        need: 2,
        expiry: 1_900_000_000,
    };
    store.end_claim(&claimed.claim, ending(JobOutcome::Waiting(review.clone()))).await.unwrap();
    assert_eq!(claim(&*store, vec![room("k", 9)]).await, []);
    for _ in 0..2 {
        store.insert_job_approval(job.id, approval.clone()).await.unwrap();
    }
    let mut newer = approval.clone();
    newer.signature = ApprovalSignature::Ssh { signature: vec![1] };
    store.insert_job_approval(job.id, newer.clone()).await.unwrap();
    let other = samples::approval("ada", "home");
    store.insert_job_approval(job.id, other.clone()).await.unwrap();
    // Each takes back what they brought themselves.
    assert_eq!(store.remove_job_approvals(job.id, "nobody").await.unwrap(), 0);
    assert_eq!(store.remove_job_approvals(job.id, "home").await.unwrap(), 1);
    assert_eq!(store.remove_job_approvals(job.id, "home").await.unwrap(), 0);
    assert_eq!(store.job_approvals(job.id).await.unwrap(), [newer.clone()]);
    store.insert_job_approval(job.id, other.clone()).await.unwrap();
    store = engine.reopen(store).await;
    assert_eq!(store.job_approvals(job.id).await.unwrap(), [other.clone(), newer.clone()]);
    conflict(store.resume_job(job.id, JobState::Held, samples::NOW, None, vec![]).await);
    let agreed = Event::Decided { request: job.id, decision: Digest([0; 32]), ruling: Ruling::Agreed };
    store.resume_job(job.id, JobState::Waiting, samples::NOW, None, vec![agreed]).await.unwrap();
    conflict(store.resume_job(job.id, JobState::Waiting, samples::NOW, None, vec![agreed]).await);
    conflict(store.remove_job_approvals(job.id, "desk").await);
    let claimed = claim_one(&*store, samples::NOW).await;
    assert_eq!(claimed.job.progress.review, Some(review.clone()));
    let rules = samples::digest();
    store.end_claim(&claimed.claim, ending(JobOutcome::Held(rules))).await.unwrap();
    assert_eq!(claim(&*store, vec![room("k", 9)]).await, []);
    store
        .resume_job(job.id, JobState::Held, samples::later(3), Some("olga".to_owned()), vec![])
        .await
        .unwrap();
    let claimed = claim_one(&*store, samples::NOW).await;
    assert_eq!(claimed.job.progress.released_by.as_deref(), Some("olga"));
    assert_eq!(claimed.job.since(), samples::later(3));
    assert!(
        claimed.job.progress.is_released(&rules) && !claimed.job.progress.is_released(&samples::digest())
    );
    // Held once more, somebody has to look once more.
    store.end_claim(&claimed.claim, ending(JobOutcome::Held(rules))).await.unwrap();
    assert!(!progress(&*store, job.id).await.is_released(&rules));
    let events: Vec<_> = store.waiting_events(9).await.unwrap().iter().map(|own| own.event).collect();
    let approved = |own: &firmseal_fleet::Approval| Event::Approved {
        request: job.id,
        manifest: review.tbs,
        key: KeyId(own.key),
    };
    let taken_back = Event::Unapproved { request: job.id, key: KeyId(other.key) };
    let all = [approved(&approval), approved(&newer), approved(&other), taken_back, approved(&other), agreed];
    assert_eq!(events, all);
}

async fn what_is_too_late_ends(engine: &dyn Engine) {
    let store = store(engine).await;
    let mut job = samples::job("red", "k", Priority::Release);
    job.asked.deadline = samples::later(10);
    store.insert_job(job.clone(), MOST).await.unwrap();
    let claimed = store.claim_jobs(claiming(vec![room("k", 1)], samples::later(9))).await.unwrap();
    let mut second = samples::job("red", "k", Priority::Release);
    second.asked.deadline = samples::later(10);
    store.insert_job(second.clone(), MOST).await.unwrap();
    assert_eq!(store.claim_jobs(claiming(vec![room("k", 9)], samples::later(10))).await.unwrap(), []);
    assert_eq!(store.expire_jobs(samples::later(9), 9).await.unwrap(), []);
    let late = store.expire_jobs(samples::later(10), 9).await.unwrap();
    assert_eq!(late, [second.clone()], "as it stood; the first is at it");
    assert_eq!(store.expire_jobs(samples::later(10), 9).await.unwrap(), []);
    let ended = progress(&*store, second.id).await;
    assert_eq!((ended.state, ended.reasons.len()), (JobState::Expired, 1));
    // Signed in the last moment it counts.
    let signature = samples::signature(&job);
    store.end_claim(&claimed[0].claim, ending(JobOutcome::Signed(Box::new(signature)))).await.unwrap();
    let events: Vec<_> = store.waiting_events(9).await.unwrap().iter().map(|own| own.event).collect();
    assert_eq!(events, [Event::Closed { request: second.id, end: End::Expired }]);
}

async fn what_nobody_saw_is_kept_until_somebody_accounts_for_it(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let mut job = samples::job("red", "k", Priority::Release);
    job.asked.deadline = samples::later(100);
    store.insert_job(job.clone(), MOST).await.unwrap();
    claim_one(&*store, samples::NOW).await;
    // The first claim ends without a word, the second without looking.
    let second = claim_one(&*store, samples::later(60)).await;
    let unaccounted = Ending { accounted: false, ..ending(JobOutcome::Again(Time::EPOCH)) };
    store.end_claim(&second.claim, unaccounted).await.unwrap();
    let third = claim_one(&*store, samples::later(61)).await;
    assert_eq!((second.unseen_since, third.unseen_since), (Some(7), Some(7)));
    // The third is silent, and then it is too late for the job.
    assert_eq!(store.expire_jobs(samples::later(200), 9).await.unwrap().len(), 1);
    let cancelled = insert(&*store, "red", "k", Priority::Release).await;
    claim_one(&*store, samples::later(70)).await;
    store.cancel_job(cancelled.id, samples::later(130)).await.unwrap();
    let seen = insert(&*store, "red", "k", Priority::Release).await;
    let claimed = claim_one(&*store, samples::later(70)).await;
    store.end_claim(&claimed.claim, ending(JobOutcome::Refused)).await.unwrap();
    store = engine.reopen(store).await;
    let found = store.unaccounted_jobs(samples::later(200), 9).await.unwrap();
    let ids: Vec<_> = found.iter().map(|found| (found.job.id, found.since)).collect();
    assert_eq!(ids, [(job.id, 7), (cancelled.id, 7)], "and not {}", seen.id);
    assert_eq!(store.unaccounted_jobs(samples::later(200), 1).await.unwrap().len(), 1);
    let before = store.waiting_events(99).await.unwrap().len();
    let event = Event::Attempt { request: job.id, intent: 8, outcome: Outcome::Unknown };
    store.account_for_job(job.id, 6, 1, vec![event]).await.unwrap();
    for _ in 0..2 {
        store.account_for_job(job.id, 7, 1, vec![event]).await.unwrap();
    }
    store.account_for_job(cancelled.id, 7, 0, vec![]).await.unwrap();
    assert_eq!(store.unaccounted_jobs(samples::later(200), 9).await.unwrap(), []);
    assert_eq!(store.waiting_events(99).await.unwrap().len(), before + 1, "it is told once");
    let ended = progress(&*store, job.id).await;
    assert_eq!((ended.state, ended.failures), (JobState::Expired, 1));
}

async fn a_share_has_so_many_open_jobs_and_no_more(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let first = samples::job("red", "k", Priority::Release);
    let offer = |team: &str| samples::job(team, "k", Priority::Release);
    assert_eq!(store.insert_job(first.clone(), 2).await.unwrap(), Inserted::Fresh);
    assert_eq!(store.insert_job(offer("red"), 2).await.unwrap(), Inserted::Fresh);
    assert_eq!(store.insert_job(offer("red"), 2).await.unwrap(), Inserted::TooMany { open: 2 });
    assert_eq!(store.insert_job(offer("blue"), 2).await.unwrap(), Inserted::Fresh, "others have their own");
    let same = store.insert_job(first.clone(), 2).await.unwrap();
    assert_eq!(same, Inserted::Same(Box::new(first.clone())), "it is there already");
    store = engine.reopen(store).await;
    // One that waits is open; one that has ended is not.
    let claimed = claim(&*store, vec![room("k", 1)]).await.remove(0);
    store.end_claim(&claimed.claim, ending(JobOutcome::Held(samples::digest()))).await.unwrap();
    assert_eq!(store.insert_job(offer("red"), 2).await.unwrap(), Inserted::TooMany { open: 2 });
    store.cancel_job(first.id, samples::NOW).await.unwrap();
    assert_eq!(store.insert_job(offer("red"), 2).await.unwrap(), Inserted::Fresh);
    assert_eq!(store.insert_job(offer("red"), 2).await.unwrap(), Inserted::TooMany { open: 2 });
}

async fn lists_are_filtered(engine: &dyn Engine) {
    let store = store(engine).await;
    let first = insert(&*store, "red", "k", Priority::Release).await;
    let second = insert(&*store, "red", "other", Priority::Nightly).await;
    store.cancel_job(first.id, samples::NOW).await.unwrap();
    let list = async |filter: JobFilter, page| {
        let jobs = store.jobs(filter, page).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let all = JobFilter::default();
    assert_eq!(list(all.clone(), Page::first(9)).await, [second.id, first.id]);
    assert_eq!(list(all.clone(), Page::first(1)).await, [second.id]);
    assert_eq!(list(all.clone(), Page::after(second.id, 9)).await, [first.id]);
    let queued = JobFilter { state: Some(JobState::Queued), ..all.clone() };
    assert_eq!(list(queued, Page::first(9)).await, [second.id]);
    let keyed = JobFilter { signing_key: Some("k".to_owned()), ..all.clone() };
    assert_eq!(list(keyed, Page::first(9)).await, [first.id]);
    let product = JobFilter { product: Some("camera".parse().unwrap()), ..all.clone() };
    assert_eq!(list(product, Page::first(9)).await, []);
    let requester = JobFilter { requester: Some("cïo".to_owned()), ..all.clone() };
    assert_eq!(list(requester.clone(), Page::first(9)).await.len(), 2);
    let cancelled = JobFilter { state: Some(JobState::Cancelled), ..requester };
    assert_eq!(list(cancelled.clone(), Page::first(9)).await, [first.id]);
    assert_eq!(list(cancelled, Page::after(first.id, 9)).await, []);
    let signed = JobFilter { state: Some(JobState::Signed), ..all };
    assert_eq!(list(signed, Page::first(9)).await, []);
}
