//! One request, one signature: through retries, lost answers and crashes.

use std::time::{Duration, Instant};

use firmseal_fleet::{CameTo, JobState, Signature};
use firmseal_keys::{Logged, verify};
use firmseal_manifest::{Event, Intent, Outcome, Purpose, RequestId, Ruling, Tbs};
use firmseal_sign::{Bounds, BreakerState, PipelineError};
use firmseal_store::{Blobs, Claiming, Inserted, Jobs, Registry, Room};
use firmseal_testkit::world::firmware;

use crate::bench::{Bench, Fault, Service, now};
use crate::faulty::StoreFault;

async fn signature(service: &Service, id: RequestId) -> Signature {
    let job = service.settled(id).await;
    assert_eq!(job.progress.state, JobState::Signed, "{:?}", job.progress);
    let Some(CameTo::Signature(of)) = job.progress.came_to else { panic!("{:?}", job.progress) };
    service.store.signature(of).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_raw_file_is_signed_beside_it_once_for_whoever_asks() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let first = service.submit(service.wish("a", file)).await;
    let record = signature(&service, first).await;
    let tbs = Tbs::Message(file.0.as_bytes().to_vec());
    let value = firmseal_manifest::Signature(record.value.clone());
    verify(firmseal_keys::Signer::public_key(&*bench.hsm), &tbs, &value).unwrap();
    assert_eq!((record.tbs, record.signed, record.attempts), (tbs.fingerprint(), None, 1));
    assert_eq!(record.log_index, bench.hsm.asked.lock().unwrap()[0]);

    // The same request, and the same bytes for somebody else.
    assert_eq!(service.submit(service.wish("a", file)).await, first);
    let mut other = service.wish("b", file);
    other.caller.name = "dora".to_owned();
    let twin = service.submit(other).await;
    assert_ne!(twin, first);
    assert_eq!(signature(&service, twin).await, record);
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 1, "the key was used once");
    let intent = service.log().await[record.log_index as usize].intent().unwrap().clone();
    assert_eq!((intent.purpose, intent.subject), (Purpose::Artifact, record.tbs));
    assert_eq!(intent.context, [record.header, Intent::mark(&first)]);
    assert_eq!(service.events().await, []);
    service.stop().await;
}

#[tokio::test]
async fn many_who_ask_for_the_same_bytes_at_once_get_one_signature() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(service.submit(service.wish(&number.to_string(), file)).await);
    }
    let first = signature(&service, ids[0]).await;
    for id in ids {
        assert_eq!(signature(&service, id).await, first);
    }
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_format_with_a_place_for_it_gets_the_signature_in_the_file() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "mcuboot").await;
    let file = service.upload(&firmware(9000, 3)).await;
    let mut wish = service.wish("a", file);
    wish.parameters = [("header-size", "0x200"), ("slot-size", "0x10000"), ("pad-header", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let id = service.submit(wish).await;
    let record = signature(&service, id).await;
    let signed = record.signed.unwrap();
    let size = service.store.artifact(&signed).await.unwrap().size;
    let bytes = service.store.read_all(&signed.0, size).await.unwrap().to_vec();
    let inspection = firmseal_formats::inspect(&bytes).unwrap();
    assert_eq!(inspection.digest(), record.header);
    assert_eq!(inspection.signatures[0].signature.0, record.value);
    assert_eq!(record.format, "mcuboot");
    service.stop().await;
}

#[tokio::test]
async fn trouble_with_the_key_keeps_jobs_and_every_attempt_is_told() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    bench.hsm.plan(&[Fault::Away, Fault::Wrong, Fault::Hang, Fault::Denied, Fault::Lost]);
    let id = service.submit(service.wish("a", file)).await;
    let record = signature(&service, id).await;
    let asked = bench.hsm.asked.lock().unwrap().clone();
    assert_eq!((record.attempts, asked.len()), (6, 6));
    assert_eq!(record.log_index, asked[5]);
    let attempt = |index: usize, outcome| Event::Attempt { request: id, intent: asked[index], outcome };
    let expected = [
        attempt(0, Outcome::Unknown),
        attempt(1, Outcome::Failed),
        attempt(2, Outcome::Unknown),
        attempt(3, Outcome::Failed),
        attempt(4, Outcome::Unknown),
    ];
    assert_eq!(service.events().await, expected);
    let states = service.dispatcher.states();
    assert!(states.iter().all(|(_, state)| *state == BreakerState::Closed), "{states:?}");
    service.stop().await;
}

