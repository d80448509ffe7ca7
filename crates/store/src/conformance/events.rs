//! Events: one for each thing that happened, and none for what did not.

use bytes::Bytes;
use firmseal_fleet::{ReleaseState, RequestState, RolloutState};
use firmseal_manifest::{End, Event, KeyId, Phase, RequestId, holder_id};

use super::{Engine, conflict, not_found, samples};
use crate::trust::{TrustDocument, TrustKind};
use crate::{Store, WaitingEvent};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    each_thing_happens_once(engine).await;
    they_wait_until_they_are_entered(engine).await;
}

async fn events(store: &dyn Store) -> Vec<Event> {
    store.waiting_events(1000).await.unwrap().into_iter().map(|waiting| waiting.event).collect()
}

async fn each_thing_happens_once(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    let product = store.product(&release.product).await.unwrap();
    let product = Event::Product { product: product.digest().unwrap(), by: holder_id("alice") };
    assert_eq!(events(&*store).await, [product], "artifacts and blobs are nobody's business");
    let request = samples::signing_request("gateway");
    let (id, manifest) = (request.id, request.manifest);
    let approval = samples::approval("ann", "desk");
    let key = KeyId(approval.key);
    let document = TrustDocument {
        kind: TrustKind::Root,
        version: 1,
        bytes: Bytes::from_static(b"abc"),
        published_by: "alice".to_owned(),
        published: samples::NOW,
    };
    let revocation = TrustDocument { kind: TrustKind::Revocation, version: 9, ..document.clone() };
    let rollout = samples::rollout(&release);
    // SHA-256 of "abc" (FIPS 180-4, example).
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let abc = firmseal_manifest::ids::parse_digest(abc).unwrap();
    for _ in 0..2 {
        // The second time none of this changes anything.
        store.insert_signing_request(request.clone()).await.unwrap();
        store.insert_approval(id, approval.clone()).await.unwrap();
        store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
        store.insert_release(release.clone()).await.unwrap();
        store.insert_trust_document(document.clone()).await.unwrap();
        store.insert_trust_document(revocation.clone()).await.unwrap();
        store.insert_rollout(rollout.clone()).await.unwrap();
        store = engine.reopen(store).await;
    }
    for _ in 0..2 {
        store.remove_approvals(id, "desk").await.unwrap();
    }
    for _ in 0..2 {
        store.close_signing_request(id, RequestState::Cancelled).await.unwrap();
        store.set_rollout_state(rollout.id, RolloutState::Halted).await.unwrap();
        store.set_release_state(release.id, ReleaseState::Withdrawn).await.unwrap();
    }
    store.set_release_state(release.id, ReleaseState::Revoked).await.unwrap();
    // What is refused did not happen.
    not_found(store.insert_approval(RequestId::new(), approval.clone()).await);
    conflict(store.insert_approval(id, approval).await);
    conflict(store.close_signing_request(id, RequestState::Signed).await);
    conflict(store.insert_trust_document(TrustDocument { version: 3, ..document }).await);
    conflict(store.set_release_state(release.id, ReleaseState::Verified).await);
    let (envelope, intent) = (release.envelope, release.log_index);
    let is_now = |phase| Event::Rollout { rollout: rollout.id, manifest: release.manifest, phase };
    let expected = [
        product,
        Event::Requested { request: id, manifest, requester: request.requester_id },
        Event::Approved { request: id, manifest, key },
        Event::Released { manifest: release.manifest, envelope, intent },
        Event::Root { version: 1, document: abc },
        Event::Revocation { version: 9, document: abc },
        is_now(Phase::Active),
        Event::Unapproved { request: id, key },
        Event::Closed { request: id, end: End::Cancelled },
        is_now(Phase::Halted),
        Event::Retired { manifest: release.manifest, revoked: false },
        Event::Retired { manifest: release.manifest, revoked: true },
    ];
    assert_eq!(events(&*store).await, expected);
}

async fn they_wait_until_they_are_entered(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let document = |version| TrustDocument {
        kind: TrustKind::Revocation,
        version,
        bytes: Bytes::from_static(b"document"),
        published_by: "alice".to_owned(),
        published: samples::NOW,
    };
    for version in 1..=5 {
        store.insert_trust_document(document(version)).await.unwrap();
    }
    let all = store.waiting_events(1000).await.unwrap();
    assert_eq!(store.waiting_events(2).await.unwrap(), all[..2], "the oldest first");
    let [first, second, ..] = &all[..] else { panic!("five events wait, not {}", all.len()) };
    store.events_entered(vec![(second.number, 70), (first.number, 71)]).await.unwrap();
    // Whoever enters them again has lost.
    store.events_entered(vec![(first.number, 99)]).await.unwrap();
    for _ in 0..2 {
        let rest: Vec<WaitingEvent> = store.waiting_events(1000).await.unwrap();
        assert_eq!(rest, all[2..]);
        store = engine.reopen(store).await;
    }
    // Numbers are not given out again.
    store.events_entered(all.iter().map(|waiting| (waiting.number, 1)).collect()).await.unwrap();
    store.insert_trust_document(document(6)).await.unwrap();
    let next = store.waiting_events(1000).await.unwrap();
    assert!(next.len() == 1 && next[0].number > all[4].number, "{next:?}");
}
