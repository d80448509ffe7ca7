//! What gate and policy make of a job.

use std::sync::Arc;

use firmseal_core::Root;
use firmseal_fleet::{Approval, ApprovalSignature, Job, JobState, Priority, Reason};
use firmseal_manifest::{Digest, Event, Intent, Ruling, Statement, StatementPurpose};
use firmseal_sign::{
    ApprovalError, Decision, NewApproval, PipelineError, Policy, PolicyError, Question, Recorded, Verdict,
    job_statement,
};
use firmseal_store::Jobs;
use firmseal_testkit::TestKey;

use crate::bench::{Bench, Fault, Service, now};
use crate::faulty::StoreFault;

/// Says what the build id asks it to.
pub(crate) struct Parrot;

impl Policy for Parrot {
    fn digest(&self) -> Digest {
        Digest([9; 32])
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        let reasons = || vec![Reason::new("parrot", "it was told so")];
        Ok(match question.build.as_str() {
            "refuse" => Verdict::Refuse { reasons: reasons() },
            "hold" if !question.released => Verdict::Hold { reasons: reasons() },
            "crowd" => Verdict::Approvals { need: 2, reasons: reasons() },
            "approvals" if question.approvals < 1 => Verdict::Approvals { need: 1, reasons: reasons() },
            "silence" => return Err(PolicyError("it has none".to_owned())),
            _ => Verdict::Permit,
        })
    }
}

#[tokio::test]
async fn the_gate_comes_before_everything() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let large = service.upload(&vec![1; (1 << 20) + 1]).await;
    let id = service.submit(service.wish("a", large)).await;
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (JobState::Refused, "gate-size"));
    let file = service.upload(b"some firmware").await;
    let mut ahead = service.wish("b", file);
    ahead.epoch = 17;
    let id = service.submit(ahead).await;
    let job = service.settled(id).await;
    assert_eq!(
        (job.progress.state, job.progress.reasons[0].rule.as_str()),
        (JobState::Refused, "gate-epoch-ahead")
    );
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 0);
    let events = service.events().await;
    let refused = |event: &Event| matches!(event, Event::Decided { ruling: Ruling::Refused, .. });
    assert!(events.len() == 2 && events.iter().all(refused), "{events:?}");
    // What it was refused on is kept under the digest that the log has.
    let Event::Decided { request, decision, .. } = events[0] else { panic!("{events:?}") };
    let record = service.store.decision(decision).await.unwrap().unwrap();
    let Some(Recorded::Refused(told)) = Recorded::read(&record) else { panic!("{record:?}") };
    assert_eq!((told.question.request, told.question.asked.version.to_string()), (request, "1.2.3".into()));
    assert_eq!((told.policy.0, told.document), (firmseal_sign::gate::policy(), None));
    assert_eq!((told.question.artifacts[0].digest, told.question.artifacts[0].size), (large, (1 << 20) + 1));
    assert_eq!((told.refused[0].rule.as_str(), &told.decided), ("gate-size", &None));
    assert_ne!(events[1], events[0]);
    // A record with anything changed in it is not one that the log names.
    let text = String::from_utf8(record).unwrap();
    assert_eq!(Recorded::read(text.replacen("1.2.3", "1.2.3 ", 1).as_bytes()), None);
    assert_eq!(Recorded::read(format!("{text} ").as_bytes()), None, "one spelling");
    service.stop().await;
}