#[tokio::test]
async fn requests_outlive_a_key_that_is_gone_and_comes_back() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    *bench.hsm.mood.lock().unwrap() = Some(Box::new(|| Some(Fault::Gone)));
    let mut ids = Vec::new();
    for number in 0..3 {
        let file = service.upload(format!("firmware {number}").as_bytes()).await;
        ids.push(service.submit(service.wish(&number.to_string(), file)).await);
    }
    // Asked again by itself, and once for all that wait.
    while bench.hsm.asked.lock().unwrap().len() < 2 || service.dispatcher.running() > 0 {
        tokio::task::yield_now().await;
    }
    let states = service.dispatcher.states();
    assert!(states.iter().any(|(key, state)| key == "own" && *state != BreakerState::Closed), "{states:?}");
    let mut told = 0;
    for id in &ids {
        let job = service.store.job(*id).await.unwrap().unwrap();
        assert_eq!(job.progress.state, JobState::Queued, "{:?}", job.progress);
        told +=
            job.progress.reasons.iter().filter(|reason| reason.why.contains("not there as it was")).count();
    }
    assert!(told > 0, "whoever waits hears why");
    *bench.hsm.mood.lock().unwrap() = None;
    for id in &ids {
        signature(&service, *id).await;
    }
    let asked = bench.hsm.asked.lock().unwrap().len();
    let events = service.events().await;
    assert_eq!(events.len(), asked - ids.len());
    let failed = |event: &Event| matches!(event, Event::Attempt { outcome: Outcome::Failed, .. });
    assert!(events.iter().all(failed), "nothing was signed, and that is known: {events:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_claim_whose_end_the_store_did_not_take_is_not_held_on() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let (hsm, mut until) = (bench.hsm.clone(), None);
    *bench.store.lock().unwrap() = Box::new(move || {
        if until.is_none() && !hsm.asked.lock().unwrap().is_empty() {
            until = Some(Instant::now() + Duration::from_millis(300));
        }
        until.is_some_and(|until| Instant::now() < until).then_some(StoreFault::Damaged)
    });
    let id = service.submit(service.wish("a", file)).await;
    // Nothing but the length of a claim would end it otherwise.
    let record = tokio::time::timeout(Duration::from_secs(60), signature(&service, id)).await.unwrap();
    let asked = bench.hsm.asked.lock().unwrap().clone();
    assert_eq!((record.attempts, record.log_index, asked.len()), (2, asked[1], 2));
    let lost = Event::Attempt { request: id, intent: asked[0], outcome: Outcome::Unknown };
    assert_eq!(service.events().await, [lost]);
    service.stop().await;
}

/// Waits until the key is out for good and nobody is at it.
async fn out(service: &Service) {
    let is_out = |states: Vec<(String, BreakerState)>| {
        states.iter().any(|(name, state)| name == "own" && *state == BreakerState::Out)
    };
    while !is_out(service.dispatcher.states()) || service.dispatcher.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_nothing_is_lost() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    bench.hsm.plan(&[Fault::Pin]);
    let id = service.submit(service.wish("a", file)).await;
    out(&service).await;
    let other = service.upload(b"another firmware").await;
    let second = service.submit(service.wish("b", other)).await;
    service.dispatcher.wake();
    service.stop().await;
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), 1);
    // Somebody has seen to it.
    let service = bench.start().await;
    assert_eq!(signature(&service, id).await.attempts, 2);
    assert_eq!(signature(&service, second).await.attempts, 1);
    service.stop().await;
}

#[tokio::test]
async fn of_many_requests_none_comes_back_to_a_key_that_refused_its_pin() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    *bench.hsm.mood.lock().unwrap() = Some(Box::new(|| Some(Fault::Pin)));
    for number in 0..40 {
        let file = service.upload(format!("firmware {number}").as_bytes()).await;
        service.submit(service.wish(&number.to_string(), file)).await;
    }
    out(&service).await;
    let mut tried = Vec::new();
    for event in service.events().await {
        let Event::Attempt { request, outcome: Outcome::Failed, .. } = event else { panic!("{event:?}") };
        assert!(!tried.contains(&request), "{request} was tried again");
        tried.push(request);
    }
    assert_eq!(tried.len(), bench.hsm.asked.lock().unwrap().len());
    service.stop().await;
}

