//! The audit trail: in one order, nothing twice, nothing left out.

use bytes::Bytes;
use firmseal_fleet::audit::{AuditAction, AuditSubject, Circumstances, Outcome};
use firmseal_fleet::{AuditRecord, Priority, Reason, Time};
use firmseal_manifest::{ArtifactId, Denial, Digest, Event};

use super::{Engine, conflict, samples};
use crate::trust::{TrustDocument, TrustKind};
use crate::{AuditFilter, AuditPosition, Claiming, Ending, Happened, JobOutcome, Page, Room, Store};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_happened_is_recorded_once(engine).await;
    events_wait_for_the_log(engine).await;
    circumstances_are_kept_until_they_stand_on_record(engine).await;
    records_are_found(engine).await;
    receivers_are_told_in_order(engine).await;
    records_go_when_their_time_is_over(engine).await;
}

async fn revocation(store: &dyn Store, version: u64) {
    let document = TrustDocument {
        kind: TrustKind::Revocation,
        version,
        bytes: Bytes::from_static(b"document"),
        published_by: "alice".to_owned(),
        published: samples::NOW,
    };
    store.insert_trust_document(document).await.unwrap();
}

async fn enter_all(store: &dyn Store) {
    let waiting = store.waiting_events(1000).await.unwrap();
    let entered = waiting.iter().map(|waiting| (waiting.number, 100 + waiting.number)).collect();
    store.events_entered(entered).await.unwrap();
}

fn record(action: AuditAction, by: &str, time: Time) -> AuditRecord {
    AuditRecord {
        number: 0,
        time,
        action,
        outcome: Outcome::Success,
        caller: None,
        by: Some(by.to_owned()),
        reasons: Vec::new(),
        subject: AuditSubject { product: Some("gateway".parse().unwrap()), ..AuditSubject::default() },
    }
}

/// Puts records on the trail beside whatever happened.
async fn add(store: &dyn Store, records: Vec<AuditRecord>) {
    let at = store.unrecorded(1).await.unwrap().since;
    store.record(at, at, records).await.unwrap();
}

async fn numbers(store: &dyn Store, filter: AuditFilter) -> Vec<u64> {
    let found = store.audit_records(filter, Page::first(99)).await.unwrap();
    found.into_iter().map(|record| record.number).collect()
}

async fn what_happened_is_recorded_once(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let job = samples::job("team", "k", Priority::Release);
    store.insert_job(job.clone(), 9).await.unwrap();
    let rooms = vec![Room { key: "k".to_owned(), most: 1, after: None }];
    let lease = std::time::Duration::from_secs(60);
    let claiming = Claiming { rooms, now: samples::NOW, lease, log_size: 7 };
    let claimed = store.claim_jobs(claiming).await.unwrap().remove(0);
    let signature = samples::signature(&job);
    let ending = Ending {
        outcome: JobOutcome::Signed(Box::new(signature.clone())),
        reasons: Vec::new(),
        decision: None,
        accounted: true,
        failures: 0,
        events: Vec::new(),
    };
    store.end_claim(&claimed.claim, ending).await.unwrap();
    revocation(&*store, 1).await;
    enter_all(&*store).await;

    let found = store.unrecorded(99).await.unwrap();
    let asked = Some(Box::new(job.asked.clone()));
    assert_eq!(found.happened[0], Happened::Signature { signature: Box::new(signature), asked });
    let Some(Happened::Event { event: Event::Revocation { version: 1, .. }, log_index, circumstances: None }) =
        found.happened.last()
    else {
        panic!("{found:?}")
    };
    assert!(*log_index > 100);
    let records = vec![
        record(AuditAction::ArtifactSigned, "ci", samples::NOW),
        record(AuditAction::TrustPublished, "alice", samples::NOW),
    ];
    store.record(found.since, found.until, records.clone()).await.unwrap();
    // Whoever read the same and comes later has lost.
    conflict(store.record(found.since, found.until, records).await);
    for _ in 0..2 {
        let rest = store.unrecorded(99).await.unwrap();
        assert_eq!((rest.since, rest.until, rest.happened), (found.until, found.until, Vec::new()));
        assert_eq!(numbers(&*store, AuditFilter::default()).await, [2, 1]);
        store = engine.reopen(store).await;
    }
}

async fn events_wait_for_the_log(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for version in 1..=3 {
        revocation(&*store, version).await;
    }
    let waiting = store.waiting_events(9).await.unwrap();
    // The second is entered before the first: it has to wait for it.
    store.events_entered(vec![(waiting[1].number, 5)]).await.unwrap();
    let found = store.unrecorded(9).await.unwrap();
    assert_eq!((found.until, found.happened.len()), (AuditPosition::default(), 0));
    store.events_entered(vec![(waiting[0].number, 6)]).await.unwrap();
    assert_eq!(store.unrecorded(9).await.unwrap().happened.len(), 2);
    assert_eq!(store.unrecorded(1).await.unwrap().happened.len(), 1, "no more than asked for");
}