#[tokio::test]
async fn policy_refuses_holds_and_permits_and_every_word_is_kept() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let wish = |build: &str| {
        let mut wish = service.wish(build, file);
        (wish.build, wish.priority) = (build.to_owned(), Priority::Emergency);
        wish
    };
    let ask = async |build: &str| {
        let id = service.submit(wish(build)).await;
        service.settled(id).await
    };
    for (build, state, ruling) in [
        ("refuse", JobState::Refused, Ruling::Refused),
        ("hold", JobState::Held, Ruling::Held),
        ("approvals", JobState::Waiting, Ruling::Approvals),
    ] {
        let job = ask(build).await;
        assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (state, "parrot"));
        let digest = job.progress.decision.unwrap();
        let record = service.store.decision(digest).await.unwrap().unwrap();
        let decision: Decision = serde_json::from_slice(&record).unwrap();
        assert_eq!((decision.question.request, decision.policy.0), (job.id, service.pipeline.rules()));
        assert_eq!(decision.question.priority, Some(Priority::Emergency), "as the caller said");
        assert_eq!(Recorded::read(&record), Some(Recorded::Decided(Box::new(decision))));
        let event = Event::Decided { request: job.id, decision: digest, ruling };
        assert_eq!(service.events().await.last(), Some(&event));
    }
    assert_eq!(ask("silence").await.progress.state, JobState::Refused, "no verdict is no permit");
    let crowd = ask("crowd").await.progress;
    assert_eq!((crowd.state, crowd.reasons[0].rule.as_str()), (JobState::Refused, "policy"), "there is one");
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 0);

    let job = ask("permit").await;
    let record = service.store.signature(job.id).await.unwrap().unwrap();
    let intent = service.log().await[record.log_index as usize].intent().unwrap().clone();
    assert_eq!(intent.context, [record.header, record.decision.unwrap(), Intent::mark(&job.id)]);
    assert_eq!(intent.policy, service.pipeline.rules());
    assert_ne!(intent.policy, firmseal_sign::gate::policy());

    // An officer lets the one that is held go: the same bytes are signed
    // already.
    let held = service.submit(wish("hold")).await;
    service.store.resume_job(held, JobState::Held, now(), Some("olga".to_owned()), vec![]).await.unwrap();
    service.dispatcher.wake();
    assert_eq!(service.settled(held).await.progress.state, JobState::Signed);
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn what_a_key_refuses_after_policy_permitted_it_keeps_both_words() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    bench.hsm.plan(&[Fault::Refuse]);
    let id = service.submit(service.wish("a", file)).await;
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (JobState::Refused, "key"));
    let record = service.store.decision(job.progress.decision.unwrap()).await.unwrap().unwrap();
    let Some(Recorded::Refused(told)) = Recorded::read(&record) else { panic!("{record:?}") };
    assert_eq!((told.policy.0, told.document.unwrap().0), (service.pipeline.rules(), Parrot.digest()));
    // The intent that came to nothing names the permit.
    let permit = told.decided.unwrap();
    assert_eq!(permit.answer, Verdict::Permit);
    // As it was written before a priority was asked: those records are the
    // log's to this day, under the digests that they had.
    let before = String::from_utf8(permit.encode()).unwrap().replacen("\"priority\":\"release\",", "", 1);
    assert_ne!(before.as_bytes(), permit.encode());
    let Some(Recorded::Decided(told)) = Recorded::read(before.as_bytes()) else { panic!("{before}") };
    assert_eq!(told.encode(), before.as_bytes());
    let intent = bench.hsm.asked.lock().unwrap()[0];
    let intent = service.log().await[intent as usize].intent().unwrap().clone();
    assert!(intent.context.contains(&permit.digest()), "{intent:?}");
    service.stop().await;
}

/// Another policy of the same words.
struct OtherParrot;

impl Policy for OtherParrot {
    fn digest(&self) -> Digest {
        Digest([10; 32])
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        Parrot.decide(question)
    }
}

#[tokio::test]
async fn what_was_let_go_under_one_policy_is_held_under_the_next() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let mut wish = service.wish("a", file);
    wish.build = "hold".to_owned();
    let id = service.submit(wish).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Held);
    service.pipeline.set_policy(Some(Arc::new(OtherParrot)));
    let let_go = async || {
        service.store.resume_job(id, JobState::Held, now(), Some("olga".to_owned()), vec![]).await.unwrap();
        service.dispatcher.wake();
        service.settled(id).await.progress
    };
    let held = let_go().await;
    assert_eq!((held.state, held.released_by), (JobState::Held, None));
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 0);
    assert_eq!(let_go().await.state, JobState::Signed);
    service.stop().await;
}

