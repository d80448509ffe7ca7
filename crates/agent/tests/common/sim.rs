//! A file system in memory that loses power: from the chosen operation on
//! everything fails, and at the next start part of what was not synced is
//! gone, with the last write torn.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use firmseal_agent::files::{Access, File, Files};

#[derive(Clone, Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Default)]
struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since the directory was synced, in order.
    pending: Vec<Change>,
    operations: u64,
    cut_at: Option<u64>,
    locked: bool,
    seed: u64,
    /// Bytes that all files together may have.
    room: Option<u64>,
}

/// The file system.
#[derive(Clone, Default)]
pub struct SimFiles(Arc<Mutex<Disk>>);

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Link(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Unlink(path) => {
            names.remove(path);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

impl Disk {
    /// Counts an operation that changes something; fails once power is gone.
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.cut_at {
            Some(at) if self.operations >= at => Err(io::Error::other("power is gone")),
            _ => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.cut_at {
            Some(at) if self.operations >= at => Err(io::Error::other("power is gone")),
            _ => Ok(()),
        }
    }

    fn draw(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as usize) % bound.max(1)
    }
}

fn write_into(bytes: &mut Vec<u8>, at: u64, piece: &[u8]) {
    let end = at as usize + piece.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at as usize..end].copy_from_slice(piece);
}

impl SimFiles {
    /// Another disk with the same content.
    pub fn fork(&self) -> SimFiles {
        let disk = Disk { locked: false, ..self.0.lock().unwrap().clone() };
        SimFiles(Arc::new(Mutex::new(disk)))
    }

    /// Operations that changed something so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// Cuts the power at the `at`-th operation from now.
    pub fn cut_after(&self, at: u64) {
        let mut disk = self.0.lock().unwrap();
        disk.cut_at = Some(disk.operations + at);
    }

    pub fn set_room(&self, room: Option<u64>) {
        self.0.lock().unwrap().room = room;
    }

    pub fn was_cut(&self) -> bool {
        self.0.lock().unwrap().alive().is_err()
    }

    /// Power is back. Of what was not synced any part may have survived:
    /// each write wholly, not at all, or torn; names in their order.
    pub fn restart(&self, seed: u64) {
        let mut disk = self.0.lock().unwrap();
        disk.seed = seed;
        let pending = std::mem::take(&mut disk.pending);
        let survive = disk.draw(pending.len() + 1);
        let mut names = std::mem::take(&mut disk.durable_names);
        for change in &pending[..survive] {
            apply(&mut names, change);
        }
        disk.names = names.clone();
        disk.durable_names = names;
        for index in 0..disk.nodes.len() {
            let mut bytes = std::mem::take(&mut disk.nodes[index].durable);
            for (at, piece) in std::mem::take(&mut disk.nodes[index].pending) {
                let kept = match disk.draw(3) {
                    0 => 0,
                    1 => piece.len(),
                    _ => disk.draw(piece.len() + 1),
                };
                write_into(&mut bytes, at, &piece[..kept]);
            }
            disk.nodes[index] = Node { now: bytes.clone(), durable: bytes, pending: Vec::new() };
        }
        disk.cut_at = None;
        disk.locked = false;
    }

    /// What a file holds.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.0.lock().unwrap();
        disk.names.get(path).map(|node| disk.nodes[*node].now.clone())
    }

    /// Overwrites a file's bytes behind everybody's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock().unwrap();
        let node = disk.names[path];
        change(&mut disk.nodes[node].now);
        disk.nodes[node].durable = disk.nodes[node].now.clone();
    }

    /// Every file with its content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.0.lock().unwrap();
        disk.names.iter().map(|(path, node)| (path.clone(), disk.nodes[*node].now.clone())).collect()
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut disk = self.0.lock().unwrap();
        disk.alive()?;
        let node = match disk.names.get(path).copied() {
            Some(node) if access == Access::Replace => {
                disk.step()?;
                disk.nodes[node] = Node::default();
                node
            }
            Some(node) => node,
            None if access == Access::Read => return Err(io::ErrorKind::NotFound.into()),
            None => {
                disk.step()?;
                disk.nodes.push(Node::default());
                let node = disk.nodes.len() - 1;
                disk.names.insert(path.to_owned(), node);
                disk.pending.push(Change::Link(path.to_owned(), node));
                node
            }
        };
        Ok(Box::new(SimFile { disk: self.0.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        let change = Change::Rename(from.to_owned(), to.to_owned());
        apply(&mut disk.names, &change);
        disk.pending.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.alive()?;
        if disk.names.contains_key(path) {
            disk.step()?;
            disk.names.remove(path);
            disk.pending.push(Change::Unlink(path.to_owned()));
        }
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.0.lock().unwrap().alive()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        // One directory stands for all: it makes more durable, never less
        // than it should, within the one that was asked for.
        disk.durable_names = disk.names.clone();
        disk.pending.clear();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut disk = self.0.lock().unwrap();
        disk.alive()?;
        if std::mem::replace(&mut disk.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(self.0.clone()))))
    }
}

struct Held(Arc<Mutex<Disk>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().unwrap().locked = false;
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    node: usize,
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock().unwrap();
        disk.alive()?;
        Ok(disk.nodes[self.node].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock().unwrap();
        disk.alive()?;
        let bytes = &disk.nodes[self.node].now;
        let from = bytes.len().min(offset as usize);
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        let step = disk.step();
        if step.is_err() {
            // The write that the cut interrupts may be torn as well.
            let torn = bytes[..bytes.len() / 2].to_vec();
            if disk.cut_at == Some(disk.operations) {
                disk.nodes[self.node].pending.push((offset, torn));
            }
            return step;
        }
        if let Some(room) = disk.room {
            let used: usize = disk.nodes.iter().map(|node| node.now.len()).sum();
            let grows = (offset as usize + bytes.len()).saturating_sub(disk.nodes[self.node].now.len());
            if (used + grows) as u64 > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let node = &mut disk.nodes[self.node];
        write_into(&mut node.now, offset, bytes);
        node.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.step()?;
        let node = &mut disk.nodes[self.node];
        node.durable = node.now.clone();
        node.pending.clear();
        Ok(())
    }
}