#[tokio::test]
async fn a_fault_of_our_own_takes_no_room_from_others() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    // As many as the key has room for, one after the other.
    bench.hsm.plan(&[Fault::Panic; 16]);
    let mut ids = Vec::new();
    for number in 0..17 {
        let file = service.upload(format!("firmware {number}").as_bytes()).await;
        ids.push(service.submit(service.wish(&number.to_string(), file)).await);
    }
    let last = loop {
        let mut signed = None;
        for id in &ids {
            let job = service.store.job(*id).await.unwrap().unwrap();
            signed = signed.or((job.progress.state == JobState::Signed).then_some(*id));
        }
        match signed {
            Some(id) => break id,
            None => tokio::task::yield_now().await,
        }
    };
    // The others wait, and say why; what they did is told by who comes next.
    loop {
        let mut waiting = 0;
        for id in ids.iter().filter(|id| **id != last) {
            let job = service.store.job(*id).await.unwrap().unwrap();
            assert_eq!(job.progress.state, JobState::Queued);
            waiting += job.progress.reasons.iter().filter(|reason| reason.rule == "service").count();
        }
        if waiting == 16 {
            break;
        }
        tokio::task::yield_now().await;
    }
    for id in ids.iter().filter(|id| **id != last) {
        service.store.cancel_job(*id, now()).await.unwrap();
    }
    let told = told_of(&service, 16).await;
    let asked = bench.hsm.asked.lock().unwrap().clone();
    let own = service.store.signature(last).await.unwrap().unwrap().log_index;
    // They run side by side, and may reach the key in another order than the log.
    let mut expected: Vec<u64> = asked.into_iter().filter(|index| *index != own).collect();
    expected.sort_unstable();
    assert_eq!(told, expected, "every use of the key but the one that signed");
    service.stop().await;
}

/// Entries whose outcome is told as unknown, once there are so many.
async fn told_of(service: &Service, many: usize) -> Vec<u64> {
    loop {
        let unknown = |event| match event {
            Event::Attempt { intent, outcome: Outcome::Unknown, .. } => Some(intent),
            _ => None,
        };
        let mut told: Vec<u64> = service.events().await.into_iter().filter_map(unknown).collect();
        if told.len() >= many {
            told.sort_unstable();
            return told;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_key_refuses_is_refused() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    bench.hsm.plan(&[Fault::Refuse]);
    let id = service.submit(service.wish("a", file)).await;
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].rule.as_str()), (JobState::Refused, "key"));
    let intent = bench.hsm.asked.lock().unwrap()[0];
    let events = service.events().await;
    assert_eq!(events[0], Event::Attempt { request: id, intent, outcome: Outcome::Failed });
    assert!(matches!(events[1], Event::Decided { ruling: Ruling::Refused, .. }), "{events:?}");
    service.stop().await;
}

#[tokio::test]
async fn what_a_crash_left_unseen_is_told_and_signed_under_a_new_entry() {
    let bench = Bench::new();
    let (id, index) = cut_behind_the_log(&bench).await;
    // Whoever starts next finds it.
    let service = bench.start().await;
    let record = signature(&service, id).await;
    assert!(record.log_index > index);
    assert_eq!(record.attempts, 2);
    let unknown = Event::Attempt { request: id, intent: index, outcome: Outcome::Unknown };
    assert_eq!(service.events().await, [unknown]);
    service.stop().await;
}

