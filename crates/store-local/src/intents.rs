//! The intent log: one append-only file, synced before anybody is told an
//! index.
//!
//! One thread owns the file. Intents that arrive while it waits for the
//! disk are written together and synced once. Reading a log again checks
//! every record; damage is an error that names the offset, and only an
//! incomplete record at the very end, whose writer was never answered, is
//! cut off.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use firmseal_keys::{Log, LogError};
use firmseal_store::StoreError;
use futures_channel::oneshot;

use crate::error::{closed, file};
use crate::frame::LEAF_MAX;
use crate::ledger::{Entry, Ledger};

/// Messages that may wait.
const QUEUE: usize = 16 * 1024;
/// Most leaves in one write, and most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;

/// The log. Clones are the same log; it closes with the last of them.
#[derive(Clone)]
pub struct IntentLog {
    inner: Arc<Inner>,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Message {
    Append(Vec<u8>, Reply<u64>),
    Read(u64, usize, Reply<Vec<Entry>>),
    Stop,
}

struct Inner {
    queue: SyncSender<Message>,
    durable: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl IntentLog {
    /// Opens a log and checks all of it, or begins one. Blocks meanwhile.
    /// A log that another process has open is refused.
    pub fn open(path: &Path) -> Result<IntentLog, StoreError> {
        let ledger = Ledger::open(path)?;
        let (queue, messages) = sync_channel(QUEUE);
        let durable = Arc::new(AtomicU64::new(ledger.count()));
        let shared = Arc::clone(&durable);
        let thread = std::thread::Builder::new()
            .name("intent-log".to_owned())
            .spawn(move || work_off(&messages, ledger, &shared))
            .map_err(file("start the thread of", path))?;
        Ok(IntentLog { inner: Arc::new(Inner { queue, durable, thread: Mutex::new(Some(thread)) }) })
    }

    /// How many entries are durable.
    pub fn len(&self) -> u64 {
        self.inner.durable.load(Ordering::Acquire)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries from an index on, in order, checked as when the log was
    /// opened. At most `limit` and at most a thousand; none beyond the end.
    pub async fn read(&self, from: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.ask("read the intent log", |reply| Message::Read(from, limit, reply)).await
    }

    async fn ask<T>(&self, doing: &str, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.inner.queue.try_send(message(reply)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { what: "the intent log".to_owned() },
            TrySendError::Disconnected(_) => closed(doing),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed(doing)))
    }
}

impl Log for IntentLog {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        if leaf.is_empty() || leaf.len() > LEAF_MAX {
            return Err(LogError(format!("a leaf has 1 to {LEAF_MAX} bytes, not {}", leaf.len())));
        }
        let leaf = leaf.to_vec();
        let index = self.ask("append to the intent log", |reply| Message::Append(leaf, reply)).await;
        index.map_err(|error| LogError(error.to_string()))
    }
}

fn work_off(messages: &Receiver<Message>, mut ledger: Ledger, durable: &AtomicU64) {
    let mut next = messages.recv().ok();
    while let Some(message) = next.take() {
        let mut batch = Vec::new();
        match message {
            Message::Append(leaf, reply) => batch.push((leaf, reply)),
            Message::Read(from, limit, reply) => {
                let _ = reply.send(ledger.read(from, limit));
            }
            Message::Stop => return,
        }
        let mut bytes = 0;
        while !batch.is_empty() && batch.len() < BATCH && bytes < BATCH_BYTES {
            match messages.try_recv() {
                Ok(Message::Append(leaf, reply)) => {
                    bytes += leaf.len();
                    batch.push((leaf, reply));
                }
                // Something else: its turn is after this batch.
                other => {
                    next = other.ok();
                    break;
                }
            }
        }
        // An intent that nobody waits for any more opens no key: it need
        // not be in the log.
        batch.retain(|(_, reply)| !reply.is_canceled());
        if !batch.is_empty() {
            let first = ledger.append(batch.iter().map(|(leaf, _)| leaf.as_slice()));
            durable.store(ledger.count(), Ordering::Release);
            for ((_, reply), offset) in batch.into_iter().zip(0..) {
                let _ = reply.send(first.clone().map(|first| first + offset));
            }
        }
        if next.is_none() {
            next = messages.recv().ok();
        }
    }
}
