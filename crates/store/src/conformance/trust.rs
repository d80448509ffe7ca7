//! Trust documents: numbered once, never changed.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Engine, conflict, samples};
use crate::trust::{DOCUMENT_MAX, TrustDocument, TrustKind};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_inserted_is_read(engine).await;
    a_document_is_never_changed(engine).await;
    numbers_rise(engine).await;
    of_many_at_once_one_wins(engine).await;
}

fn document(kind: TrustKind, version: u64, text: &str) -> TrustDocument {
    TrustDocument {
        kind,
        version,
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        published_by: "alice".to_owned(),
        published: samples::NOW,
    }
}

async fn what_is_inserted_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    for kind in [TrustKind::Root, TrustKind::Revocation] {
        assert_eq!(store.newest_trust_document(kind).await.unwrap(), None);
        assert_eq!(store.trust_document(kind, 1).await.unwrap(), None);
        assert_eq!(store.trust_documents(kind).await.unwrap(), []);
    }
    let roots = [document(TrustKind::Root, 1, "one"), document(TrustKind::Root, 2, "two")];
    // The two kinds count for themselves, and revocations may skip.
    let revocation = document(TrustKind::Revocation, 5, "one");
    for document in roots.iter().chain([&revocation]) {
        store.insert_trust_document(document.clone()).await.unwrap();
    }
    store = engine.reopen(store).await;
    assert_eq!(store.trust_documents(TrustKind::Root).await.unwrap(), roots);
    assert_eq!(store.newest_trust_document(TrustKind::Root).await.unwrap(), Some(roots[1].clone()));
    assert_eq!(store.trust_document(TrustKind::Root, 1).await.unwrap(), Some(roots[0].clone()));
    assert_eq!(store.trust_document(TrustKind::Root, 5).await.unwrap(), None);
    assert_eq!(store.trust_documents(TrustKind::Revocation).await.unwrap(), [revocation]);
}

async fn a_document_is_never_changed(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let first = document(TrustKind::Root, 1, "one");
    store.insert_trust_document(first.clone()).await.unwrap();
    store.insert_trust_document(document(TrustKind::Root, 2, "two")).await.unwrap();
    for _ in 0..2 {
        conflict(store.insert_trust_document(document(TrustKind::Root, 1, "another one")).await);
        let again = TrustDocument { published_by: "mallory".to_owned(), ..first.clone() };
        store.insert_trust_document(again).await.unwrap();
        assert_eq!(store.trust_document(TrustKind::Root, 1).await.unwrap(), Some(first.clone()));
        store = engine.reopen(store).await;
    }
}

async fn numbers_rise(engine: &dyn Engine) {
    let store = engine.fresh().await;
    for kind in [TrustKind::Root, TrustKind::Revocation] {
        conflict(store.insert_trust_document(document(kind, 0, "zero")).await);
    }
    conflict(store.insert_trust_document(document(TrustKind::Root, 2, "no first")).await);
    store.insert_trust_document(document(TrustKind::Root, 1, "one")).await.unwrap();
    conflict(store.insert_trust_document(document(TrustKind::Root, 3, "a gap")).await);
    store.insert_trust_document(document(TrustKind::Revocation, 7, "seven")).await.unwrap();
    conflict(store.insert_trust_document(document(TrustKind::Revocation, 6, "back")).await);
    let long = "x".repeat(DOCUMENT_MAX + 1);
    conflict(store.insert_trust_document(document(TrustKind::Revocation, 8, &long)).await);
    assert_eq!(store.trust_documents(TrustKind::Root).await.unwrap().len(), 1);
    assert_eq!(store.trust_documents(TrustKind::Revocation).await.unwrap().len(), 1);
    // What an engine cannot order it refuses; it never wraps around.
    if store.insert_trust_document(document(TrustKind::Revocation, u64::MAX, "last")).await.is_ok() {
        conflict(store.insert_trust_document(document(TrustKind::Revocation, 8, "eight")).await);
    } else {
        store.insert_trust_document(document(TrustKind::Revocation, 8, "eight")).await.unwrap();
    }
}

async fn of_many_at_once_one_wins(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let rivals: Vec<_> = (0..20).map(|n| document(TrustKind::Root, 1, &format!("rival {n}"))).collect();
    let outcomes = join_all(rivals.iter().map(|rival| store.insert_trust_document(rival.clone()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}
