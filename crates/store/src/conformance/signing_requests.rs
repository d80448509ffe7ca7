//! Signing requests: closed once, approved only while they wait.

use firmseal_fleet::{RequestState, SigningRequest};
use firmseal_manifest::RequestId;
use futures_util::future::join;

use super::{Engine, conflict, not_found, samples};
use crate::{Page, Store};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_inserted_is_read(engine).await;
    a_request_is_closed_once(engine).await;
    a_holder_has_one_approval(engine).await;
    an_approval_finds_it_waiting_or_not(engine).await;
}

async fn request(store: &dyn Store) -> SigningRequest {
    store.insert_product(samples::product("approved"), &samples::admin()).await.unwrap();
    let request = samples::signing_request("approved");
    store.insert_signing_request(request.clone()).await.unwrap();
    request
}

async fn what_is_inserted_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    assert_eq!(store.signing_request(RequestId::new()).await.unwrap(), None);
    let first = request(&*store).await;
    let second = request(&*store).await;
    store.insert_signing_request(first.clone()).await.unwrap();
    conflict(store.insert_signing_request(SigningRequest { epoch: 3, ..first.clone() }).await);
    store = engine.reopen(store).await;
    assert_eq!(store.signing_request(first.id).await.unwrap(), Some(first.clone()));
    let list = |page| store.signing_requests(None, page);
    assert_eq!(list(Page::first(9)).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(list(Page::after(second.id, 9)).await.unwrap(), [first]);
    assert_eq!(list(Page::first(1)).await.unwrap(), [second]);
}

async fn a_request_is_closed_once(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let request = request(&*store).await;
    not_found(store.close_signing_request(RequestId::new(), RequestState::Signed).await);
    for _ in 0..2 {
        store.close_signing_request(request.id, RequestState::Cancelled).await.unwrap();
    }
    conflict(store.close_signing_request(request.id, RequestState::Signed).await);
    conflict(store.insert_approval(request.id, samples::approval("ann", "ann")).await);
    conflict(store.remove_approvals(request.id, "ann").await);
    let waiting = store.signing_requests(Some(RequestState::Waiting), Page::first(9)).await.unwrap();
    assert_eq!(waiting, []);
    let closed = store.signing_requests(Some(RequestState::Cancelled), Page::first(9)).await.unwrap();
    assert_eq!(closed, [SigningRequest { state: RequestState::Cancelled, ..request }]);
}

async fn a_holder_has_one_approval(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let request = request(&*store).await.id;
    not_found(store.insert_approval(RequestId::new(), samples::approval("ann", "ann")).await);
    let (ben, ann) = (samples::approval("ben", "clerk"), samples::approval("ann", "clerk"));
    for approval in [&samples::approval("ann", "ann"), &ben, &ann] {
        store.insert_approval(request, approval.clone()).await.unwrap();
    }
    store = engine.reopen(store).await;
    assert_eq!(store.approvals(request).await.unwrap(), [ann.clone(), ben]);
    store.insert_approval(request, samples::approval("cleo", "cleo")).await.unwrap();
    assert_eq!(store.remove_approvals(request, "clerk").await.unwrap(), 2);
    assert_eq!(store.remove_approvals(request, "clerk").await.unwrap(), 0);
    assert_eq!(store.approvals(request).await.unwrap().len(), 1);
}

async fn an_approval_finds_it_waiting_or_not(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for _ in 0..20 {
        let request = request(&*store).await.id;
        let (approved, closed) = join(
            store.insert_approval(request, samples::approval("ann", "ann")),
            store.close_signing_request(request, RequestState::Expired),
        )
        .await;
        closed.unwrap();
        assert_eq!(store.approvals(request).await.unwrap().len(), usize::from(approved.is_ok()));
    }
}
