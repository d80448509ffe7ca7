//! Release orders in the queue: they outlast their keys, their process and
//! their people.

use std::time::Duration;

use firmseal_core::Root;
use firmseal_fleet::{Approval, ApprovalSignature, CameTo, Job, JobState, Priority, Release, SigningRequest};
use firmseal_keys::Logged;
use firmseal_manifest::{ArtifactId, Digest, Event, Intent, Outcome, Purpose, RequestId, Ruling, Statement};
use firmseal_sign::{Decision, NewApproval, Order, OrderedComponent, Requester, review};
use firmseal_store::{Claiming, Inserted, Jobs, Registry, Room, SigningRequests};
use firmseal_testkit::TestKey;

use crate::bench::{Bench, Fault, Service, now};
use crate::rules::Parrot;

pub(crate) fn order(service: &Service, key: &str, version: &str, artifact: ArtifactId) -> Order {
    let caller = service.wish(key, artifact).caller;
    Order {
        key: Some(key.to_owned()),
        requester: Requester(caller),
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: version.parse().unwrap(),
        sequence: None,
        epoch: 0,
        components: vec![OrderedComponent { name: "main".to_owned(), artifact }],
        sbom: None,
        evidence: vec![],
        parameters: Default::default(),
        build: "build-17".to_owned(),
        commit: "abc123".to_owned(),
        rollback: None,
    }
}

async fn job(service: &Service, order: Order) -> Job {
    let deadline = now().plus(Duration::from_secs(600));
    service.pipeline.release_job(order, Priority::Release, deadline, now()).await.unwrap()
}

