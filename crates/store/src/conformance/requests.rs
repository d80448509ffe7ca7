//! Signing requests: carried out once.

use std::time::Duration;

use firmseal_manifest::RequestId;
use futures_util::future::join_all;

use super::{Engine, conflict, not_found, samples};
use crate::{Begin, Claim, Finished, NewRequest};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_result_is_stored_once(engine).await;
    of_many_at_once_one_is_fresh(engine).await;
    leases_run_out_and_fence(engine).await;
    a_release_comes_with_its_result(engine).await;
}

fn claim(begin: Begin) -> Claim {
    match begin {
        Begin::Fresh(claim) => claim,
        other => panic!("expected a claim, got {other:?}"),
    }
}

async fn a_result_is_stored_once(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let asked = samples::request("ci/1", samples::digest());
    let id = asked.id;
    let again = NewRequest { id: RequestId::new(), ..asked.clone() };
    let other = NewRequest { id: RequestId::new(), fingerprint: samples::digest(), ..asked.clone() };
    not_found(store.result(id).await);
    let claim = claim(store.begin(asked.clone()).await.unwrap());
    assert_eq!(claim, Claim { request: id, attempt: 1 });
    assert_eq!(store.result(id).await.unwrap(), None);
    let until = samples::later(60);
    assert_eq!(store.begin(again.clone()).await.unwrap(), Begin::InFlight { request: id, until });
    assert_eq!(store.begin(other.clone()).await.unwrap(), Begin::Conflict { request: id });
    store.finish(&claim, b"signed".to_vec(), None).await.unwrap();
    store.finish(&claim, b"signed".to_vec(), None).await.unwrap();
    conflict(store.finish(&claim, b"otherwise".to_vec(), None).await);
    store.abandon(&claim).await.unwrap();
    store = engine.reopen(store).await;
    let finished = Finished { request: id, result: b"signed".to_vec() };
    assert_eq!(store.begin(again).await.unwrap(), Begin::Stored(finished.clone()));
    assert_eq!(store.begin(other).await.unwrap(), Begin::Conflict { request: id });
    assert_eq!(store.result(id).await.unwrap(), Some(finished));
}

async fn of_many_at_once_one_is_fresh(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let fingerprint = samples::digest();
    let begun = join_all((0..50).map(|_| store.begin(samples::request("ci/1", fingerprint)))).await;
    let fresh = begun.iter().filter(|begin| matches!(begin, Ok(Begin::Fresh(_)))).count();
    let waiting = begun.iter().filter(|begin| matches!(begin, Ok(Begin::InFlight { .. }))).count();
    assert_eq!((fresh, waiting), (1, 49), "{begun:?}");
}

async fn leases_run_out_and_fence(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let asked = samples::request("ci/1", samples::digest());
    let first = claim(store.begin(asked.clone()).await.unwrap());
    let late = NewRequest { now: asked.now.plus(Duration::from_secs(60)), ..asked.clone() };
    let second = claim(store.begin(late).await.unwrap());
    assert_eq!(second, Claim { request: first.request, attempt: 2 });
    conflict(store.finish(&first, b"late".to_vec(), None).await);
    store.abandon(&first).await.unwrap();
    store.finish(&second, b"signed".to_vec(), None).await.unwrap();

    // Given back, it is free at once, and whoever gave it back is out.
    let asked = samples::request("ci/2", samples::digest());
    let first = claim(store.begin(asked.clone()).await.unwrap());
    store.abandon(&first).await.unwrap();
    conflict(store.finish(&first, b"late".to_vec(), None).await);
    let second = claim(store.begin(asked.clone()).await.unwrap());
    assert_eq!(second.attempt, 2);
    // A lease that merely ran out, with nobody else at it, still counts.
    store.finish(&second, b"slow".to_vec(), None).await.unwrap();
}

async fn a_release_comes_with_its_result(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let asked = samples::request("ci/1", samples::digest());
    let claim = claim(store.begin(asked).await.unwrap());
    let mut release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    conflict(store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await);
    release.request = claim.request;
    let mut bad = release.clone();
    bad.envelope = samples::digest();
    not_found(store.finish(&claim, b"signed".to_vec(), Some(bad)).await);
    assert_eq!(store.result(claim.request).await.unwrap(), None, "neither the one nor the other");
    not_found(store.release(release.id).await);
    store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await.unwrap();
    store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await.unwrap();
    store = engine.reopen(store).await;
    assert_eq!(store.release_of_request(claim.request).await.unwrap(), Some(release));
    assert!(store.result(claim.request).await.unwrap().is_some());
}
