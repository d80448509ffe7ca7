//! The intent log: an append-only file, synced before anybody is told an
//! index, and the Merkle log that is published from it.
//!
//! One thread owns both. Intents that arrive while it waits for the disk
//! are written together and synced once. Reading a log again checks every
//! record; damage is an error that names the offset, and only an incomplete
//! record at the very end, whose writer was never answered, is cut off.
//!
//! Tiles and checkpoint follow within [`INTERVAL`], within [`TOGETHER`] where
//! somebody waits for the proof of an entry, at once where somebody asks for
//! a checkpoint, and when the log is closed. An entry counts from its sync
//! on: a publication that fails, on a full disk say, is tried again and loses
//! nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firmseal_keys::{LeafError, Log, LogError, Reserved};
use firmseal_manifest::{Checkpoint, Digest, KeyId};
use firmseal_store::StoreError;
use firmseal_tlog::VerifierKey;
use futures_channel::oneshot;

use crate::error::{closed, file};
use crate::frame::LEAF_MAX;
use crate::intent_log_key::LogKey;
use crate::intent_log_tiles::LogTiles;
use crate::ledger::{Entry, Ledger};
use crate::lms_leaves::LmsLeaves;

/// Messages that may wait.
const QUEUE: usize = 16 * 1024;
/// Most leaves in one write, and most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;
/// How long an entry waits for a checkpoint that nobody asks for. Each one
/// costs about ten syncs, and partial tiles that stay until they are full.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far apart checkpoints are that proofs wait for: one covers whatever
/// was asked for meanwhile. A publication for each proof would keep the disk
/// from the appends that the next ones need.
const TOGETHER: Duration = Duration::from_millis(20);

/// The log. Clones are the same log; it closes with the last of them.
#[derive(Clone)]
pub struct IntentLog {
    inner: Arc<Inner>,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Message {
    Append(Vec<u8>, Reply<u64>),
    Reserve(Vec<u8>, KeyId, bool, Reply<Result<Reserved, LeafError>>),
    Read(u64, usize, Reply<Vec<Entry>>),
    Publish(Reply<Vec<u8>>),
    Prove(u64, Reply<Option<Proven>>),
    Inclusion(u64, u64, Reply<Vec<Digest>>),
    Consistency(u64, u64, Reply<Vec<Digest>>),
    Vouch(Box<Checkpoint>, u64, Reply<Vec<u8>>),
    Stop,
}

/// A checkpoint, and the path to it from an entry that it covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The checkpoint, as it is published.
    pub checkpoint: Vec<u8>,
    /// How many entries it covers.
    pub size: u64,
    /// Siblings from the leaf upward (RFC 6962 §2.1.1).
    pub path: Vec<Digest>,
}

