//! Blobs: immutable, verified both ways, never half-visible.

use std::ops::Range;

use bytes::Bytes;
use firmseal_manifest::Digest;
use futures_util::{StreamExt, future::join_all, stream};

use super::{Engine, not_found, refused, samples};
use crate::{BlobStream, Store, StoreError, stream_of};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_put_is_read(engine).await;
    ranges_are_exact(engine).await;
    wrong_bytes_leave_nothing(engine).await;
    putting_again_is_fine(engine).await;
}

fn bytes(size: usize) -> Bytes {
    (0..size).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<u8>>().into()
}

fn pieces(bytes: &Bytes, size: usize) -> BlobStream {
    let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(stream::iter(pieces))
}

async fn read(store: &dyn Store, id: &Digest, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let mut stream = store.read(id, range).await?;
    let mut whole = Vec::new();
    while let Some(piece) = stream.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// Sizes around every boundary an engine may have, the empty blob included.
async fn what_is_put_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let mut ids = Vec::new();
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 262_144, 1_000_003] {
        let bytes = bytes(size);
        let id = store.put_bytes(bytes.clone()).await.unwrap();
        assert_eq!(store.read_all(&id, u64::MAX).await.unwrap(), bytes);
        ids.push((id, bytes));
    }
    store = engine.reopen(store).await;
    for (id, bytes) in &ids {
        assert_eq!(store.size(id).await.unwrap(), Some(bytes.len() as u64));
        assert_eq!(store.read_all(id, u64::MAX).await.unwrap(), bytes);
        // The same bytes as a stream, in awkward pieces, into another store.
        let other = engine.fresh().await;
        other.put(*id, bytes.len() as u64, pieces(bytes, 7_777)).await.unwrap();
        assert_eq!(other.read_all(id, u64::MAX).await.unwrap(), bytes);
    }
    let missing = samples::digest();
    assert_eq!(store.size(&missing).await.unwrap(), None);
    not_found(read(&*store, &missing, 0..0).await);
    not_found(store.read_all(&missing, 10).await);
}

async fn ranges_are_exact(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let bytes = bytes(300_000);
    let size = bytes.len() as u64;
    let id = store.put_bytes(bytes.clone()).await.unwrap();
    for (start, end) in
        [(0, 0), (0, 1), (65_535, 65_537), (65_536, 131_072), (1, 299_999), (299_999, 300_000), (size, size)]
    {
        let got = read(&*store, &id, start..end).await.unwrap();
        assert_eq!(got, bytes[start as usize..end as usize], "{start}..{end}");
    }
    for (start, end) in [(0, size + 1), (size + 1, size + 1), (2, 1), (0, u64::MAX)] {
        refused!(read(&*store, &id, Range { start, end }).await, StoreError::OutOfRange { .. });
    }
    refused!(store.read_all(&id, size - 1).await, StoreError::OutOfRange { .. });
}

async fn wrong_bytes_leave_nothing(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let good = bytes(100_000);
    let id = engine.fresh().await.put_bytes(good.clone()).await.unwrap();
    let size = good.len() as u64;
    let mut flipped = good.to_vec();
    flipped[70_000] ^= 1;
    refused!(store.put(id, size, stream_of(flipped)).await, StoreError::DigestMismatch { .. });
    refused!(store.put(id, size, pieces(&good.slice(1..), 999)).await, StoreError::SizeMismatch { .. });
    refused!(store.put(id, size - 1, pieces(&good, 999)).await, StoreError::SizeMismatch { .. });
    refused!(store.put(id, size + 1, pieces(&good, 999)).await, StoreError::SizeMismatch { .. });
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096])));
    refused!(store.put(id, size, Box::pin(endless)).await, StoreError::SizeMismatch { .. });
    let broken = stream::iter([Ok(good.slice(..10)), Err(StoreError::Source("hung up".to_owned()))]);
    refused!(store.put(id, size, Box::pin(broken)).await, StoreError::Source(_));
    for _ in 0..2 {
        assert_eq!(store.size(&id).await.unwrap(), None);
        not_found(read(&*store, &id, 0..0).await);
        store = engine.reopen(store).await;
    }
}

async fn putting_again_is_fine(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let bytes = bytes(200_000);
    let size = bytes.len() as u64;
    let id = store.put_bytes(bytes.clone()).await.unwrap();
    // The source is checked all the same: a wrong one is refused and the
    // blob stays what it was.
    refused!(store.put(id, size, stream_of(vec![7; 200_000])).await, StoreError::DigestMismatch { .. });
    let many = join_all((0..8).map(|_| store.put(id, size, pieces(&bytes, 10_000)))).await;
    assert!(many.iter().all(Result::is_ok), "{many:?}");
    assert_eq!(store.read_all(&id, u64::MAX).await.unwrap(), bytes);
}
