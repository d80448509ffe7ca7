//! The intent log: one append-only file, synced before anybody is told an
//! index.
//!
//! One thread owns the file. Intents that arrive while it waits for the
//! disk are written together and synced once. Reading a log again checks
//! every record; damage is an error that names the offset, and only an
//! incomplete record at the very end, whose writer was never answered, is
//! cut off.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use firmseal_keys::{Log, LogError};
use firmseal_manifest::Digest;
use firmseal_store::StoreError;
use futures_channel::oneshot;

use crate::directory::sync_dir;
use crate::error::{closed, file};
use crate::frame::{self, HEADER, LEAF_MAX, PREFIX, START};
use crate::sums::SUM;

/// Messages that may wait.
const QUEUE: usize = 16 * 1024;
/// Most leaves in one write, and most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1024 * 1024;
/// Most entries, and most bytes of leaves, that one read returns.
const READ: usize = 1_000;
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Every how many records an offset is kept in memory.
const STRIDE: u64 = 64;

/// One logged intent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number, from 0.
    pub index: u64,
    /// The encoded intent.
    pub leaf: Vec<u8>,
    /// The hash that vouches for it and for every entry before it.
    pub hash: Digest,
}

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
        let durable = Arc::new(AtomicU64::new(ledger.count));
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
        self.ask("read the intent log", |reply| Message::Read(from, limit.min(READ), reply)).await
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
            durable.store(ledger.count, Ordering::Release);
            for ((_, reply), offset) in batch.into_iter().zip(0..) {
                let _ = reply.send(first.clone().map(|first| first + offset));
            }
        }
        if next.is_none() {
            next = messages.recv().ok();
        }
    }
}

/// The file, and where its end is.
struct Ledger {
    file: File,
    path: PathBuf,
    /// Durable records, the bytes up to their end, and the last one's hash.
    count: u64,
    end: u64,
    last: [u8; SUM],
    /// Offset of every [`STRIDE`]th record.
    marks: Vec<u64>,
    /// Why nothing can be appended any more.
    broken: Option<StoreError>,
}

impl Ledger {
    fn open(path: &Path) -> Result<Ledger, StoreError> {
        let failed = file("open", path);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (path, holder) = (path.display().to_string(), "another process".to_owned());
                return Err(StoreError::InUse { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut ledger = Ledger {
            file,
            path: path.to_owned(),
            count: 0,
            end: HEADER.len() as u64,
            last: START,
            marks: Vec::new(),
            broken: None,
        };
        ledger.begin()?;
        ledger.recover()?;
        Ok(ledger)
    }

    /// Checks the header; writes it if the file is new, or was when the
    /// power went.
    fn begin(&mut self) -> Result<(), StoreError> {
        let failed = file("begin", &self.path);
        let mut header = Vec::new();
        (&self.file).take(HEADER.len() as u64).read_to_end(&mut header).map_err(&failed)?;
        if header == HEADER {
            return Ok(());
        }
        if header.len() == HEADER.len() || !HEADER.starts_with(&header) {
            return Err(self.damaged(0, "it does not begin as an intent log"));
        }
        self.file.write_all_at(HEADER, 0).and_then(|()| self.file.sync_all()).map_err(&failed)?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }

    /// Reads every record, and cuts an incomplete one off the end.
    fn recover(&mut self) -> Result<(), StoreError> {
        let failed = file("read", &self.path);
        let size = self.file.metadata().map_err(&failed)?.len();
        let mut reader = BufReader::with_capacity(256 * 1024, &self.file);
        reader.seek(SeekFrom::Start(self.end)).map_err(&failed)?;
        let (mut count, mut end, mut last, mut marks) = (self.count, self.end, self.last, Vec::new());
        let mut record = Vec::new();
        loop {
            record.clear();
            let whole = read_record(&mut reader, &mut record).map_err(&failed)?;
            match whole {
                Whole::Yes => {
                    let (_, hash) =
                        frame::check(&record, count, &last).map_err(|why| self.damaged(end, why))?;
                    if count.is_multiple_of(STRIDE) {
                        marks.push(end);
                    }
                    (count, end, last) = (count + 1, end + record.len() as u64, hash);
                }
                Whole::No(why) => return Err(self.damaged(end, why)),
                Whole::Cut => {
                    // What there is of it must be what a write of the next
                    // record would have left.
                    if record.len() >= PREFIX && record[8..PREFIX] != last {
                        return Err(self.damaged(end, "it does not follow the record before it"));
                    }
                    break;
                }
            }
        }
        (self.count, self.end, self.last, self.marks) = (count, end, last, marks);
        if size > end {
            self.file.set_len(end).and_then(|()| self.file.sync_all()).map_err(file("repair", &self.path))?;
        }
        Ok(())
    }

    /// Appends leaves and returns the index of the first, once all are
    /// durable.
    fn append<'a>(&mut self, leaves: impl Iterator<Item = &'a [u8]>) -> Result<u64, StoreError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let (mut out, mut last, mut count) = (Vec::new(), self.last, self.count);
        let mut marks = Vec::new();
        for leaf in leaves {
            if count.is_multiple_of(STRIDE) {
                marks.push(self.end + out.len() as u64);
            }
            last = frame::write(&mut out, count, &last, leaf);
            count += 1;
        }
        if let Err(error) = self.file.write_all_at(&out, self.end) {
            let error = file("write", &self.path)(error);
            // A part of it may be there. It must go before anything shorter
            // is written over it, or the rest would look like damage.
            if let Err(stuck) = self.file.set_len(self.end) {
                self.break_with("take a half-written record back", &stuck);
            }
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            // After a failed sync nobody knows what the disk has, and the
            // next sync may succeed without it ("Can Applications Recover
            // from fsync Failures?", USENIX ATC 2020). Only reading it all
            // again can tell.
            self.break_with("make the intent log durable", &error);
            return Err(file("sync", &self.path)(error));
        }
        let first = self.count;
        self.end += out.len() as u64;
        self.marks.append(&mut marks);
        (self.last, self.count) = (last, count);
        Ok(first)
    }

