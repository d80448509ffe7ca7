//! Claims on jobs: who lets go of them, and who holds on.

use std::time::Duration;

use firmseal_fleet::{JobState, Priority};
use firmseal_manifest::RequestId;

use super::{
    MOST, claim, claim_one, claiming, conflict, ending, ids, insert, progress, room, samples, store,
};
use crate::conformance::Engine;
use crate::{Claim, JobOutcome};

/// Runs the group.
pub(super) async fn all(engine: &dyn Engine) {
    claims_that_nobody_heard_of_end(engine).await;
    a_claim_that_is_renewed_holds_longer_and_no_other_does(engine).await;
    nobody_holds_on_to_what_is_too_late(engine).await;
}

async fn claims_that_nobody_heard_of_end(engine: &dyn Engine) {
    let store = store(engine).await;
    let (held, lost) =
        (insert(&*store, "red", "k", Priority::Release).await, samples::job("red", "k", Priority::Nightly));
    store.insert_job(lost.clone(), MOST).await.unwrap();
    let claimed = claim(&*store, vec![room("k", 9)]).await;
    assert_eq!(ids(&claimed), [held.id, lost.id]);
    store.end_other_claims(vec![held.id]).await.unwrap();
    let again = claim_one(&*store, samples::NOW).await;
    assert_eq!((again.job.id, again.claim.attempt, again.unseen_since), (lost.id, 2, Some(7)));
    conflict(store.end_claim(&claimed[1].claim, ending(JobOutcome::Refused)).await);
    store.end_claim(&claimed[0].claim, ending(JobOutcome::Refused)).await.unwrap();
}

async fn a_claim_that_is_renewed_holds_longer_and_no_other_does(engine: &dyn Engine) {
    let mut store = store(engine).await;
    let held = insert(&*store, "red", "k", Priority::Release).await;
    let silent = samples::job("red", "k", Priority::Nightly);
    store.insert_job(silent.clone(), MOST).await.unwrap();
    let claimed = claim(&*store, vec![room("k", 9)]).await;
    assert_eq!(ids(&claimed), [held.id, silent.id]);
    let lease = Duration::from_secs(60);
    let renew = async |claim: &Claim, now| {
        store.renew_claims(vec![claim.clone()], samples::later(now), lease).await.unwrap();
    };
    store.renew_claims(Vec::new(), samples::later(50), lease).await.unwrap();
    renew(&claimed[0].claim, 50).await;
    let overtaken = claim_one(&*store, samples::later(60)).await;
    assert_eq!(overtaken.job.id, silent.id, "the other holds until 110");
    // Whoever was overtaken, has ended, or never was, renews nothing.
    renew(&claimed[1].claim, 119).await;
    renew(&Claim { request: RequestId::new(), attempt: 1 }, 119).await;
    let again = store.claim_jobs(claiming(vec![room("k", 9)], samples::later(120))).await.unwrap();
    assert_eq!(ids(&again), [held.id, silent.id]);
    renew(&again[0].claim, 130).await;
    store.end_claim(&again[0].claim, ending(JobOutcome::Held(samples::digest()))).await.unwrap();
    renew(&again[0].claim, 131).await;
    assert_eq!(progress(&*store, held.id).await.state, JobState::Held);
    store.cancel_job(held.id, samples::later(132)).await.unwrap();
    // Nobody is at anything after a restart, however often it was renewed.
    renew(&again[1].claim, 133).await;
    store = engine.reopen(store).await;
    let next = claim_one(&*store, samples::later(134)).await;
    assert_eq!(next.job.id, silent.id);
    conflict(store.end_claim(&again[1].claim, ending(JobOutcome::Refused)).await);
}

async fn nobody_holds_on_to_what_is_too_late(engine: &dyn Engine) {
    let store = store(engine).await;
    let mut job = samples::job("red", "k", Priority::Release);
    job.asked.deadline = samples::later(100);
    store.insert_job(job.clone(), MOST).await.unwrap();
    let claimed = claim_one(&*store, samples::NOW).await;
    let renew = async |now| {
        let claims = vec![claimed.claim.clone()];
        store.renew_claims(claims, samples::later(now), Duration::from_secs(60)).await.unwrap();
    };
    renew(99).await;
    renew(100).await;
    assert_eq!(store.expire_jobs(samples::later(158), 9).await.unwrap(), [], "it holds until 159");
    assert_eq!(store.expire_jobs(samples::later(159), 9).await.unwrap(), [job]);
}
