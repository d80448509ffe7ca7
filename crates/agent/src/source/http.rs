//! The update server, or a mirror with its layout, as a source.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use firmseal_api::client::{Client, ClientError, Download};
use tokio::runtime::Handle;

use super::{Blob, Source};
use crate::error::Error;

/// Blobs over HTTPS with ranges. Used from threads that may block, never
/// from the executor's own.
pub(crate) struct HttpSource {
    client: Client,
    handle: Handle,
    base: String,
    /// Bytes that came and were thrown away.
    skipped: AtomicU64,
}

impl HttpSource {
    /// The blobs below `base`, a path that ends with `/`.
    pub(crate) fn new(client: Client, handle: Handle, base: &str) -> HttpSource {
        HttpSource { client, handle, base: base.to_owned(), skipped: AtomicU64::new(0) }
    }
}

impl Source for HttpSource {
    fn open(&self, blob: &Blob, offset: u64, len: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = format!("{}{blob}", self.base);
        let end = if offset + len < blob.len { Some(offset + len) } else { None };
        let download = self.handle.block_on(self.client.download(&path, offset, end, None))?;
        // A carrier that ignores ranges sends everything: what comes before
        // the offset is thrown away. One that begins later has a hole.
        let skip = offset.checked_sub(download.offset()).ok_or_else(|| Error::Carrier {
            what: blob.to_string(),
            why: "the carrier sent another range than it was asked for".to_owned(),
        })?;
        Ok(Box::new(Body { source: self, download, piece: Bytes::new(), skip }))
    }

    fn is_metered(&self) -> bool {
        true
    }

    fn skipped(&self) -> u64 {
        self.skipped.swap(0, Ordering::Relaxed)
    }
}

struct Body<'a> {
    source: &'a HttpSource,
    download: Download,
    piece: Bytes,
    skip: u64,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.source.handle.block_on(self.download.chunk()) {
                Ok(None) => return Ok(0),
                Ok(Some(piece)) => self.piece = piece,
                Err(err) => return Err(broken(err)),
            }
            let skip = self.skip.min(self.piece.len() as u64);
            if skip > 0 {
                self.piece.advance(skip as usize);
                self.skip -= skip;
                self.source.skipped.fetch_add(skip, Ordering::Relaxed);
                // The reader looks at what was skipped and comes again.
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn broken(err: ClientError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, err)
}