pub(crate) async fn submit(service: &Service, order: Order) -> RequestId {
    let job = job(service, order).await;
    let id = job.id;
    match service.dispatcher.submit(job).await.unwrap() {
        Inserted::Fresh => id,
        Inserted::Same(job) => job.id,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn released(service: &Service, id: RequestId) -> Release {
    let job = service.settled(id).await;
    let Some(CameTo::Release(release)) = job.progress.came_to else { panic!("{:?}", job.progress) };
    assert_eq!(job.progress.state, JobState::Signed);
    service.store.release(release).await.unwrap()
}

async fn ready(bench: &Bench) -> (Service, ArtifactId) {
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    (service, file)
}

/// What the log tells of uses of keys.
async fn attempts(service: &Service) -> Vec<(u64, Outcome)> {
    let told = |event| match event {
        Event::Attempt { intent, outcome, .. } => Some((intent, outcome)),
        _ => None,
    };
    service.events().await.into_iter().filter_map(told).collect()
}

#[tokio::test]
async fn an_outage_of_the_key_keeps_the_order_and_every_attempt_is_told() {
    let bench = Bench::new();
    let (service, file) = ready(&bench).await;
    bench.release.plan(&[Fault::Away, Fault::Wrong, Fault::Hang]);
    let id = submit(&service, order(&service, "a", "1.0.0", file)).await;
    let release = released(&service, id).await;
    let asked = bench.release.asked.lock().unwrap().clone();
    assert_eq!((release.request, release.log_index, release.sequence), (id, asked[3], 1));
    let expected = [(asked[0], Outcome::Unknown), (asked[1], Outcome::Failed), (asked[2], Outcome::Unknown)];
    assert_eq!(attempts(&service).await, expected);
    let intent = service.log().await[release.log_index as usize].intent().unwrap().clone();
    assert_eq!((intent.purpose, intent.context), (Purpose::Release, vec![Intent::mark(&id)]));
    // The same order again is the same release, and the next one follows it.
    assert_eq!(submit(&service, order(&service, "a", "1.0.0", file)).await, id);
    let next = submit(&service, order(&service, "b", "1.1.0", file)).await;
    assert_eq!(released(&service, next).await.sequence, 2);
    assert_eq!(bench.release.asked.lock().unwrap().len(), 5);
    service.stop().await;
}

#[tokio::test]
async fn an_order_outlasts_the_process_and_what_nobody_saw_is_told() {
    let bench = Bench::new();
    let (service, file) = ready(&bench).await;
    let job = job(&service, order(&service, "a", "1.0.0", file)).await;
    let (store, pipeline) = (service.store.clone(), service.pipeline.clone());
    service.stop().await;
    store.insert_job(job.clone(), 9).await.unwrap();
    let rooms = vec![Room { key: job.asked.signing_key.clone(), most: 1, after: None }];
    let log_size = store.intents().len();
    let claiming = Claiming { rooms, now: now(), lease: Duration::from_secs(60), log_size };
    assert_eq!(store.claim_jobs(claiming).await.unwrap().len(), 1);
    // As far as the log, under a manifest that nobody will make again.
    let intent = Intent {
        purpose: Purpose::Release,
        subject: Digest([3; 32]),
        keys: vec![firmseal_keys::Signer::public_key(&*bench.release).id()],
        delegation: None,
        statements: vec![],
        requester: file.0,
        policy: pipeline.rules(),
        context: vec![Intent::mark(&job.id)],
    };
    let lost = Logged::append(store.intents(), intent).await.unwrap().index();
    drop((store, pipeline));
    let service = bench.start().await;
    let release = released(&service, job.id).await;
    assert!(release.log_index > lost);
    assert_eq!(attempts(&service).await, [(lost, Outcome::Unknown)]);
    service.stop().await;
}

#[tokio::test]
async fn a_hold_holds_an_order_until_an_officer_lets_it_go() {
    let bench = Bench::with_policy(Parrot);
    let (service, file) = ready(&bench).await;
    let held = Order { build: "hold".to_owned(), ..order(&service, "a", "1.0.0", file) };
    let deadline = now().plus(Duration::from_secs(600));
    let urgent = service.pipeline.release_job(held, Priority::Emergency, deadline, now()).await.unwrap();
    let id = urgent.id;
    service.dispatcher.submit(urgent).await.unwrap();
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (JobState::Held, "parrot"));
    let decision = job.progress.decision.unwrap();
    let record = service.store.decision(decision).await.unwrap().unwrap();
    let asked: Decision = serde_json::from_slice(&record).unwrap();
    assert_eq!((asked.question.request, asked.question.released), (id, false));
    assert_eq!(asked.question.priority, Some(Priority::Emergency), "as the caller said");
    assert_eq!(service.events().await, [Event::Decided { request: id, decision, ruling: Ruling::Held }]);
    assert_eq!(bench.release.asked.lock().unwrap().len(), 0);

    service.store.resume_job(id, JobState::Held, now(), Some("olga".to_owned()), vec![]).await.unwrap();
    service.dispatcher.wake();
    let release = released(&service, id).await;
    let intent = service.log().await[release.log_index as usize].intent().unwrap().clone();
    let [permit, mark] = intent.context.as_slice() else { panic!("{intent:?}") };
    assert_eq!(*mark, Intent::mark(&id));
    assert_ne!(*permit, decision, "asked again, with an officer's word");
    service.stop().await;
}

#[tokio::test]
async fn a_refusal_names_its_rules_and_the_same_order_is_asked_about_again() {
    let bench = Bench::with_policy(Parrot);
    let (service, file) = ready(&bench).await;
    let refused = Order { build: "refuse".to_owned(), ..order(&service, "a", "1.0.0", file) };
    let id = submit(&service, refused.clone()).await;
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (JobState::Refused, "parrot"));
    // Another policy is in force by now.
    service.pipeline.set_policy(None);
    assert_eq!(submit(&service, refused).await, id);
    service.store.resume_job(id, JobState::Refused, now(), None, vec![]).await.unwrap();
    service.dispatcher.wake();
    assert_eq!(released(&service, id).await.request, id);
    let ahead = Order { sequence: Some(1), ..order(&service, "b", "2.0.0", file) };
    let late = submit(&service, ahead).await;
    let job = service.settled(late).await;
    assert_eq!(job.progress.reasons[0].rule, "gate-sequence");
    assert_eq!(bench.release.asked.lock().unwrap().len(), 1);
    service.stop().await;
}

/// Has `ann` agree to a release, as she may.
async fn agree(service: &Service, request: &SigningRequest) -> (Statement, Approval) {
    let ann = TestKey::ed25519(101);
    let document = service.pipeline.root();
    let statement = review::statement(request, &Root::decode(&document).unwrap());
    let signature = ann.sign(&statement.to_be_signed(ann.public()).unwrap()).0;
    let signature = ApprovalSignature::Cose { signature };
    let brought = NewApproval { key: ann.public().id(), signature, brought_by: "desk".to_owned() };
    (statement, service.pipeline.approve(request.id, brought, now()).await.unwrap())
}

