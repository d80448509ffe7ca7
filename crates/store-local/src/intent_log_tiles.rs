//! The intent log as the world sees it: checkpoint, tiles and entry bundles
//! (C2SP tlog-tiles), made from the ledger.
//!
//! ```text
//! intents.log            the ledger: what is durable, and in which order
//! intents.key            the log's key
//! intents.ml-dsa-44.key  the one that signs beside it
//! intents.new            a file that is being written
//! intents.tiles/         to be served as it is, by anybody
//!   checkpoint
//!   tile/0/000 ...
//!   tile/entries/000 ...
//! ```
//!
//! The ledger decides, the tiles follow: an entry has its index once the
//! ledger is synced, and [`LogTiles::catch_up`] brings the tiles to where
//! the ledger is. Start-up calls the same function. Killed at any point, it
//! is done again from the last checkpoint: tiles beyond it are written over
//! with the same bytes, since the ledger only grows. So a log of before
//! there were tiles gets them on its first opening, and a torn end of the
//! ledger is no case here: what was cut off was never acknowledged, and
//! never published.
//!
//! What must never happen is two checkpoints that do not agree. Opening
//! computes the root of the ledger's first entries anew and compares it
//! with the checkpoint; a ledger that is shorter or another (a restored
//! half of a backup) is refused, and nothing is logged.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use firmseal_manifest::Digest;
use firmseal_store::StoreError;
use firmseal_tlog::{
    Checkpoint, Edge, Error, Prover, Tile, Tiles, VerifierKey, WIDTH, encode_bundle, leaf_hash,
    verify_consistency, verify_inclusion,
};
use firmseal_trust::FreshnessSpec;

use crate::directory::{create, remove, sync_dir};
use crate::error::file;
use crate::intent_log_key::{LogKey, parent};
use crate::ledger::Ledger;

/// Most entries between two checkpoints: bounds the memory of a log that
/// has much to catch up with.
const STEP: u64 = 64 * 1024;

/// The published log. One thread owns it, together with the ledger.
pub(crate) struct LogTiles {
    files: Files,
    temporary: PathBuf,
    key: LogKey,
    edge: Edge,
    /// The checkpoint on disk, byte for byte; empty before the first.
    checkpoint: Vec<u8>,
    /// Whether it was made before one of the keys was.
    half_signed: bool,
}

impl LogTiles {
    /// Opens what was published of a ledger at `path`, and checks that the
    /// ledger is the one it was made from.
    pub(crate) fn open(path: &Path, ledger: &Ledger) -> Result<LogTiles, StoreError> {
        let files = Files { root: path.with_extension("tiles") };
        let temporary = path.with_extension("new");
        let checkpoint = files.checkpoint()?;
        let key = LogKey::open(path, &temporary, &checkpoint)?;
        let mut log = LogTiles { files, temporary, key, edge: Edge::new(), checkpoint, half_signed: false };
        if log.checkpoint.is_empty() {
            return Ok(log);
        }
        let verifier = log.key.verifier();
        let corrupt = |error| StoreError::corrupt(format!("the log's checkpoint ({error})"));
        let (published, note) =
            Checkpoint::open(&log.checkpoint, verifier, verifier.name()).map_err(corrupt)?;
        log.half_signed = !log.key.have_signed(&note).map_err(corrupt)?;
        if published.size > ledger.count() {
            return Err(StoreError::corrupt(format!(
                "the intent log has {} entries where its checkpoint names {}; it",
                ledger.count(),
                published.size
            )));
        }
        while log.edge.size() < published.size {
            for entry in entries(ledger, log.edge.size(), published.size)? {
                log.edge.push(leaf_hash(&entry));
            }
            // These are on disk: the checkpoint came after them.
            log.edge.take();
        }
        match log.edge.root() == published.root {
            true => Ok(log),
            false => Err(StoreError::corrupt(
                "the intent log is not the one that its checkpoint was made from; it",
            )),
        }
    }