struct Inner {
    queue: SyncSender<Message>,
    durable: Arc<AtomicU64>,
    verifiers: Vec<VerifierKey>,
    verifier: VerifierKey,
    tiles: PathBuf,
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
        let tiles = LogTiles::open(path, &ledger)?;
        let (verifier, served) = (tiles.verifier().clone(), tiles.root().to_owned());
        let verifiers = tiles.verifiers().to_vec();
        let (queue, messages) = sync_channel(QUEUE);
        let durable = Arc::new(AtomicU64::new(ledger.count()));
        let shared = Arc::clone(&durable);
        let thread = std::thread::Builder::new()
            .name("intent-log".to_owned())
            .spawn(move || Worker::new(ledger, tiles).work_off(&messages, &shared))
            .map_err(file("start the thread of", path))?;
        let thread = Mutex::new(Some(thread));
        Ok(IntentLog {
            inner: Arc::new(Inner { queue, durable, verifiers, verifier, tiles: served, thread }),
        })
    }

    /// The keys of the log at `path`, which may be open elsewhere, the
    /// Ed25519 key first; none where it was never opened.
    pub fn keys_at(path: &Path) -> Result<Vec<VerifierKey>, StoreError> {
        LogKey::look(path)
    }

    /// Makes an ML-DSA-87 key for the log at `path`, which must not be open.
    /// It signs checkpoints from the next opening on.
    pub fn add_ml_dsa_87(path: &Path) -> Result<VerifierKey, StoreError> {
        // Holds the log's lock meanwhile.
        let _ledger = Ledger::open(path)?;
        LogKey::add_ml_dsa_87(path, &path.with_extension("new"))
    }

    /// How an LMS key stands in the log at `path`, which may be open
    /// elsewhere; `None` if the key was not made for it. Reads all of it.
    pub fn leaves_at(path: &Path, key: &KeyId) -> Result<Option<LmsLeaves>, StoreError> {
        Ledger::look(path, key)
    }

    /// As [`Log::reserve`], by whoever knows whether witnesses stand behind
    /// the log.
    pub async fn reserve_under(&self, leaf: &[u8], key: KeyId, watched: bool) -> Result<Reserved, LogError> {
        let leaf = sized(leaf)?;
        let reserve = |reply| Message::Reserve(leaf, key, watched, reply);
        let reserved = self.ask("append to the intent log", reserve).await;
        Ok(reserved.map_err(|error| LogError::Storage(error.to_string()))??)
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

    /// The Ed25519 key that checkpoints verify with; its name is the log's
    /// origin.
    pub fn verifier(&self) -> &VerifierKey {
        &self.inner.verifier
    }

    /// All keys that checkpoints are signed with, that one first.
    pub fn verifiers(&self) -> &[VerifierKey] {
        &self.inner.verifiers
    }

    /// The directory that holds `checkpoint` and `tile/`, to be served as
    /// it is (C2SP tlog-tiles).
    pub fn tiles(&self) -> &Path {
        &self.inner.tiles
    }

    /// A signed checkpoint over at least what was durable at the call, as
    /// it is published.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, StoreError> {
        self.ask("publish the intent log", Message::Publish).await
    }

    /// Proves an entry under a published checkpoint, which is made for it
    /// and whatever else waits if none covers it yet. `None` if there is no
    /// such entry.
    pub async fn prove(&self, index: u64) -> Result<Option<Proven>, StoreError> {
        self.ask("prove an entry", |reply| Message::Prove(index, reply)).await
    }

    /// Proves that the entry stands at `index` in the log of the first
    /// `size` entries: siblings from the leaf upward (RFC 6962 §2.1.1).
    /// Sizes beyond the last checkpoint are not found.
    pub async fn proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.ask("prove an entry", |reply| Message::Inclusion(index, size, reply)).await
    }

    /// Proves that the log of `size` entries begins with that of `old`
    /// (RFC 6962 §2.1.2); what a witness asks for.
    pub async fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.ask("prove the log's growth", |reply| Message::Consistency(old, size, reply)).await
    }

    /// A freshness document: a cosigned checkpoint of this log, and the
    /// number of the newest revocation, signed by the log's key.
    pub async fn vouch(&self, checkpoint: Checkpoint, revocation: u64) -> Result<Vec<u8>, StoreError> {
        let vouch = |reply| Message::Vouch(Box::new(checkpoint), revocation, reply);
        self.ask("vouch for a revocation", vouch).await
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
        let leaf = sized(leaf)?;
        let index = self.ask("append to the intent log", |reply| Message::Append(leaf, reply)).await;
        index.map_err(|error| LogError::Storage(error.to_string()))
    }

    /// Its verifier key: no other log has it.
    fn name(&self) -> Option<String> {
        Some(self.verifier().to_string())
    }

    async fn reserve(&self, leaf: &[u8], key: KeyId) -> Result<Reserved, LogError> {
        self.reserve_under(leaf, key, false).await
    }

    fn size(&self) -> u64 {
        self.len()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
        let entries = IntentLog::read(self, from, limit).await;
        let entries = entries.map_err(|error| LogError::Storage(error.to_string()))?;
        Ok(entries.into_iter().map(|entry| entry.leaf).collect())
    }
}

fn sized(leaf: &[u8]) -> Result<Vec<u8>, LogError> {
    match leaf.len() {
        1..=LEAF_MAX => Ok(leaf.to_vec()),
        other => Err(LogError::Storage(format!("a leaf has 1 to {LEAF_MAX} bytes, not {other}"))),
    }
}

/// What the thread owns.
struct Worker {
    ledger: Ledger,
    tiles: LogTiles,
    /// When the tiles are to follow; `None` while they need not.
    due: Option<Instant>,
    /// When they last did.
    published: Option<Instant>,
    /// Who waits for proofs of entries that no checkpoint covers yet.
    unproven: Vec<(u64, Reply<Option<Proven>>)>,
}