#[tokio::test]
async fn an_order_that_expires_says_whether_people_let_it() {
    for agreed in [false, true] {
        let bench = Bench::with_policy(Parrot);
        let (service, file) = ready(&bench).await;
        let wants = Order { build: "approvals".to_owned(), ..order(&service, "a", "1.0.0", file) };
        let id = submit(&service, wants).await;
        assert_eq!(service.settled(id).await.progress.state, JobState::Waiting);
        let request = service.store.signing_request(id).await.unwrap().unwrap();
        if agreed {
            agree(&service, &request).await;
        }
        let too_late = now().plus(Duration::from_secs(8 * 24 * 3600));
        assert_eq!(service.pipeline.align(&request, too_late).await.unwrap(), Some(true));
        service.dispatcher.wake();
        let ended = service.settled(id).await.progress;
        assert_eq!(ended.state, JobState::Expired);
        assert_eq!(ended.reasons.iter().any(|reason| reason.rule == "service"), agreed, "{ended:?}");
        service.stop().await;
        assert_eq!(bench.release.asked.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn people_agree_while_the_key_is_away_and_the_release_comes_once_it_is_back() {
    let bench = Bench::with_policy(Parrot);
    let (service, file) = ready(&bench).await;
    let wants = Order { build: "approvals".to_owned(), ..order(&service, "a", "1.0.0", file) };
    let id = submit(&service, wants).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Waiting);
    let request = service.store.signing_request(id).await.unwrap().unwrap();
    // Nobody has agreed: the job stays where it is.
    assert_eq!(service.pipeline.align(&request, now()).await.unwrap(), Some(false));
    let (statement, approval) = agree(&service, &request).await;
    bench.release.plan(&[Fault::Away, Fault::Hang]);
    assert_eq!(service.pipeline.align(&request, now()).await.unwrap(), Some(true));
    service.dispatcher.wake();
    let release = released(&service, id).await;
    assert_eq!((release.request, release.manifest), (id, request.manifest));
    let since = service.store.job(id).await.unwrap().unwrap().since();
    assert_eq!(since, approval.created, "what people took is not the service's");
    let asked = bench.release.asked.lock().unwrap().clone();
    assert_eq!(attempts(&service).await, [(asked[0], Outcome::Unknown), (asked[1], Outcome::Unknown)]);
    let intent = service.log().await[release.log_index as usize].intent().unwrap().clone();
    assert_eq!(intent.statements, [statement.digest()]);
    service.stop().await;
}

#[tokio::test]
async fn an_order_that_was_taken_back_ends_with_what_people_were_asked() {
    let bench = Bench::with_policy(Parrot);
    let (service, file) = ready(&bench).await;
    let wants = Order { build: "approvals".to_owned(), ..order(&service, "a", "1.0.0", file) };
    let id = submit(&service, wants).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Waiting);
    service.store.close_signing_request(id, firmseal_fleet::RequestState::Cancelled).await.unwrap();
    let request = service.store.signing_request(id).await.unwrap().unwrap();
    assert_eq!(service.pipeline.align(&request, now()).await.unwrap(), Some(true));
    service.dispatcher.wake();
    assert_eq!(service.settled(id).await.progress.state, JobState::Cancelled);
    assert_eq!(bench.release.asked.lock().unwrap().len(), 0);
    service.stop().await;
}

#[tokio::test]
async fn an_order_whose_key_was_replaced_is_signed_with_the_one_that_is_there() {
    let bench = Bench::new();
    let (service, file) = ready(&bench).await;
    let mut job = job(&service, order(&service, "a", "1.0.0", file)).await;
    job.asked.signing_key = "the key of last year".to_owned();
    assert_eq!(service.dispatcher.submit(job.clone()).await.unwrap(), Inserted::Fresh);
    assert_eq!(released(&service, job.id).await.request, job.id);
    let known: Vec<_> = service.dispatcher.states().into_iter().map(|(key, _)| key).collect();
    assert_eq!(known, ["own", "release"], "nobody asks a key that is gone");

    // A file was asked for with that very key: it is refused, and not kept.
    let mut wish = service.pipeline.artifact_job(service.wish("b", file), now()).await.unwrap();
    wish.asked.signing_key = "the key of last year".to_owned();
    service.dispatcher.submit(wish.clone()).await.unwrap();
    let refused = service.settled(wish.id).await.progress;
    assert_eq!((refused.state, refused.reasons[0].rule.as_str()), (JobState::Refused, "key"));

    // Nor does a credential open a key that it is not for, because the
    // product has that one by now.
    let mut confined = order(&service, "c", "1.1.0", file);
    confined.requester.0.scope.keys = ["release".to_owned()].into();
    let mut job = self::job(&service, confined).await;
    job.asked.caller.scope.keys = ["the key of last year".to_owned()].into();
    service.dispatcher.submit(job.clone()).await.unwrap();
    let refused = service.settled(job.id).await.progress;
    assert_eq!((refused.state, refused.reasons[0].rule.as_str()), (JobState::Refused, "scope"));
    assert_eq!(bench.release.asked.lock().unwrap().len(), 1);
    service.stop().await;
}
