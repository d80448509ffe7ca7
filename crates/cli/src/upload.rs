//! Uploads: a file to the registry, in pieces, through connections that
//! break.
//!
//! An upload is named by its digest, so an interrupted command that runs
//! again finds what the server has already and sends the rest.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use firmseal_api::client::{Client, ClientError};
use firmseal_api::registry::{Artifact, CreateUpload, Upload};
use firmseal_core::Hasher;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;
use http::StatusCode;

use crate::backoff::Backoff;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::progress::Progress;

/// Bytes in a piece, at first and at least. Each piece is durable before
/// the next is sent, so a broken connection costs one piece; a connection
/// that breaks, or a server that takes less, gets smaller ones.
const PIECE: u64 = 4 << 20;
const PIECE_MIN: u64 = 64 << 10;

/// Bytes in a file: all of it, or a blob in a bundle.
pub struct Source<'a> {
    file: File,
    path: &'a Path,
    start: u64,
    size: u64,
}

impl<'a> Source<'a> {
    /// A whole file.
    pub fn open(path: &'a Path) -> Result<Source<'a>> {
        let opened = File::open(path).map_err(file(path))?;
        let metadata = opened.metadata().map_err(file(path))?;
        if !metadata.is_file() {
            return Err(CliError::new(Kind::Local, "is not a regular file").about(path.display()));
        }
        Source::part(opened, path, 0, metadata.len())
    }

    /// A part of an open file.
    pub fn part(file: File, path: &'a Path, start: u64, size: u64) -> Result<Source<'a>> {
        if size == 0 {
            return Err(CliError::new(Kind::Refused, "is empty").about(path.display()));
        }
        Ok(Source { file, path, start, size })
    }

    /// Its digest, which names the artifact.
    fn digest(&mut self, output: &Output) -> Result<ArtifactId> {
        let progress = Progress::bytes(output, format!("hashing {}", self.path.display()), self.size);
        let mut hasher = RustCrypto.sha256();
        let (mut done, mut buffer) = (0, vec![0; 1 << 20]);
        self.file.seek(SeekFrom::Start(self.start)).map_err(file(self.path))?;
        while done < self.size {
            let want = (self.size - done).min(buffer.len() as u64) as usize;
            self.file.read_exact(&mut buffer[..want]).map_err(file(self.path))?;
            hasher.update(&buffer[..want]);
            done += want as u64;
            progress.set(done);
        }
        Ok(ArtifactId(hasher.finish()))
    }

    fn piece(&mut self, offset: u64, most: u64) -> Result<Bytes> {
        let mut piece = vec![0; most.min(self.size - offset) as usize];
        self.file
            .seek(SeekFrom::Start(self.start + offset))
            .and_then(|_| self.file.read_exact(&mut piece))
            .map_err(file(self.path))?;
        Ok(piece.into())
    }
}

/// Brings a file into the registry, unless it is there.
pub async fn upload(client: &Client, mut source: Source<'_>, output: &Output) -> Result<Artifact> {
    let sha256 = source.digest(output)?;
    match client.operator().artifact(sha256).await {
        Ok(artifact) => {
            output.note(format_args!("{} is in the registry already", source.path.display()));
            return Ok(artifact);
        }
        Err(error) if missing(&error) => {}
        // Nothing has begun: whoever is told at once can act at once.
        Err(error) => return Err(error.into()),
    }
    let wish = CreateUpload { size: source.size, sha256 };
    let upload = client.operator().create_upload(&wish).await?;
    if upload.offset > 0 {
        output.note(format_args!("an earlier upload goes on at {} of {} bytes", upload.offset, upload.size));
    }
    let artifact = Sending { client, source, wish, upload, piece: PIECE, backoff: Backoff::new() };
    artifact.run(output).await
}

/// An upload on its way.
struct Sending<'a> {
    client: &'a Client,
    source: Source<'a>,
    wish: CreateUpload,
    upload: Upload,
    piece: u64,
    backoff: Backoff,
}

impl Sending<'_> {
    async fn run(mut self, output: &Output) -> Result<Artifact> {
        let bar = Progress::bytes(output, format!("sending {}", self.source.path.display()), self.wish.size);
        loop {
            bar.set(self.upload.offset);
            let outcome = if self.upload.offset < self.wish.size {
                let piece = self.source.piece(self.upload.offset, self.piece)?;
                self.client.operator().append(self.upload.id, self.upload.offset, piece).await.map(|upload| {
                    self.backoff.progress();
                    self.upload = upload;
                    None
                })
            } else {
                self.client.operator().complete(self.upload.id).await.map(Some)
            };
            match outcome {
                Ok(Some(artifact)) => return Ok(artifact),
                Ok(None) => {}
                Err(error) => {
                    if let Some(artifact) = self.recover(error).await? {
                        return Ok(artifact);
                    }
                }
            }
        }
    }

    /// After a failure: waits where that may help, then asks the server how
    /// far it is, since an answer may be lost of what did arrive.
    async fn recover(&mut self, error: ClientError) -> Result<Option<Artifact>> {
        match error.status() {
            // Too large a piece for this server.
            Some(StatusCode::PAYLOAD_TOO_LARGE) if self.piece > PIECE_MIN => self.piece /= 2,
            // The upload went on elsewhere, or the offset was ours to ask.
            Some(StatusCode::CONFLICT | StatusCode::NOT_FOUND) => self.patience(&error)?,
            // The bytes are not what their digest promised.
            Some(StatusCode::UNPROCESSABLE_ENTITY) => {
                return Err(CliError::from(error)
                    .hint("did the file change while it was sent? run the command again"));
            }
            _ => {
                self.backoff.wait(error).await?;
                self.piece = (self.piece / 2).max(PIECE_MIN);
            }
        }
        loop {
            match self.client.operator().upload(self.upload.id).await {
                Ok(upload) => {
                    if upload.offset > self.upload.offset {
                        self.backoff.progress();
                    }
                    self.upload = upload;
                    return Ok(None);
                }
                // It is complete, and only the answer was lost; or it has
                // expired and begins anew.
                Err(error) if missing(&error) => {
                    match self.client.operator().artifact(self.wish.sha256).await {
                        Ok(artifact) => return Ok(Some(artifact)),
                        Err(error) if missing(&error) => {
                            self.patience(&error)?;
                            match self.client.operator().create_upload(&self.wish).await {
                                Ok(upload) => {
                                    self.upload = upload;
                                    return Ok(None);
                                }
                                Err(error) => self.backoff.wait(error).await?,
                            }
                        }
                        Err(error) => self.backoff.wait(error).await?,
                    }
                }
                Err(error) => self.backoff.wait(error).await?,
            }
        }
    }

    /// Counts a failure that needs no waiting, so that two writers or a
    /// confused server cannot keep us going round for ever.
    fn patience(&mut self, error: &ClientError) -> Result {
        if self.backoff.count() {
            return Ok(());
        }
        Err(CliError::new(Kind::Conflict, format_args!("the upload does not get on: {error}"))
            .hint("does another command upload the same file?"))
    }
}

fn missing(error: &ClientError) -> bool {
    error.status() == Some(StatusCode::NOT_FOUND)
}