async fn circumstances_are_kept_until_they_stand_on_record(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let product = store.product(&"gateway".parse().unwrap()).await.unwrap();
    let denied = Event::Denied { why: Denial::Role, caller: None, count: 3, since: 1, until: 2 };
    let why = vec![Reason::new("role", "officer is missing")];
    let noted = Circumstances { time: samples::later(9), caller: None, product: None, reasons: why };
    store.note(denied, Some(noted.clone())).await.unwrap();
    enter_all(&*store).await;
    store = engine.reopen(store).await;
    let found = store.unrecorded(99).await.unwrap();
    let told: Vec<_> = found
        .happened
        .iter()
        .map(|happened| match happened {
            Happened::Event { circumstances, .. } => circumstances.as_deref().cloned().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let (time, product) = (product.created, Some(product.id));
    let made = Circumstances { time, caller: Some(samples::admin()), product, reasons: Vec::new() };
    assert_eq!(told, [made, noted]);
    store.record(found.since, found.until, Vec::new()).await.unwrap();
    store = engine.reopen(store).await;
    let rest = store.unrecorded(99).await.unwrap();
    assert_eq!((rest.since, rest.happened), (found.until, Vec::new()));
}

async fn records_are_found(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let at = samples::later;
    add(
        &*store,
        vec![
            record(AuditAction::Approved, "ann", at(10)),
            record(AuditAction::KeyChanged, "ben", at(20)),
            record(AuditAction::Approved, "ben", at(30)),
        ],
    )
    .await;
    let any = AuditFilter::default;
    assert_eq!(numbers(&*store, any()).await, [3, 2, 1], "newest first");
    let by = AuditFilter { by: Some("ben".to_owned()), ..any() };
    assert_eq!(numbers(&*store, by).await, [3, 2]);
    let action = AuditFilter { action: Some(AuditAction::Approved), ..any() };
    assert_eq!(numbers(&*store, action).await, [3, 1]);
    let period = AuditFilter { from: Some(at(10)), before: Some(at(30)), ..any() };
    assert_eq!(numbers(&*store, period).await, [2, 1], "from and until a time that is not in it");
    let product = AuditFilter { product: Some("meter".parse().unwrap()), ..any() };
    assert_eq!(numbers(&*store, product).await, [0; 0]);
    let (build, commit) = (Some("build-17".to_owned()), Some("c0ffee".to_owned()));
    let [manifest, handed_in, signed] = [1, 2, 3].map(|byte| ArtifactId(Digest([byte; 32])));
    let mut made = record(AuditAction::ReleaseSigned, "ci", at(40));
    made.subject = AuditSubject {
        digest: Some(manifest),
        artifacts: vec![handed_in, signed],
        build: build.clone(),
        commit: commit.clone(),
        ..made.subject
    };
    add(&*store, vec![made.clone(), record(AuditAction::Approved, "ann", at(50)), made]).await;
    for artifact in [manifest, handed_in, signed] {
        let about = AuditFilter { artifact: Some(artifact), ..any() };
        assert_eq!(numbers(&*store, about).await, [6, 4], "by any file of it, and by its manifest");
    }
    let other = AuditFilter { artifact: Some(ArtifactId(Digest([4; 32]))), ..any() };
    assert_eq!(numbers(&*store, other).await, [0; 0]);
    assert_eq!(numbers(&*store, AuditFilter { build: build.clone(), ..any() }).await, [6, 4]);
    assert_eq!(numbers(&*store, AuditFilter { commit: commit.clone(), ..any() }).await, [6, 4]);
    let all = AuditFilter {
        artifact: Some(signed),
        build,
        commit,
        by: Some("ci".to_owned()),
        action: Some(AuditAction::ReleaseSigned),
        before: Some(at(41)),
        ..any()
    };
    let page = store.audit_records(all, Page::after(6, 9)).await.unwrap();
    assert_eq!(page.iter().map(|record| record.number).collect::<Vec<_>>(), [4]);
    let page = store.audit_records(any(), Page::after(3, 1)).await.unwrap();
    assert_eq!((page.len(), page[0].number), (1, 2));
}

async fn receivers_are_told_in_order(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let three = vec![record(AuditAction::Approved, "ann", samples::NOW); 3];
    add(&*store, three.clone()).await;
    assert_eq!(store.told("siem").await.unwrap(), 3, "nobody is told the past");
    add(&*store, three).await;
    let rest = store.records_after(3, 2).await.unwrap();
    assert_eq!(rest.iter().map(|record| record.number).collect::<Vec<_>>(), [4, 5]);
    store.set_told("siem", 5).await.unwrap();
    store.set_told("siem", 4).await.unwrap();
    store = engine.reopen(store).await;
    assert_eq!(store.told("siem").await.unwrap(), 5, "it never goes back");
    assert_eq!(store.told("officers").await.unwrap(), 6);
}

async fn records_go_when_their_time_is_over(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let file = ArtifactId(Digest([1; 32]));
    let at = |seconds| {
        let mut of_file = record(AuditAction::ArtifactSigned, "ann", samples::later(seconds));
        of_file.subject.digest = Some(file);
        of_file
    };
    add(&*store, vec![at(1), at(2), at(3)]).await;
    assert_eq!(store.forget_records(samples::later(3), 1).await.unwrap(), 1, "a few at a time");
    assert_eq!(numbers(&*store, AuditFilter::default()).await, [3, 2]);
    assert_eq!(store.forget_records(samples::later(3), 99).await.unwrap(), 1);
    add(&*store, vec![at(4)]).await;
    assert_eq!(numbers(&*store, AuditFilter::default()).await, [4, 3], "numbers are not given out again");
}