    fn break_with(&mut self, doing: &str, error: &io::Error) {
        self.broken = Some(StoreError::Unavailable {
            doing: format!("{doing} ({error})"),
            why: "its end is uncertain; restart, which reads and checks it".to_owned(),
        });
    }

    /// Reads entries, checking each against the one before it.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let failed = file("read", &self.path);
        let mut entries = Vec::new();
        let Some(mut offset) = self.marks.get((from / STRIDE) as usize).copied() else { return Ok(entries) };
        let mut index = from - from % STRIDE;
        // The record before the mark carries the hash that it follows.
        let mut previous = START;
        if index > 0 {
            self.file.read_exact_at(&mut previous, offset - SUM as u64).map_err(&failed)?;
        }
        let mut bytes = 0;
        let mut record = Vec::new();
        let mut reader = BufReader::new(At { file: &self.file, offset });
        while index < self.count && entries.len() < limit && bytes < READ_BYTES {
            record.clear();
            let checked = match read_record(&mut reader, &mut record).map_err(&failed)? {
                Whole::Yes => frame::check(&record, index, &previous),
                Whole::No(why) => Err(why),
                Whole::Cut => Err("it is cut short"),
            };
            let (leaf, hash) = checked.map_err(|why| self.damaged(offset, why))?;
            if index >= from {
                bytes += leaf.len();
                entries.push(Entry { index, leaf: leaf.to_vec(), hash: Digest(hash) });
            }
            previous = hash;
            offset += record.len() as u64;
            index += 1;
        }
        Ok(entries)
    }

    fn damaged(&self, offset: u64, why: &str) -> StoreError {
        let path = self.path.display();
        StoreError::corrupt(format!("{path}, the record at offset {offset} ({why}),"))
    }
}

/// Whether a record could be read.
enum Whole {
    Yes,
    /// The file ends inside it, or before it.
    Cut,
    No(&'static str),
}

fn read_record(reader: &mut impl Read, record: &mut Vec<u8>) -> io::Result<Whole> {
    let mut fill = |record: &mut Vec<u8>, to: usize| -> io::Result<bool> {
        let missing = to - record.len();
        Ok(reader.take(missing as u64).read_to_end(record)? == missing)
    };
    if !fill(record, 8)? {
        return Ok(Whole::Cut);
    }
    let length = match frame::length(record) {
        Ok(length) => length,
        Err(why) => return Ok(Whole::No(why)),
    };
    Ok(if fill(record, PREFIX + length + SUM)? { Whole::Yes } else { Whole::Cut })
}

/// Reads a file from an offset without moving anybody else's position.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
