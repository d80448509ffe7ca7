//! Following the log: its newest checkpoint, what is new in it, and whether
//! it grows from what was seen.
//!
//! The entries themselves are downloaded and hashed: no proof made by the
//! log is believed, and none is needed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_outbound::Endpoint;
use firmseal_tlog::{Checkpoint, ENTRY_MAX, Error, NOTE_MAX, Note, Tile, VerifierKey, WIDTH, decode_bundle};

use crate::error::MonitorError;
use crate::finding::{Finding, Kind};
use crate::memory::Memory;

/// Longest entry bundle.
const BUNDLE_MAX: usize = WIDTH as usize * (ENTRY_MAX + 2);
/// Most entries, and most bytes of them, by which the log may grow between
/// two looks: a checkpoint can name any number.
const GROWTH_MAX: u64 = 1 << 20;
const BYTES_MAX: usize = 512 << 20;

/// Whom the monitor believes.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The log's Ed25519 key; its name is the origin.
    pub log: VerifierKey,
    /// Its keys of other kinds, which must have signed as well.
    pub beside: Vec<VerifierKey>,
    /// The witnesses' keys.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// Seconds after which cosignatures are old.
    pub stale: u64,
}

/// Where a log is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At an address: the one above `checkpoint` and `tile/`.
    Web(&'a Endpoint),
    /// In a directory that holds `checkpoint` and `tile/`.
    Files(&'a Path),
}

impl<'a> From<&'a Endpoint> for Place<'a> {
    fn from(endpoint: &'a Endpoint) -> Place<'a> {
        Place::Web(endpoint)
    }
}

impl<'a> From<&'a Path> for Place<'a> {
    fn from(directory: &'a Path) -> Place<'a> {
        Place::Files(directory)
    }
}

/// What a look at the log came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Entries that its checkpoint names; 0 where none can be believed.
    pub size: u64,
}

/// Looks at the log once. The memory grows where everything fits, and stays
/// where it does not.
pub async fn follow<'a>(
    log: impl Into<Place<'a>>,
    trusted: &Trusted,
    memory: &mut Memory,
    now: u64,
) -> Result<Followed, MonitorError> {
    let log = log.into();
    let fetched = fetch(log, "checkpoint", NOTE_MAX).await?;
    if fetched.status != 200 {
        return Err(MonitorError::Status { path: "checkpoint".to_owned(), status: fetched.status });
    }
    let mut followed = Followed { findings: Vec::new(), size: 0 };
    let keys: Vec<_> = std::iter::once(&trusted.log).chain(&trusted.beside).cloned().collect();
    let opened = Checkpoint::open_all(&fetched.body, &keys, trusted.log.name());
    let (checkpoint, note) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            followed.findings.push(Finding::new(Kind::BadSignature, "checkpoint", error));
            return Ok(followed);
        }
    };
    followed.size = checkpoint.size;
    followed.findings.extend(witnessed(&note, trusted, now));
    let odd = |kind, detail: &str| {
        let name = format!("{}-{}", checkpoint.size, RustCrypto.digest(&fetched.body));
        memory.keep(&fetched.body, &name)?;
        Ok::<_, MonitorError>(Finding::new(kind, checkpoint.size, detail))
    };
    if checkpoint.size < memory.size() {
        // Older, or another history: the copy tells.
        let finding = match memory.root_of(checkpoint.size)? == checkpoint.root {
            true => odd(Kind::Rollback, &format!("{} entries had been seen", memory.size()))?,
            false => odd(Kind::SplitView, "its first entries are not those that were seen")?,
        };
        followed.findings.push(finding);
        return Ok(followed);
    }
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    while memory.size() + (entries.len() as u64) < checkpoint.size {
        let from = memory.size() + entries.len() as u64;
        let more = match bytes <= BYTES_MAX && checkpoint.size - memory.size() <= GROWTH_MAX {
            true => bundle(log, checkpoint.size, from).await?,
            false => None,
        };
        let Some(more) = more else {
            let detail = format!("the entries from {from} on cannot be had, are no bundle, or are too many");
            followed.findings.push(Finding::new(Kind::Incomplete, checkpoint.size, detail));
            return Ok(followed);
        };
        bytes += more.iter().map(Vec::len).sum::<usize>();
        entries.extend(more);
    }
    let edge = memory.grown(&entries);
    if edge.root() != checkpoint.root {
        // Before anything was seen there is nothing that it could differ
        // from; then it merely serves other entries than it signs.
        let kind = if memory.size() == 0 { Kind::Incomplete } else { Kind::SplitView };
        followed.findings.push(odd(kind, "its entries and what was seen do not make its root")?);
        return Ok(followed);
    }
    memory.take_in(&entries, edge, checkpoint, &note, now)?;
    let known = memory.entries().iter().zip(0u64..).filter(|(known, _)| known.leaf.is_none());
    let unreadable = known.map(|(_, index)| {
        Finding::new(Kind::Unreadable, index, "the entry is no intent, no event and nothing about an LMS key")
    });
    followed.findings.extend(unreadable);
    followed.findings.extend(crate::leaves::reused(memory.entries()));
    Ok(followed)
}