    /// How many entries the checkpoint covers.
    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The signed checkpoint.
    pub(crate) fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// The key that checkpoints verify with.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The keys that sign them, that one first.
    pub(crate) fn verifiers(&self) -> &[VerifierKey] {
        self.key.verifiers()
    }

    /// What is to be served.
    pub(crate) fn root(&self) -> &Path {
        &self.files.root
    }

    /// Whether there is something to publish.
    pub(crate) fn is_behind(&self, ledger: &Ledger) -> bool {
        self.half_signed || self.size() < ledger.count()
    }

    /// Publishes everything in the ledger. Nothing to do is no work, but
    /// the first checkpoint, over an empty log, counts as something.
    pub(crate) fn catch_up(&mut self, ledger: &Ledger) -> Result<(), StoreError> {
        while self.checkpoint.is_empty() || self.is_behind(ledger) {
            let to = ledger.count().min(self.size() + STEP);
            self.step(ledger, to)?;
        }
        Ok(())
    }

    fn step(&mut self, ledger: &Ledger, to: u64) -> Result<(), StoreError> {
        // On a copy: after an error the next attempt begins where this did.
        let mut edge = self.edge.clone();
        let mut dirs = BTreeSet::new();
        // The bundle at the end begins before what is new.
        let mut bundle: Vec<Vec<u8>> = Vec::new();
        let mut next = self.size() - self.size() % WIDTH;
        while next < to {
            for entry in entries(ledger, next, to)? {
                if next >= self.size() {
                    edge.push(leaf_hash(&entry));
                }
                bundle.push(entry);
                next += 1;
                if bundle.len() as u64 == WIDTH || next == to {
                    let tile = Tile { level: 0, index: (next - 1) / WIDTH, width: bundle.len() as u64 };
                    let bytes = encode_bundle(&bundle).map_err(|error| trouble(&error))?;
                    self.write(&tile.entries_path(), &bytes, &mut dirs)?;
                    bundle.clear();
                }
            }
        }
        let tiles = edge.take();
        for (tile, bytes) in &tiles {
            self.write(&tile.path(), bytes, &mut dirs)?;
        }
        dirs.iter().try_for_each(|dir| sync_dir(dir))?;
        // Compare and swap. The ledger's lock keeps other processes of ours
        // away; this notices whoever has no respect for it.
        if self.files.checkpoint()? != self.checkpoint {
            return Err(StoreError::conflict(
                "somebody else wrote the log's checkpoint; stop the other server, then start again",
            ));
        }
        let checkpoint = Checkpoint {
            origin: self.verifier().name().to_owned(),
            size: edge.size(),
            root: edge.root(),
            extensions: Vec::new(),
        };
        // A clock before 1970 is as good as none.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs().max(1));
        let note = self.key.sign(&checkpoint, now).map_err(|error| trouble(&error))?;
        let note = note.to_string().into_bytes();
        dirs.clear();
        // From the rename on the world may see it. If we crash now, the
        // ledger already has every entry it covers, and start-up finds the
        // root equal.
        self.write("checkpoint", &note, &mut dirs)?;
        // Known from here on, whatever the sync below says: a later attempt
        // must begin at what is there.
        (self.edge, self.checkpoint, self.half_signed) = (edge, note, false);
        dirs.iter().try_for_each(|dir| sync_dir(dir))?;
        // A partial tile may go once the full one is there (tlog-tiles); one
        // that stays does no harm.
        for (tile, _) in tiles.iter().filter(|(tile, _)| tile.is_full()) {
            self.files.forget_partial(&tile.path());
            if tile.level == 0 {
                self.files.forget_partial(&tile.entries_path());
            }
        }
        Ok(())
    }

    /// Signs which revocation is the newest, beside a checkpoint.
    pub(crate) fn vouch(
        &self,
        checkpoint: firmseal_manifest::Checkpoint,
        revocation: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let sealed = self.key.seal(&FreshnessSpec { checkpoint, revocation });
        sealed.map_err(|error| StoreError::corrupt(format!("the log's key ({error})")))
    }

