//! Uploads: every acknowledged byte counts, and no other.

use bytes::Bytes;
use firmseal_manifest::{Digest, UploadId};

use super::{Engine, conflict, not_found, refused, samples};
use crate::uploads::APPEND_MAX;
use crate::{NewUpload, StoreError};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    an_upload_survives_restarts(engine).await;
    offsets_are_exact(engine).await;
    wrong_bytes_end_it(engine).await;
    abandoned_ones_go(engine).await;
}

async fn announced(engine: &dyn Engine, bytes: &Bytes) -> NewUpload {
    NewUpload {
        id: UploadId::new(),
        size: bytes.len() as u64,
        digest: digest_of(engine, bytes).await,
        owner: "ci".to_owned(),
        expires: samples::later(60),
    }
}

async fn digest_of(engine: &dyn Engine, bytes: &Bytes) -> Digest {
    engine.fresh().await.put_bytes(bytes.clone()).await.unwrap()
}

async fn an_upload_survives_restarts(engine: &dyn Engine) {
    for bytes in [Bytes::from(vec![9; 150_001]), Bytes::new()] {
        let mut store = engine.fresh().await;
        let upload = announced(engine, &bytes).await;
        store.create(upload.clone()).await.unwrap();
        store.create(upload.clone()).await.unwrap();
        let mut offset = 0;
        while offset < bytes.len() {
            let end = bytes.len().min(offset + 60_000);
            let new = store.append(upload.id, offset as u64, bytes.slice(offset..end)).await.unwrap();
            assert_eq!(new, end as u64);
            offset = end;
            store = engine.reopen(store).await;
            assert_eq!(store.upload(upload.id).await.unwrap().offset, end as u64);
            assert_eq!(store.size(&upload.digest).await.unwrap(), None, "not a blob yet");
        }
        assert_eq!(store.complete(upload.id).await.unwrap(), upload.digest);
        store = engine.reopen(store).await;
        assert_eq!(store.read_all(&upload.digest, u64::MAX).await.unwrap(), bytes);
        not_found(store.upload(upload.id).await);
        not_found(store.complete(upload.id).await);
    }
}

async fn offsets_are_exact(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let bytes = Bytes::from(vec![1; 1000]);
    let upload = announced(engine, &bytes).await;
    not_found(store.append(upload.id, 0, bytes.clone()).await);
    store.create(upload.clone()).await.unwrap();
    conflict(store.create(NewUpload { size: 999, ..upload.clone() }).await);
    conflict(store.create(NewUpload { owner: "eve".to_owned(), ..upload.clone() }).await);
    store.append(upload.id, 0, bytes.slice(..400)).await.unwrap();
    for wrong in [0, 399, 401, 1000, u64::MAX] {
        let outcome = store.append(upload.id, wrong, bytes.slice(400..)).await;
        refused!(outcome, StoreError::OffsetMismatch { have: 400 });
    }
    let too_much = Bytes::from(vec![1; 601]);
    refused!(store.append(upload.id, 400, too_much).await, StoreError::SizeMismatch { .. });
    refused!(store.complete(upload.id).await, StoreError::OffsetMismatch { have: 400 });
    assert_eq!(store.append(upload.id, 400, Bytes::new()).await.unwrap(), 400);
    // Of two at once, one wins; the other is busy or told where to go on.
    let (one, two) = futures_util::future::join(
        store.append(upload.id, 400, bytes.slice(400..)),
        store.append(upload.id, 400, bytes.slice(400..)),
    )
    .await;
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(store.complete(upload.id).await.unwrap(), upload.digest);

    let long = NewUpload { id: UploadId::new(), size: 1 << 40, ..upload };
    store.create(long.clone()).await.unwrap();
    conflict(store.append(long.id, 0, vec![0; APPEND_MAX + 1].into()).await);
    assert_eq!(store.upload(long.id).await.unwrap().offset, 0);
}

async fn wrong_bytes_end_it(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let upload = announced(engine, &Bytes::from(vec![1; 1000])).await;
    store.create(upload.clone()).await.unwrap();
    store.append(upload.id, 0, vec![2; 1000].into()).await.unwrap();
    refused!(store.complete(upload.id).await, StoreError::DigestMismatch { .. });
    not_found(store.upload(upload.id).await);
    assert_eq!(store.size(&upload.digest).await.unwrap(), None);
    // Nothing stands in the way of the right bytes.
    store.create(upload.clone()).await.unwrap();
    store.append(upload.id, 0, vec![1; 1000].into()).await.unwrap();
    store.complete(upload.id).await.unwrap();
}

async fn abandoned_ones_go(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let bytes = Bytes::from(vec![3; 10]);
    let (old, new) = (announced(engine, &bytes).await, announced(engine, &bytes).await);
    let new = NewUpload { expires: samples::later(61), ..new };
    for upload in [&old, &new] {
        store.create(upload.clone()).await.unwrap();
        store.append(upload.id, 0, bytes.slice(..5)).await.unwrap();
    }
    assert_eq!(store.expire(samples::later(59)).await.unwrap(), 0);
    assert_eq!(store.expire(samples::later(60)).await.unwrap(), 1);
    store = engine.reopen(store).await;
    not_found(store.upload(old.id).await);
    store.abort(old.id).await.unwrap();
    store.abort(new.id).await.unwrap();
    not_found(store.upload(new.id).await);
    not_found(store.append(new.id, 5, bytes.slice(5..)).await);
}