/// What is wrong with the cosignatures.
pub(crate) fn witnessed(note: &Note, trusted: &Trusted, now: u64) -> Option<Finding> {
    let mut times = Vec::new();
    match note.verify(&trusted.witnesses) {
        Ok(verified) => times.extend(verified.into_iter().filter_map(|verified| verified.time)),
        Err(Error::Unsigned) => {}
        Err(error) => return Some(Finding::new(Kind::BadCosignature, "checkpoint", error)),
    }
    if times.len() < trusted.quorum {
        let detail = format!("{} of {} witnesses have cosigned", times.len(), trusted.quorum);
        return Some(Finding::new(Kind::NoQuorum, "checkpoint", detail));
    }
    // As old as the youngest that completes the quorum.
    times.sort_unstable_by(|a, b| b.cmp(a));
    let time = times.get(trusted.quorum.checked_sub(1)?)?;
    let age = now.saturating_sub(*time);
    (age > trusted.stale).then(|| {
        Finding::new(
            Kind::Stale,
            "checkpoint",
            format!("a quorum cosigned it {age} seconds ago, and none since"),
        )
    })
}

/// The entries from an index on, as far as one bundle has them.
async fn bundle(log: Place<'_>, size: u64, from: u64) -> Result<Option<Vec<Vec<u8>>>, MonitorError> {
    let Some(tile) = Tile::of(size, 0, from / WIDTH) else { return Ok(None) };
    let mut fetched = fetch(log, &tile.entries_path(), BUNDLE_MAX).await?;
    // "A partial tile may be deleted once the full one is there"
    // (tlog-tiles).
    if fetched.status == 404 && !tile.is_full() {
        fetched = fetch(log, &tile.full().entries_path(), BUNDLE_MAX).await?;
    }
    match fetched.status {
        200 => {}
        404 | 410 => return Ok(None),
        status => return Err(MonitorError::Status { path: tile.entries_path(), status }),
    }
    let Ok(entries) = decode_bundle(&fetched.body) else { return Ok(None) };
    let (skip, width) = ((from % WIDTH) as usize, tile.width as usize);
    let wanted = entries.get(skip..width).filter(|wanted| !wanted.is_empty());
    Ok(wanted.map(|wanted| wanted.iter().map(|entry| entry.to_vec()).collect()))
}

/// What stands under a path, as the web says it.
struct Fetched {
    status: u16,
    body: Vec<u8>,
}

async fn fetch(log: Place<'_>, path: &str, max: usize) -> Result<Fetched, MonitorError> {
    match log {
        Place::Web(log) => {
            let fetched = log.get(path, max).await;
            let fetched = fetched.map_err(|error| MonitorError::Log { path: path.to_owned(), error })?;
            Ok(Fetched { status: fetched.status, body: fetched.body.into() })
        }
        Place::Files(directory) => {
            let path = directory.join(path);
            match read(&path, max) {
                Ok(body) => Ok(Fetched { status: 200, body }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok(Fetched { status: 404, body: Vec::new() })
                }
                Err(error) => Err(MonitorError::File { doing: "read", path, error }),
            }
        }
    }
}

/// A file, if it is no longer than that.
pub(crate) fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > max {
        true => Err(io::Error::other(format!("it is longer than {max} bytes"))),
        false => Ok(bytes),
    }
}
