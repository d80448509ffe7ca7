//! The monitor's memory: a copy of the log's entries, when each was first
//! seen, and the last checkpoint that fitted them.
//!
//! ```text
//! entries      length u16, entry; as in entry bundles
//! times        "size seconds\n": what had been seen by when
//! checkpoint   the last one, with its signatures; written last
//! odd-...      checkpoints that did not fit: evidence, never removed
//! lock
//! ```
//!
//! Opening computes the root of the copy and compares it with the
//! checkpoint. What stands behind the checkpoint's size was being written
//! when the monitor was cut, and is cut off.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use firmseal_core::Digest;
use firmseal_manifest::Leaf;
use firmseal_tlog::{Checkpoint, Edge, Note, leaf_hash};

use crate::error::MonitorError;

/// An entry as far as it is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// What it says; `None` for what our pipeline does not write.
    pub leaf: Option<Leaf>,
    /// When it was first seen, in seconds since 1970.
    pub seen: u64,
}

/// The memory. One process has it.
#[derive(Debug)]
pub struct Memory {
    dir: PathBuf,
    edge: Edge,
    entries: Vec<Known>,
    checkpoint: Option<Checkpoint>,
    /// Bytes of both files that belong to the entries above.
    ends: (u64, u64),
    _lock: File,
}

impl Memory {
    /// Opens the memory in a directory, or begins one.
    pub fn open(dir: &Path) -> Result<Memory, MonitorError> {
        fs::create_dir_all(dir).map_err(file("create", dir))?;
        let path = dir.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(file("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(MonitorError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(file("lock", &path)(error)),
        }
        let (edge, entries) = (Edge::new(), Vec::new());
        let mut memory =
            Memory { dir: dir.to_owned(), edge, entries, checkpoint: None, ends: (0, 0), _lock: lock };
        let path = dir.join("checkpoint");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file("read", &path)(error)),
            Ok(bytes) => memory.load(&bytes)?,
        }
        Ok(memory)
    }

    fn load(&mut self, checkpoint: &[u8]) -> Result<(), MonitorError> {
        let damaged =
            |name: &str, why: &str| MonitorError::Damaged { path: self.dir.join(name), why: why.to_owned() };
        let read = |name: &str| fs::read(self.dir.join(name)).map_err(file("read", &self.dir.join(name)));
        let checkpoint = Note::parse(checkpoint).and_then(|note| Checkpoint::parse(note.text()));
        let checkpoint = checkpoint.map_err(|error| damaged("checkpoint", &error.to_string()))?;
        let (entries, times) = (read("entries")?, read("times")?);
        let mut seen = Vec::new();
        let mut times_end = 0;
        for line in String::from_utf8_lossy(&times).lines() {
            let parsed =
                line.split_once(' ').and_then(|(a, b)| Some((a.parse::<u64>().ok()?, b.parse().ok()?)));
            let (size, time): (u64, u64) = parsed.ok_or_else(|| damaged("times", "a line is no time"))?;
            if size > checkpoint.size {
                break;
            }
            seen.push((size, time));
            times_end += line.len() as u64 + 1;
        }
        let (mut rest, mut known) = (entries.as_slice(), Vec::new());
        let mut edge = Edge::new();
        let mut seen = seen.into_iter().peekable();
        while edge.size() < checkpoint.size {
            let (length, after) =
                rest.split_first_chunk().ok_or_else(|| damaged("entries", "it is too short"))?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) =
                after.split_at_checked(length).ok_or_else(|| damaged("entries", "it is too short"))?;
            edge.push(leaf_hash(entry));
            rest = after;
            // The time of the first line that reaches it.
            while seen.next_if(|(size, _)| *size < edge.size()).is_some() {}
            let time = seen.peek().ok_or_else(|| damaged("times", "it is too short"))?.1;
            known.push(Known { leaf: Leaf::decode(entry), seen: time });
        }
        edge.take();
        if edge.root() != checkpoint.root {
            return Err(damaged("entries", "they are not those of the checkpoint"));
        }
        self.ends = ((entries.len() - rest.len()) as u64, times_end);
        (self.edge, self.entries, self.checkpoint) = (edge, known, Some(checkpoint));
        Ok(())
    }

    /// The last checkpoint that fitted.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The entries.
    pub fn entries(&self) -> &[Known] {
        &self.entries
    }

    /// The root that the first `size` entries and these would have.
    pub(crate) fn grown(&self, entries: &[Vec<u8>]) -> Edge {
        let mut edge = self.edge.clone();
        entries.iter().for_each(|entry| edge.push(leaf_hash(entry)));
        edge.take();
        edge
    }

    /// The root of the first entries, computed from the copy.
    pub(crate) fn root_of(&self, size: u64) -> Result<Digest, MonitorError> {
        let path = self.dir.join("entries");
        let bytes = fs::read(&path).map_err(file("read", &path))?;
        let (mut rest, mut edge) = (bytes.as_slice(), Edge::new());
        while edge.size() < size {
            let short = || MonitorError::Damaged { path: path.clone(), why: "it is too short".to_owned() };
            let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or_else(short)?;
            edge.push(leaf_hash(entry));
            edge.take();
            rest = after;
        }
        Ok(edge.root())
    }

    /// Takes in entries that are new, and the checkpoint that they make. On
    /// return they are durable.
    pub(crate) fn take_in(
        &mut self,
        entries: &[Vec<u8>],
        edge: Edge,
        checkpoint: Checkpoint,
        note: &Note,
        now: u64,
    ) -> Result<(), MonitorError> {
        if !entries.is_empty() {
            let mut bytes = Vec::new();
            for entry in entries {
                // Longer entries do not come out of a bundle.
                let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(entry);
            }
            let time = format!("{} {now}\n", edge.size());
            self.append("entries", self.ends.0, &bytes)?;
            self.append("times", self.ends.1, time.as_bytes())?;
            self.ends = (self.ends.0 + bytes.len() as u64, self.ends.1 + time.len() as u64);
        } else if self.checkpoint.is_none() {
            self.append("entries", 0, &[])?;
            self.append("times", 0, &[])?;
        }
        let path = self.dir.join("checkpoint");
        let temporary = self.dir.join("checkpoint.new");
        let mut new = File::create(&temporary).map_err(file("create", &temporary))?;
        let written = new.write_all(note.to_string().as_bytes()).and_then(|()| new.sync_all());
        // From the rename on the entries above count.
        written
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(file("write", &path))?;
        let known = entries.iter().map(|entry| Known { leaf: Leaf::decode(entry), seen: now });
        self.entries.extend(known);
        (self.edge, self.checkpoint) = (edge, Some(checkpoint));
        Ok(())
    }

    /// Keeps a checkpoint that does not fit, as evidence.
    pub(crate) fn keep(&self, note: &[u8], name: &str) -> Result<(), MonitorError> {
        let path = self.dir.join(format!("odd-{name}"));
        match path.exists() {
            true => Ok(()),
            false => fs::write(&path, note).map_err(file("write", &path)),
        }
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<(), MonitorError> {
        use std::os::unix::fs::FileExt;
        let path = self.dir.join(name);
        let open = File::options().write(true).create(true).truncate(false).open(&path);
        let out = open.map_err(file("open", &path))?;
        // What a cut left behind the end goes first.
        out.set_len(at)
            .and_then(|()| out.write_all_at(bytes, at))
            .and_then(|()| out.sync_all())
            .map_err(file("write", &path))
    }
}

fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> MonitorError {
    let path = path.to_owned();
    move |error| MonitorError::File { doing, path: path.clone(), error }
}