    /// Proves an entry in the log of the first `size` entries, and these in
    /// what is published. Checked here: damaged tiles prove nothing.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        let root = self.root_of(size)?;
        let prover = Prover::new(&self.files, size);
        let proof = prover.inclusion(index).map_err(|error| trouble(&error))?;
        let leaf = prover.leaf(index).map_err(|error| trouble(&error))?;
        verify_inclusion(&leaf, index, size, &proof, &root).map_err(|error| trouble(&error))?;
        Ok(proof)
    }

    /// Proves that the log of `size` entries begins with that of `old`.
    pub(crate) fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        let (root, old_root) = (self.root_of(size)?, self.root_of(old)?);
        let proof = Prover::new(&self.files, size).consistency(old).map_err(|error| trouble(&error))?;
        verify_consistency(old, size, &proof, &old_root, &root).map_err(|error| trouble(&error))?;
        Ok(proof)
    }

    /// The root over the first entries, as the published one vouches for.
    fn root_of(&self, size: u64) -> Result<Digest, StoreError> {
        if size == self.size() {
            return Ok(self.edge.root());
        }
        let published = Prover::new(&self.files, self.size());
        let proof = published.consistency(size).map_err(|error| trouble(&error))?;
        let root = Prover::new(&self.files, size).root().map_err(|error| trouble(&error))?;
        verify_consistency(size, self.size(), &proof, &root, &self.edge.root())
            .map_err(|error| trouble(&error))?;
        Ok(root)
    }

    /// Gives a path its bytes, whole or not at all. The caller syncs `dirs`.
    fn write(&self, path: &str, bytes: &[u8], dirs: &mut BTreeSet<PathBuf>) -> Result<(), StoreError> {
        let path = self.files.root.join(path);
        let dir = parent(&path);
        // A new directory is a name in the one above, up to the one that
        // the ledger lies in.
        let mut above = dir.as_path();
        while !above.exists() {
            dirs.insert(above.to_owned());
            match above.parent() {
                Some(next) => above = next,
                None => break,
            }
        }
        dirs.insert(above.to_owned());
        dirs.insert(dir.clone());
        fs::create_dir_all(&dir).map_err(file("create", &dir))?;
        remove(&self.temporary)?;
        let mut new = create(&self.temporary)?;
        new.write_all(bytes).and_then(|()| new.sync_all()).map_err(file("write", &path))?;
        fs::rename(&self.temporary, &path).map_err(file("name", &path))
    }
}

/// The leaves from `from` on, some of them at least, none from `to` on.
fn entries(ledger: &Ledger, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let limit = usize::try_from(to - from).unwrap_or(usize::MAX);
    let entries = ledger.read(from, limit)?;
    match entries.is_empty() {
        true => Err(StoreError::corrupt("the intent log, which ends too early,")),
        false => Ok(entries.into_iter().map(|entry| entry.leaf).collect()),
    }
}

fn trouble(error: &Error) -> StoreError {
    match error {
        Error::OutOfRange { size, asked } => {
            StoreError::not_found(format!("entry or size {asked} in a log of {size} published entries"))
        }
        other => StoreError::corrupt(format!("the published log ({other})")),
    }
}

/// The files that are served.
struct Files {
    root: PathBuf,
}

impl Files {
    /// The checkpoint; empty where there is none.
    fn checkpoint(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.root.join("checkpoint");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(file("read", &path)),
        }
    }

    fn forget_partial(&self, full: &str) {
        let _ = fs::remove_dir_all(self.root.join(format!("{full}.p")));
    }
}

impl Tiles for Files {
    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        let open = |tile: Tile| File::open(self.root.join(tile.path()));
        let bytes = open(tile).or_else(|_| open(tile.full())).and_then(|file| {
            let mut bytes = Vec::new();
            // One byte more than a full tile shows that there is too much.
            io::Read::read_to_end(&mut io::Read::take(file, WIDTH * 32 + 1), &mut bytes)?;
            Ok(bytes)
        });
        bytes.map_err(|error| Error::Unreadable { tile: tile.path(), why: error.to_string() })
    }
}