#[tokio::test]
async fn people_agree_to_exactly_these_bytes_and_nobody_to_the_own_request() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let waiting = async |key: &str, caller: &str| {
        let mut wish = service.wish(key, file);
        wish.build = "approvals".to_owned();
        wish.caller.name = caller.to_owned();
        let id = service.submit(wish).await;
        let job = service.settled(id).await;
        assert_eq!(job.progress.state, JobState::Waiting);
        job
    };
    let ann = TestKey::ed25519(101);
    let document = service.pipeline.root();
    let root = Root::decode(&document).unwrap();
    let approve = async |id, statement: &Statement| {
        let tbs = statement.to_be_signed(ann.public()).unwrap();
        let signature = ApprovalSignature::Cose { signature: ann.sign(&tbs).0 };
        let brought = NewApproval { key: ann.public().id(), signature, brought_by: "desk".to_owned() };
        service.pipeline.approve_job(id, brought, now()).await
    };
    let job = waiting("a", "ci").await;
    let statement = job_statement(&job, job.progress.review.as_ref().unwrap(), &root);
    // What agrees to a release does not agree to a file, nor does what agrees
    // to other bytes.
    for other in [
        Statement { purpose: StatementPurpose::Approval, ..statement.clone() },
        Statement { manifest: Digest([1; 32]), ..statement.clone() },
    ] {
        let refused = approve(job.id, &other).await;
        assert!(matches!(refused, Err(PipelineError::Approval(ApprovalError::BadSignature))), "{refused:?}");
    }
    let own = waiting("b", "ann").await;
    let said = job_statement(&own, own.progress.review.as_ref().unwrap(), &root);
    let refused = approve(own.id, &said).await;
    assert!(matches!(refused, Err(PipelineError::Approval(ApprovalError::Own(_)))), "{refused:?}");
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 0);

    approve(job.id, &statement).await.unwrap();
    service.dispatcher.wake();
    assert_eq!(service.settled(job.id).await.progress.state, JobState::Signed);
    let record = service.store.signature(job.id).await.unwrap().unwrap();
    let intent = service.log().await[record.log_index as usize].intent().unwrap().clone();
    assert_eq!(intent.statements, [statement.digest()]);
    let again = approve(job.id, &statement).await;
    assert!(matches!(again, Err(PipelineError::Approval(ApprovalError::Closed(..)))), "{again:?}");
    let events = service.events().await;
    let agreed = |event: &Event| matches!(event, Event::Decided { ruling: Ruling::Agreed, .. });
    assert_eq!(events.iter().filter(|event| agreed(event)).count(), 1, "{events:?}");
    service.stop().await;
}

/// A file that waits for one approval, and that of `ann`, who may give it.
async fn waiting(service: &Service) -> (Job, Approval) {
    service.product("gateway", "raw").await;
    let mut wish = service.wish("a", service.upload(b"some firmware").await);
    wish.build = "approvals".to_owned();
    let id = service.submit(wish).await;
    let job = service.settled(id).await;
    let (ann, document) = (TestKey::ed25519(101), service.pipeline.root());
    let root = Root::decode(&document).unwrap();
    let statement = job_statement(&job, job.progress.review.as_ref().unwrap(), &root);
    let signature =
        ApprovalSignature::Cose { signature: ann.sign(&statement.to_be_signed(ann.public()).unwrap()).0 };
    let (holder, key) = ("ann".to_owned(), ann.public().id().0);
    (job, Approval { holder, key, signature, brought_by: "desk".to_owned(), created: now() })
}

#[tokio::test]
async fn a_crash_behind_the_last_approval_leaves_nothing_hanging() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    let (job, approval) = waiting(&service).await;
    // What nobody has agreed to stays where it is.
    assert!(service.pipeline.resume_agreed(now()).await.unwrap().is_empty());
    let forged =
        Approval { signature: ApprovalSignature::Cose { signature: vec![7; 64] }, ..approval.clone() };
    service.store.insert_job_approval(job.id, forged).await.unwrap();
    assert!(service.pipeline.resume_agreed(now()).await.unwrap().is_empty());
    assert_eq!(service.settled(job.id).await.progress.state, JobState::Waiting);
    // The approval is kept, and whoever took it is gone.
    service.store.insert_job_approval(job.id, approval.clone()).await.unwrap();
    service.stop().await;
    let service = bench.start().await;
    assert_eq!(service.settled(job.id).await.progress.state, JobState::Waiting);
    for _ in 0..2 {
        assert!(service.pipeline.resume_agreed(now()).await.unwrap().is_empty());
        service.dispatcher.wake();
    }
    let signed = service.settled(job.id).await;
    assert_eq!(signed.progress.state, JobState::Signed);
    assert_eq!(signed.since(), approval.created, "what people took is not the service's");
    let agreed = |event: &Event| matches!(event, Event::Decided { ruling: Ruling::Agreed, .. });
    assert_eq!(service.events().await.iter().filter(|event| agreed(event)).count(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_round_that_the_store_does_not_answer_is_followed_by_another() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    let (job, approval) = waiting(&service).await;
    service.store.insert_job_approval(job.id, approval).await.unwrap();
    *bench.store.lock().unwrap() = Box::new(|| Some(StoreFault::Before));
    assert!(service.pipeline.resume_agreed(now()).await.is_err());
    *bench.store.lock().unwrap() = Box::new(|| None);
    assert!(service.pipeline.resume_agreed(now()).await.unwrap().is_empty());
    service.dispatcher.wake();
    assert_eq!(service.settled(job.id).await.progress.state, JobState::Signed);
    service.stop().await;
}
