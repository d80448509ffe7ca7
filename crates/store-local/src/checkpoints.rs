//! Checkpoints of the database: its log is copied into it beside the writer,
//! which would keep everybody waiting meanwhile.
//!
//! They change nothing of what is durable. One that fails is made up for by
//! the next, and in the end by the writer, which does not let the log grow
//! beyond its bound.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use firmseal_store::StoreError;
use rusqlite::Connection;

/// Writes after which a checkpoint is worth its syncs.
const WRITES: usize = 512;

/// The thread that makes them. Dropping it waits for the one at hand.
pub(crate) struct Checkpoints {
    wanted: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(crate) fn start(connection: Connection) -> Result<Checkpoints, StoreError> {
        let (wanted, asked) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || work_off(&asked, &connection))
            .map_err(|error| StoreError::Unavailable {
                doing: "start the checkpointing thread".to_owned(),
                why: error.to_string(),
            })?;
        Ok(Checkpoints { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Who is told of writes.
    pub(crate) fn written(&self) -> Written {
        Written { wanted: self.wanted.clone(), writes: 0 }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counts writes, and asks for a checkpoint when it is time.
pub(crate) struct Written {
    wanted: Option<SyncSender<()>>,
    writes: usize,
}

impl Written {
    pub(crate) fn count(&mut self, writes: usize) {
        self.writes += writes;
        if self.writes >= WRITES {
            self.writes = 0;
            // One that is asked for already will do.
            let _ = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
        }
    }
}

fn work_off(asked: &Receiver<()>, connection: &Connection) {
    while asked.recv().is_ok() {
        // Passive: nobody waits for it, and it waits for nobody.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}