#[tokio::test]
async fn what_a_crash_left_unseen_is_told_of_jobs_that_end_without_another_claim() {
    for too_late in [false, true] {
        let bench = Bench::new();
        let (id, index) = cut_behind_the_log(&bench).await;
        // No key is there when the service comes back.
        *bench.hsm.mood.lock().unwrap() = Some(Box::new(|| Some(Fault::Away)));
        let service = bench.stopped().await;
        match too_late {
            false => service.0.cancel_job(id, now()).await.unwrap(),
            true => {
                let much_later = now().plus(Duration::from_secs(3600));
                assert_eq!(service.0.expire_jobs(much_later, 9).await.unwrap()[0].id, id);
            }
        }
        drop(service);
        let service = bench.start().await;
        assert_eq!(told_of(&service, 1).await, [index]);
        assert_eq!(service.store.job(id).await.unwrap().unwrap().progress.failures, 1);
        assert_eq!(service.store.unaccounted_jobs(now(), 9).await.unwrap(), []);
        service.stop().await;
        assert_eq!(bench.hsm.asked.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn what_a_crash_left_unseen_is_told_of_jobs_that_are_refused_now() {
    let bench = Bench::new();
    let (id, index) = cut_behind_the_log(&bench).await;
    let (store, _) = bench.stopped().await;
    // Devices have gone on meanwhile: the gate does not let it through.
    let mut release = firmseal_store::conformance::samples::release(&store, "camera", "9.0.0", 9).await;
    (release.product, release.epoch) = ("gateway".parse().unwrap(), 3);
    store.insert_release(release).await.unwrap();
    drop(store);
    let service = bench.start().await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Refused);
    assert_eq!(told_of(&service, 1).await, [index]);
    service.stop().await;
}

#[tokio::test]
async fn a_team_hands_in_so_many_and_no_more() {
    let bench = Bench { bounds: Bounds { open: 2, ..Bounds::default() }, ..Bench::new() };
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    *bench.hsm.mood.lock().unwrap() = Some(Box::new(|| Some(Fault::Pin)));
    let file = service.upload(b"some firmware").await;
    for key in ["a", "b"] {
        service.submit(service.wish(key, file)).await;
    }
    let third = service.pipeline.artifact_job(service.wish("c", file), now()).await.unwrap();
    assert_eq!(service.dispatcher.submit(third.clone()).await.unwrap(), Inserted::TooMany { open: 2 });
    assert_eq!(service.store.job(third.id).await.unwrap(), None);
    let mut other = service.wish("d", file);
    other.caller.team = Some("blue".to_owned());
    service.submit(other).await;
    service.stop().await;
}

/// Does what a service does up to the log, and is gone.
async fn cut_behind_the_log(bench: &Bench) -> (RequestId, u64) {
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let wish = service.wish("a", file);
    let job = service.pipeline.artifact_job(wish, now()).await.unwrap();
    let (store, pipeline) = (service.store.clone(), service.pipeline.clone());
    service.stop().await;
    store.insert_job(job.clone(), 9).await.unwrap();
    let rooms = vec![Room { key: job.asked.signing_key.clone(), most: 1, after: None }];
    let log_size = store.intents().len();
    let claiming = Claiming { rooms, now: now(), lease: Duration::from_secs(60), log_size };
    assert_eq!(store.claim_jobs(claiming).await.unwrap().len(), 1);
    let key = firmseal_keys::Signer::public_key(&*bench.hsm).id();
    let intent = Intent {
        purpose: Purpose::Artifact,
        subject: Tbs::Message(file.0.as_bytes().to_vec()).fingerprint(),
        keys: vec![key],
        delegation: None,
        statements: vec![],
        requester: file.0,
        policy: pipeline.rules(),
        context: vec![Intent::mark(&job.id)],
    };
    let logged = Logged::append(store.intents(), intent).await.unwrap();
    (job.id, logged.index())
}

#[tokio::test]
async fn a_caller_reaches_what_its_credential_is_for() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let refused = async |change: fn(&mut firmseal_sign::ArtifactWish)| {
        let mut wish = service.wish("a", file);
        change(&mut wish);
        service.pipeline.artifact_job(wish, now()).await.unwrap_err()
    };
    let scope = |error| assert!(matches!(error, PipelineError::OutOfScope(_)), "{error}");
    scope(refused(|wish| wish.caller.scope.products = ["camera".parse().unwrap()].into()).await);
    scope(refused(|wish| wish.caller.scope.channels = ["beta".parse().unwrap()].into()).await);
    scope(refused(|wish| wish.caller.scope.keys = ["other".to_owned()].into()).await);
    let other = refused(|wish| wish.signing_key = Some("other".to_owned())).await;
    assert!(matches!(other, PipelineError::NoSuchKey(_)), "{other}");
    service.stop().await;
}
