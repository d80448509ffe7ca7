//! Inspection of what was uploaded: its format, read from the bytes.

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;
use firmseal_formats::{FormatError, Inspection};
use firmseal_manifest::Digest;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::App;
use crate::error::ApiError;

/// Pieces on their way to the temporary file.
const DEPTH: usize = 8;

impl App {
    /// Reads what a stored blob is. Formats read at offsets and block;
    /// storage streams: an unlinked temporary file stands between them.
    pub(super) async fn inspect(&self, id: Digest, size: u64) -> Result<Inspection, ApiError> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(DEPTH);
        let inspecting = tokio::task::spawn_blocking(move || {
            let mut file = tempfile::tempfile()?;
            while let Some(piece) = receiver.blocking_recv() {
                file.write_all(&piece)?;
            }
            Ok::<_, io::Error>(read(&file))
        });
        let mut stream = self.store.read(&id, 0..size).await?;
        while let Some(piece) = stream.next().await {
            // A closed channel means that writing failed: its error follows.
            if sender.send(piece?).await.is_err() {
                break;
            }
        }
        drop(sender);
        let internal = |why: &dyn std::fmt::Display| ApiError::Internal(format!("inspecting {id}: {why}"));
        let inspected = inspecting.await.map_err(|err| internal(&err))?.map_err(|err| internal(&err))?;
        inspected.map_err(|err| ApiError::Refused {
            why: format!("no known format reads this artifact: {err}"),
            hint: "`firmseal inspect FILE` shows what is wrong".to_owned(),
        })
    }
}

fn read(file: &File) -> Result<Inspection, FormatError> {
    firmseal_formats::inspect(file)
}
