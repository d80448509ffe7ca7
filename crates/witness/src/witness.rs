//! The witness: decides, remembers, and only then signs.
//!
//! Knows nothing of HTTP: a body goes in, a status and a body come out. One
//! lock covers reading what was seen, the decision and writing it down: "the
//! check and the update MUST be atomic" (tlog-witness), or two requests at
//! once could both grow the same old tree.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use firmseal_tlog::{Decision, KnownLog, Request, Seen, VerifierKey, decide};

use crate::config::{Settings, TEMPLATE};
use crate::error::{WitnessError, file};
use crate::files;
use crate::key::CosignerKey;
use crate::memory::{self, Last, Memory};

/// Files of a witness, relative to its directory.
pub mod layout {
    /// The key.
    pub const KEY: &str = "witness.key";
    /// The settings.
    pub const SETTINGS: &str = "witness.toml";
    /// What it remembers.
    pub const MEMORY: &str = "seen";
}

/// An answer as HTTP sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Its content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// A log, and how far the witness has seen it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// The log's origin.
    pub origin: String,
    /// Entries of the last checkpoint that was cosigned; `None` before the
    /// first.
    pub size: Option<u64>,
    /// Root over them, in hex.
    pub root: Option<String>,
}

/// A witness.
pub struct Witness {
    key: CosignerKey,
    logs: Vec<KnownLog>,
    memory: Mutex<Memory>,
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Witness {
    /// Makes a witness's directory: key and settings. Returns the key that
    /// others verify with.
    pub fn create(dir: &Path, name: &str) -> Result<VerifierKey, WitnessError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(file("create", dir))?;
        if std::fs::read_dir(dir).map_err(file("list", dir))?.next().is_some() {
            return Err(WitnessError::Exists(dir.to_owned()));
        }
        let key = CosignerKey::create(&dir.join(layout::KEY), name)?;
        files::replace(&dir.join(layout::SETTINGS), TEMPLATE.as_bytes())?;
        Ok(key.verifier().clone())
    }

    /// Opens a witness. One process at a time has it.
    pub fn open(dir: &Path) -> Result<Witness, WitnessError> {
        let settings: PathBuf = dir.join(layout::SETTINGS);
        let logs = Settings::read(&settings)?.logs(&settings)?;
        let key = CosignerKey::read(&dir.join(layout::KEY))?;
        let memory = Memory::open(&dir.join(layout::MEMORY), key.verifier())?;
        Ok(Witness { key, logs, memory: Mutex::new(memory) })
    }

    /// The key that cosignatures verify with.
    pub fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The logs, as far as they were seen.
    pub fn watched(&self) -> Vec<Watched> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = |log: &KnownLog| {
            let seen = memory.last(&log.origin).map(|last| last.seen);
            Watched {
                origin: log.origin.clone(),
                size: seen.map(|seen| seen.size),
                root: seen.map(|seen| seen.root.to_string()),
            }
        };
        self.logs.iter().map(watched).collect()
    }

    /// What was last seen of a log.
    pub fn seen(&self, origin: &str) -> Option<Seen> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.last(origin).map(|last| last.seen)
    }

    /// Answers an add-checkpoint request at a time, in seconds since 1970.
    /// Blocks for the disk. When the answer is 200, that it was seen is
    /// durable.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Reply {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.is_broken() {
            return plain(500, "the witness's disk failed; it signs nothing until it is started again");
        }
        let known = |origin: &str| memory.last(origin).map(|last| last.seen).unwrap_or_default();
        let (origin, seen) = match decide(body, &self.logs, known) {
            Decision::Cosign { origin, seen, .. } => (origin, seen),
            Decision::Refuse(refusal) => {
                let (content_type, body) = refusal.body().unwrap_or((TEXT, format!("{}\n", word(&refusal))));
                return Reply { status: refusal.status(), content_type, body };
            }
        };
        // The note that was decided on, with the log's own lines: it is what
        // monitors are given. `decide` has parsed it, so this cannot fail.
        let Ok(Request { checkpoint, .. }) = Request::parse(body) else {
            return plain(400, "the request cannot be read");
        };
        // "The timestamp MUST NOT be 0": that would vouch for less.
        let line = self.key.cosign(checkpoint.text(), now.max(1));
        // Lines of others under the key of the log were not verified, and
        // are not handed on under our name.
        let keys = self.logs.iter().filter(|log| log.origin == origin).flat_map(|log| &log.keys);
        let keys: Vec<_> = keys.map(|key| (key.name(), key.id())).collect();
        let mut note = checkpoint.retained(|line| keys.contains(&(line.name(), line.id())));
        if note.push(line.clone()).is_err() {
            return plain(400, "the checkpoint has too many signatures");
        }
        // From here on this is what was seen. If we crash before the reply,
        // the log asks again and is told the size.
        match memory.remember(&origin, Last { seen, note }) {
            Ok(()) => {
                tracing::info!(origin, size = seen.size, "cosigned");
                Reply { status: 200, content_type: TEXT, body: format!("{line}\n") }
            }
            Err(error) => {
                tracing::error!(%error, "what was seen cannot be written down; nothing is cosigned any more");
                plain(500, "what was seen cannot be written down")
            }
        }
    }

    /// The last checkpoint of a log that was cosigned here, by SHA-256 of
    /// the log's origin in hex.
    pub fn checkpoint(&self, name: &str) -> Option<String> {
        let log = self.logs.iter().find(|log| memory::name(&log.origin) == name)?;
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.last(&log.origin).map(|last| last.note.to_string())
    }
}

fn plain(status: u16, why: &str) -> Reply {
    Reply { status, content_type: TEXT, body: format!("{why}\n") }
}

fn word(refusal: &firmseal_tlog::Refusal) -> &'static str {
    use firmseal_tlog::Refusal;
    match refusal {
        Refusal::BadRequest => "the request is malformed, or its old size is beyond the checkpoint",
        Refusal::Untrusted => "no trusted key of the log signed this checkpoint",
        Refusal::UnknownLog => "this witness does not watch that log",
        Refusal::Conflict(_) => "another size was seen last",
        Refusal::BadProof => "the checkpoint does not grow from what was seen",
    }
}