impl Worker {
    fn new(ledger: Ledger, tiles: LogTiles) -> Worker {
        Worker { ledger, tiles, due: None, published: None, unproven: Vec::new() }
    }

    fn work_off(mut self, messages: &Receiver<Message>, durable: &AtomicU64) {
        // What the last process left unpublished is published as what this
        // one appends.
        self.schedule();
        let mut next = self.wait(messages);
        while let Some(message) = next.take() {
            match message {
                Message::Append(leaf, reply) => {
                    next = self.append((leaf, reply), messages, durable);
                }
                // One at a time, and its own sync: whoever signs with LMS
                // signs seldom.
                Message::Reserve(leaf, key, watched, reply) if !reply.is_canceled() => {
                    let reserved = self.ledger.reserve(&leaf, &key, watched);
                    durable.store(self.ledger.count(), Ordering::Release);
                    let _ = reply.send(reserved);
                }
                Message::Reserve(..) => {}
                Message::Read(from, limit, reply) => {
                    let _ = reply.send(self.ledger.read(from, limit));
                }
                Message::Publish(reply) => {
                    let published = self.publish();
                    let _ = reply.send(published.map(|()| self.tiles.checkpoint().to_vec()));
                }
                Message::Prove(index, reply) => self.prove(index, reply),
                Message::Inclusion(index, size, reply) => {
                    let _ = reply.send(self.tiles.inclusion(index, size));
                }
                Message::Consistency(old, size, reply) => {
                    let _ = reply.send(self.tiles.consistency(old, size));
                }
                Message::Vouch(checkpoint, revocation, reply) => {
                    let _ = reply.send(self.tiles.vouch(*checkpoint, revocation));
                }
                Message::Stop => break,
            }
            self.schedule();
            if next.is_none() {
                next = self.wait(messages);
            }
        }
        // The next opening would do it as well.
        let _ = self.publish();
    }

    /// Notes when the tiles are to follow.
    fn schedule(&mut self) {
        if self.tiles.is_behind(&self.ledger) && self.due.is_none() {
            self.due = Some(Instant::now() + INTERVAL);
        }
    }

    /// The next message; publishes meanwhile, once it is time.
    fn wait(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        loop {
            let Some(due) = self.due else { return messages.recv().ok() };
            // Asked first: under load there is always a message.
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Whoever needs a checkpoint asks and hears why there is
                // none; here it is tried again.
                let _ = self.publish();
                self.schedule();
                continue;
            }
            match messages.recv_timeout(left) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Publishes what there is, and answers whoever waited for that.
    fn publish(&mut self) -> Result<(), StoreError> {
        (self.due, self.published) = (None, Some(Instant::now()));
        let published = self.tiles.catch_up(&self.ledger);
        for (index, reply) in std::mem::take(&mut self.unproven) {
            let proven = published.clone().and_then(|()| self.proven(index));
            let _ = reply.send(proven);
        }
        published
    }

    /// Proves an entry, or notes that somebody waits for a checkpoint.
    fn prove(&mut self, index: u64, reply: Reply<Option<Proven>>) {
        if index < self.tiles.size() || index >= self.ledger.count() {
            let _ = reply.send(self.proven(index));
            return;
        }
        self.unproven.push((index, reply));
        let now = Instant::now();
        let soon = self.published.map_or(now, |published| now.max(published + TOGETHER));
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    fn proven(&self, index: u64) -> Result<Option<Proven>, StoreError> {
        let size = self.tiles.size();
        if index >= size {
            return Ok(None);
        }
        let path = self.tiles.inclusion(index, size)?;
        Ok(Some(Proven { checkpoint: self.tiles.checkpoint().to_vec(), size, path }))
    }

    /// Appends a leaf and those that wait behind it; returns the message
    /// that is none of them.
    fn append(
        &mut self,
        first: (Vec<u8>, Reply<u64>),
        messages: &Receiver<Message>,
        durable: &AtomicU64,
    ) -> Option<Message> {
        let (mut bytes, mut batch, mut next) = (first.0.len(), vec![first], None);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
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
            let first = self.ledger.append(batch.iter().map(|(leaf, _)| leaf.as_slice()));
            durable.store(self.ledger.count(), Ordering::Release);
            for ((_, reply), offset) in batch.into_iter().zip(0..) {
                let _ = reply.send(first.clone().map(|first| first + offset));
            }
        }
        next
    }
}
