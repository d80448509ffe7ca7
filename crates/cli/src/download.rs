//! Downloads: a payload from the server, through connections that break,
//! checked against its digest.

use bytes::Bytes;
use firmseal_api::client::{Client, Download};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Hasher};

use crate::backoff::Backoff;
use crate::error::{CliError, Kind, Result};

/// A payload on its way.
pub struct Incoming<'a> {
    client: &'a Client,
    path: String,
    size: u64,
    offset: u64,
    etag: Option<String>,
    stream: Option<Download>,
    backoff: Backoff,
    hasher: <RustCrypto as Crypto>::Hasher,
}

impl<'a> Incoming<'a> {
    /// A payload of exactly `size` bytes at `path`. Nothing is fetched yet.
    pub fn new(client: &'a Client, path: String, size: u64) -> Incoming<'a> {
        Incoming {
            client,
            path,
            size,
            offset: 0,
            etag: None,
            stream: None,
            backoff: Backoff::new(),
            hasher: RustCrypto.sha256(),
        }
    }

    /// The next piece, or `None` once all bytes have come. A connection
    /// that breaks is made again where it broke.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        while self.offset < self.size {
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            match stream.chunk().await {
                Ok(Some(piece)) => {
                    if piece.len() as u64 > self.size - self.offset {
                        return Err(self.wrong("is longer than the release says"));
                    }
                    self.backoff.progress();
                    self.hasher.update(&piece);
                    self.offset += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    // A proxy may end an answer early without an error.
                    self.stream = None;
                    if !self.backoff.count() {
                        return Err(self.wrong("ends before its length"));
                    }
                }
                Err(error) => {
                    self.stream = None;
                    self.backoff.wait(error).await?;
                }
            }
        }
        Ok(None)
    }

    async fn connect(&mut self) -> Result {
        match self.client.download(&self.path, self.offset, None, self.etag.as_deref()).await {
            Ok(stream) => {
                if stream.total() != self.size {
                    return Err(self.wrong("has another length than the release says"));
                }
                // Without ranges a server sends everything, and the bytes
                // hashed so far would come twice.
                if stream.offset() != self.offset {
                    return Err(
                        self.wrong("cannot be continued: something between us and the server drops ranges")
                    );
                }
                self.etag = stream.etag().map(str::to_owned);
                self.stream = Some(stream);
                Ok(())
            }
            Err(error) => self.backoff.wait(error).await,
        }
    }

    /// SHA-256 of all pieces.
    pub fn digest(self) -> Digest {
        self.hasher.finish()
    }

    fn wrong(&self, what: &str) -> CliError {
        CliError::new(Kind::Refused, format_args!("{} {what}", self.path))
    }
}
