//! The file of the intent log: its records, its end, and what may be wrong
//! with it. Every method blocks; one thread owns it.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use firmseal_keys::{LeafError, Reserved};
use firmseal_manifest::{Digest, KeyId, LmsEntry};
use firmseal_store::StoreError;

use crate::directory::sync_dir;
use crate::error::file;
use crate::frame::{self, HEADER, PREFIX, START};
use crate::lms_leaves::{Leaves, LmsLeaves};
use crate::sums::SUM;

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
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The hash that vouches for it and for every entry before it.
    pub hash: Digest,
}

/// The file, and where its end is.
pub(crate) struct Ledger {
    file: File,
    path: PathBuf,
    /// Durable records, the bytes up to their end, and the last one's hash.
    count: u64,
    end: u64,
    last: [u8; SUM],
    /// Offset of every [`STRIDE`]th record.
    marks: Vec<u64>,
    /// What its records say about LMS keys.
    leaves: Leaves,
    /// Why nothing can be appended any more.
    broken: Option<StoreError>,
}

impl Ledger {
    /// Opens the file and reads all of it; cuts an incomplete end off.
    pub(crate) fn open(path: &Path) -> Result<Ledger, StoreError> {
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
            leaves: Leaves::default(),
            broken: None,
        };
        ledger.begin()?;
        let size = ledger.recover()?;
        ledger.repair(size)?;
        Ok(ledger)
    }

    /// Cuts an incomplete record off the end.
    fn repair(&self, size: u64) -> Result<(), StoreError> {
        if size > self.end {
            let cut = self.file.set_len(self.end).and_then(|()| self.file.sync_all());
            cut.map_err(file("repair", &self.path))?;
        }
        Ok(())
    }

    /// How an LMS key stands in a log that another process may have open;
    /// `None` if the key was not made for it.
    pub(crate) fn look(path: &Path, key: &KeyId) -> Result<Option<LmsLeaves>, StoreError> {
        let mut ledger = Ledger {
            file: File::open(path).map_err(file("open", path))?,
            path: path.to_owned(),
            count: 0,
            end: HEADER.len() as u64,
            last: START,
            marks: Vec::new(),
            leaves: Leaves::default(),
            broken: None,
        };
        // A record that is being written looks as if it were cut, and is
        // left as it is.
        ledger.recover()?;
        Ok(ledger.leaves.of(key))
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

    /// Reads every record but an incomplete one at the end; returns how long
    /// the file is.
    fn recover(&mut self) -> Result<u64, StoreError> {
        let failed = file("read", &self.path);
        let size = self.file.metadata().map_err(&failed)?.len();
        let mut reader = BufReader::with_capacity(256 * 1024, &self.file);
        reader.seek(SeekFrom::Start(self.end)).map_err(&failed)?;
        let (mut count, mut end, mut last, mut marks) = (self.count, self.end, self.last, Vec::new());
        let (mut record, mut leaves) = (Vec::new(), Leaves::default());
        loop {
            record.clear();
            let whole = read_record(&mut reader, &mut record).map_err(&failed)?;
            match whole {
                Whole::Yes => {
                    let (leaf, hash) =
                        frame::check(&record, count, &last).map_err(|why| self.damaged(end, why))?;
                    leaves.see(leaf);
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
        self.leaves = leaves;
        Ok(size)
    }

    /// How many records are durable.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Appends leaves and returns the index of the first, once all are
    /// durable.
    pub(crate) fn append<'a>(&mut self, leaves: impl Iterator<Item = &'a [u8]>) -> Result<u64, StoreError> {
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
            // Before it is written: a reservation counts if it may be on
            // the disk. One too many harms nobody.
            self.leaves.see(leaf);
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

    /// Reserves the next leaf of an LMS key and appends one to the log, both
    /// in one write: the reservation stands in front. Returns the leaf's
    /// index, the key's leaf, and how many the key has.
    pub(crate) fn reserve(
        &mut self,
        leaf: &[u8],
        key: &KeyId,
        watched: bool,
    ) -> Result<Result<Reserved, LeafError>, StoreError> {
        let (taken, leaves) = match self.leaves.take(key, watched) {
            Ok(taken) => taken,
            Err(error) => return Ok(Err(error)),
        };
        let reservation = LmsEntry::Leaf { key: *key, leaf: taken }.encode();
        let first = self.append([reservation.as_slice(), leaf].into_iter())?;
        Ok(Ok(Reserved { index: first + 1, leaf: taken, leaves }))
    }

    fn break_with(&mut self, doing: &str, error: &io::Error) {
        self.broken = Some(StoreError::Unavailable {
            doing: format!("{doing} ({error})"),
            why: "its end is uncertain; restart, which reads and checks it".to_owned(),
        });
    }

    /// Reads entries, checking each against the one before it.
    pub(crate) fn read(&self, from: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
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
        while index < self.count && entries.len() < limit.min(READ) && bytes < READ_BYTES {
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
