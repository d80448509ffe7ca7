//! A key that stands in for another one: where policy permits it, and never
//! where it does not.

use firmseal_fleet::{JobState, Reason, Scope};
use firmseal_keys::verify;
use firmseal_manifest::{Digest, Tbs};
use firmseal_sign::{BreakerState, Decision, Policy, PolicyError, Question, Verdict};
use firmseal_store::Jobs;

use crate::bench::{Bench, Fault, Hsm, Service};

/// Permits stand-ins for urgent builds, and for no others.
struct Spares;

impl Policy for Spares {
    fn digest(&self) -> Digest {
        Digest([11; 32])
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        let stands_in = question.keys.iter().any(|key| key.fallback);
        Ok(match stands_in && question.build != "urgent" {
            true => Verdict::Refuse { reasons: vec![Reason::new("spares", "it can wait for its own key")] },
            false => Verdict::Permit,
        })
    }
}

async fn out(service: &Service, key: &str) {
    let is_out = |states: Vec<(String, BreakerState)>| {
        states.iter().any(|(name, state)| name == key && *state == BreakerState::Out)
    };
    while !is_out(service.dispatcher.states()) || service.dispatcher.running() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A service whose key is out for good, with a job that found it so.
async fn without_its_key(bench: &Bench) -> Service {
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    bench.hsm.plan(&[Fault::Pin]);
    let file = service.upload(b"the first").await;
    service.submit(service.wish("first", file)).await;
    out(&service, "own").await;
    service
}

#[tokio::test]
async fn a_stand_in_signs_what_policy_lets_it_and_the_record_says_so() {
    let bench = Bench { spare: Some(Hsm::of(8)), ..Bench::with_policy(Spares) };
    let service = without_its_key(&bench).await;
    let spare = bench.spare.clone().unwrap();
    let file = service.upload(b"some firmware").await;
    let mut wish = service.wish("a", file);
    wish.build = "urgent".to_owned();
    let id = service.submit(wish).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Signed);
    let record = service.store.signature(id).await.unwrap().unwrap();
    let public = firmseal_keys::Signer::public_key(&*spare).clone();
    assert_eq!((record.fallback, record.key.as_str(), record.key_id), (true, "spare", public.id().0));
    let value = firmseal_manifest::Signature(record.value.clone());
    verify(&public, &Tbs::Message(file.0.as_bytes().to_vec()), &value).unwrap();
    let intent = service.log().await[record.log_index as usize].intent().unwrap().clone();
    assert_eq!(intent.keys, [public.id()]);
    let decision = service.store.decision(record.decision.unwrap()).await.unwrap().unwrap();
    let decision: Decision = serde_json::from_slice(&decision).unwrap();
    assert!(decision.question.keys[0].fallback && decision.answer == Verdict::Permit, "{decision:?}");

    // What can wait waits, and says why.
    let other = service.upload(b"another firmware").await;
    let waits = service.submit(service.wish("b", other)).await;
    let why = loop {
        let job = service.store.job(waits).await.unwrap().unwrap();
        if let Some(reason) = job.progress.reasons.first() {
            break (job.progress.state, reason.rule.clone());
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(why, (JobState::Queued, "spares".to_owned()));
    assert_eq!(spare.asked.lock().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn nothing_stands_in_where_no_policy_permits_it_or_the_caller_may_not_have_it() {
    for (policy, confined, rule) in [(false, false, "fallback"), (true, true, "fallback")] {
        let bench = match policy {
            true => Bench::with_policy(Spares),
            false => Bench::new(),
        };
        let bench = Bench { spare: Some(Hsm::of(8)), ..bench };
        let service = without_its_key(&bench).await;
        let file = service.upload(b"some firmware").await;
        let mut wish = service.wish("a", file);
        wish.build = "urgent".to_owned();
        if confined {
            wish.caller.scope = Scope { keys: ["own".to_owned()].into(), ..Scope::default() };
        }
        let id = service.submit(wish).await;
        let found = loop {
            let job = service.store.job(id).await.unwrap().unwrap();
            if let Some(reason) = job.progress.reasons.first() {
                break (job.progress.state, reason.rule.clone());
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(found, (JobState::Queued, rule.to_owned()));
        assert_eq!(bench.spare.clone().unwrap().asked.lock().unwrap().len(), 0);
        service.stop().await;
    }
}

#[tokio::test]
async fn what_the_own_key_has_signed_no_stand_in_signs_again() {
    let bench = Bench { spare: Some(Hsm::of(8)), ..Bench::with_policy(Spares) };
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let first = service.submit(service.wish("a", file)).await;
    assert_eq!(service.settled(first).await.progress.state, JobState::Signed);
    bench.hsm.plan(&[Fault::Pin]);
    let other = service.upload(b"another firmware").await;
    service.submit(service.wish("b", other)).await;
    out(&service, "own").await;
    let mut wish = service.wish("c", file);
    wish.build = "urgent".to_owned();
    let again = service.submit(wish).await;
    let job = service.settled(again).await;
    assert_eq!(job.progress.came_to, Some(firmseal_fleet::CameTo::Signature(first)));
    assert_eq!(bench.spare.clone().unwrap().asked.lock().unwrap().len(), 0);
    service.stop().await;
}
