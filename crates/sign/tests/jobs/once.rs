//! One request, one signature: through retries, lost answers and crashes.

use std::time::Duration;

use firmseal_fleet::{CameTo, JobState, Signature};
use firmseal_keys::{Logged, verify};
use firmseal_manifest::{Event, Intent, Outcome, Purpose, RequestId, Ruling, Tbs};
use firmseal_sign::{BreakerState, PipelineError};
use firmseal_store::{Blobs, Claiming, Jobs, Registry, Room};
use firmseal_testkit::world::firmware;

use crate::bench::{Bench, Fault, Service, now};

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
    assert_eq!(intent.context, [record.header]);
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
    bench.hsm.plan(&[Fault::Away, Fault::Wrong, Fault::Hang, Fault::Lost]);
    let id = service.submit(service.wish("a", file)).await;
    let record = signature(&service, id).await;
    let asked = bench.hsm.asked.lock().unwrap().clone();
    assert_eq!((record.attempts, asked.len()), (5, 5));
    assert_eq!(record.log_index, asked[4]);
    let attempt = |index: usize, outcome| Event::Attempt { request: id, intent: asked[index], outcome };
    let expected = [
        attempt(0, Outcome::Unknown),
        attempt(1, Outcome::Failed),
        attempt(2, Outcome::Unknown),
        attempt(3, Outcome::Unknown),
    ];
    assert_eq!(service.events().await, expected);
    let states = service.dispatcher.states();
    assert!(states.iter().all(|(_, state)| *state == BreakerState::Closed), "{states:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_nothing_is_lost() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    bench.hsm.plan(&[Fault::Pin]);
    let id = service.submit(service.wish("a", file)).await;
    let other = service.upload(b"another firmware").await;
    let second = service.submit(service.wish("b", other)).await;
    loop {
        let states = service.dispatcher.states();
        if states.iter().all(|(_, state)| *state == BreakerState::Out) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    service.stop().await;
    // Both may have been at it when it went; neither came back to it.
    let tries = bench.hsm.asked.lock().unwrap().len();
    assert!(tries <= 2, "{tries}");
    // Somebody has seen to it.
    let service = bench.start().await;
    assert_eq!(signature(&service, id).await.attempts, 2);
    signature(&service, second).await;
    service.stop().await;
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

/// Does what a service does up to the log, and is gone.
async fn cut_behind_the_log(bench: &Bench) -> (RequestId, u64) {
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let wish = service.wish("a", file);
    let job = service.pipeline.artifact_job(wish, now()).await.unwrap();
    let (store, pipeline) = (service.store.clone(), service.pipeline.clone());
    service.stop().await;
    store.insert_job(job.clone()).await.unwrap();
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
        context: vec![],
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
    assert!(matches!(other, PipelineError::NoArtifactKey { .. }), "{other}");
    service.stop().await;
}
