//! Spools: a blob as a local file while it is read and signed.
//!
//! Formats read at offsets and block; storage streams and does not. A spool
//! is an unlinked temporary file, so nothing is left behind by a crash.

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;
use firmseal_core::Hasher;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_formats::Source;
use firmseal_manifest::{BlockSize, Digest, PayloadTree, TreeBuilder};
use firmseal_store::{BlobStream, Store, StoreError};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::error::PipelineError;

/// Bytes on their way at once: pieces of [`PIECE`] bytes.
const DEPTH: usize = 8;
const PIECE: usize = 256 * 1024;

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PipelineError> + Send + 'static,
) -> Result<T, PipelineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error).into()),
    }
}

/// Copies a blob into a spool.
pub(crate) async fn fetch(store: &dyn Store, id: &Digest) -> Result<File, PipelineError> {
    let Some(size) = store.size(id).await? else {
        return Err(StoreError::not_found(format!("blob {id}")).into());
    };
    let (sender, mut receiver) = mpsc::channel::<Bytes>(DEPTH);
    let writer = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        while let Some(piece) = receiver.blocking_recv() {
            file.write_all(&piece)?;
        }
        Ok::<_, io::Error>(file)
    });
    let mut stream = store.read(id, 0..size).await?;
    while let Some(piece) = stream.next().await {
        // A closed channel means that writing failed: its error follows.
        if sender.send(piece?).await.is_err() {
            break;
        }
    }
    drop(sender);
    let file = writer.await.map_err(io::Error::other)??;
    if file.metadata()?.len() != size {
        return Err(io::Error::from(io::ErrorKind::StorageFull).into());
    }
    Ok(file)
}

/// Digest and tree of a source.
pub(crate) fn tree(source: &dyn Source, block: BlockSize) -> Result<PayloadTree, PipelineError> {
    let mut builder = TreeBuilder::new(block);
    for_each_piece(source, |piece| {
        builder.update(piece);
        Ok(())
    })?;
    Ok(builder.finish()?)
}

/// SHA-256 and length of a source.
pub(crate) fn digest(source: &dyn Source) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (RustCrypto.sha256(), 0);
    for_each_piece(source, |piece| {
        hasher.update(piece);
        size += piece.len() as u64;
        Ok(())
    })?;
    Ok((hasher.finish(), size))
}

/// A source as a stream, read on a thread of its own by `open`.
pub(crate) fn stream(
    open: impl FnOnce(&mut dyn FnMut(&dyn Source) -> io::Result<()>) -> io::Result<()> + Send + 'static,
) -> BlobStream {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, StoreError>>(DEPTH);
    tokio::task::spawn_blocking(move || {
        let result = open(&mut |source| {
            for_each_piece(source, |piece| {
                sender
                    .blocking_send(Ok(Bytes::copy_from_slice(piece)))
                    .map_err(|_| io::ErrorKind::BrokenPipe.into())
            })
        });
        if let Err(error) = result {
            // Nobody listening is fine: the reader has given up first.
            let doing = "read temporary storage".to_owned();
            let _ = sender.blocking_send(Err(StoreError::Unavailable { doing, why: error.to_string() }));
        }
    });
    Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

/// Hands a source to `each`, a bounded piece at a time.
pub(crate) fn for_each_piece(
    source: &dyn Source,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let len = source.len()?;
    let mut buffer = vec![0; PIECE.min(len as usize)];
    let mut offset = 0;
    while offset < len {
        let take = (len - offset).min(PIECE as u64) as usize;
        source.read_at(offset, &mut buffer[..take])?;
        each(&buffer[..take])?;
        offset += take as u64;
    }
    Ok(())
}
