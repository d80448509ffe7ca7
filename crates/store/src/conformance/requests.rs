//! Signing requests: carried out once.

use std::time::Duration;

use firmseal_fleet::Release;
use firmseal_manifest::RequestId;
use futures_util::future::join_all;

use super::{Engine, conflict, not_found, refused, samples};
use crate::{Begin, Claim, Finished, NewRequest, Reservation, StoreError};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_result_is_stored_once(engine).await;
    of_many_at_once_one_is_fresh(engine).await;
    leases_run_out_and_fence(engine).await;
    a_release_comes_with_its_result(engine).await;
    one_at_a_time_reserves_a_product(engine).await;
    a_reservation_ends_with_its_claim(engine).await;
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

    // Who is alone with a request takes its claim over, and nobody else's.
    let asked = NewRequest { alone: true, ..samples::request("ci/3", samples::digest()) };
    let first = claim(store.begin(asked.clone()).await.unwrap());
    let stranger = NewRequest { id: RequestId::new(), ..asked.clone() };
    let in_flight = Begin::InFlight { request: asked.id, until: samples::later(60) };
    assert_eq!(store.begin(stranger).await.unwrap(), in_flight);
    let second = claim(store.begin(asked).await.unwrap());
    assert_eq!(second, Claim { request: first.request, attempt: 2 });
    conflict(store.finish(&first, b"late".to_vec(), None).await);
    store.finish(&second, b"signed".to_vec(), None).await.unwrap();
}

async fn a_release_comes_with_its_result(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let asked = samples::request("ci/1", samples::digest());
    let claim = claim(store.begin(asked).await.unwrap());
    let mut release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    conflict(store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await);
    release.request = claim.request;
    conflict(store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await);
    let other = Reservation { sequence: 2, ..samples::reservation(&release) };
    store.reserve(&claim, other, samples::NOW).await.unwrap();
    conflict(store.finish(&claim, b"signed".to_vec(), Some(release.clone())).await);
    store.reserve(&claim, samples::reservation(&release), samples::NOW).await.unwrap();
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

async fn one_at_a_time_reserves_a_product(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let first = samples::release(&*store, "gateway", "1.0.0", 5).await;
    let wanted = samples::reservation(&first);
    let mut claims = Vec::new();
    for number in 0..20 {
        let asked = samples::request(&format!("ci/{number}"), samples::digest());
        claims.push(claim(store.begin(asked).await.unwrap()));
    }
    // Every one has a claim of its own, and all name the same sequence.
    let outcomes =
        join_all(claims.iter().map(|claim| store.reserve(claim, wanted.clone(), samples::NOW))).await;
    let winner = outcomes.iter().position(Result::is_ok).unwrap();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        if number != winner {
            refused!(outcome, StoreError::Busy { .. });
        }
    }
    let loser = &claims[usize::from(winner == 0)];
    let above = Reservation { sequence: 6, version: "2.0.0".parse().unwrap(), ..wanted.clone() };
    refused!(store.reserve(loser, above.clone(), samples::NOW).await, StoreError::Busy { .. });
    // Another product is free, and the winner may ask again.
    let camera = Reservation { product: "camera".parse().unwrap(), ..wanted.clone() };
    store.insert_product(samples::product("camera"), &samples::admin()).await.unwrap();
    store.reserve(loser, camera, samples::NOW).await.unwrap();
    store.reserve(&claims[winner], wanted.clone(), samples::NOW).await.unwrap();
    let release = Release { request: claims[winner].request, ..first };
    store.finish(&claims[winner], b"signed".to_vec(), Some(release)).await.unwrap();
    conflict(store.reserve(loser, wanted.clone(), samples::NOW).await);
    let same_version = Reservation { sequence: 6, ..wanted };
    conflict(store.reserve(loser, same_version, samples::NOW).await);
    store.reserve(loser, above, samples::NOW).await.unwrap();
}

async fn a_reservation_ends_with_its_claim(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let release = samples::release(&*store, "gateway", "1.0.0", 5).await;
    let wanted = samples::reservation(&release);
    let begin = async |key: &str| {
        let asked = samples::request(key, samples::digest());
        (claim(store.begin(asked.clone()).await.unwrap()), asked)
    };
    let (one, asked) = begin("ci/1").await;
    let (two, _) = begin("ci/2").await;
    store.reserve(&one, wanted.clone(), samples::NOW).await.unwrap();
    store.abandon(&one).await.unwrap();
    conflict(store.reserve(&one, wanted.clone(), samples::NOW).await);
    store.reserve(&two, wanted.clone(), samples::NOW).await.unwrap();
    // Its lease runs out; the next one takes the product over, and what was
    // signed meanwhile is released by nobody.
    let late = NewRequest { now: samples::later(30), ..asked };
    let three = claim(store.begin(late).await.unwrap());
    refused!(store.reserve(&three, wanted.clone(), samples::later(59)).await, StoreError::Busy { .. });
    store.reserve(&three, wanted.clone(), samples::later(60)).await.unwrap();
    let slow = Release { request: two.request, ..release.clone() };
    conflict(store.finish(&two, b"signed".to_vec(), Some(slow)).await);
    let done = Release { request: three.request, ..release };
    store.finish(&three, b"signed".to_vec(), Some(done)).await.unwrap();
}
