//! The feeder: hash blocks and data in the order the verifier needs them.
//!
//! It works in spans, the data blocks under one hash block of level 0 (512
//! KiB for blocks of 4096 bytes). A span that the active slot holds
//! already, wholly or at its edges, is copied from there; the rest is read
//! from the source in ranges that grow with every span that had to be
//! fetched, so a new image comes in large ranges and a small change costs
//! little more than itself.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::LEVELS_MAX;
use firmseal_core::tree::HashBlock;
use firmseal_core::{Tree, Verifier};

use crate::error::Error;
use crate::fetch::{Counts, Out, Piece, Stopped};
use crate::files::File;
use crate::source::{Blob, Kind, Source};

/// Longest range of data that is asked for at once.
const RANGE_MAX: u64 = 32 * 1024 * 1024;
/// Hash blocks that are asked for at once, in bytes per level.
const TREE_WINDOW: u64 = 256 * 1024;
/// The time over which a carrier's speed is judged.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limits of what is taken from metered carriers.
pub(crate) struct Meter {
    /// Bytes left, and the budget they were part of.
    pub(crate) budget: Option<(AtomicU64, u64)>,
    /// Bytes per second that a carrier must deliver.
    pub(crate) minimum_rate: u64,
}

/// What feeds one payload.
pub(crate) struct Feed<'a> {
    pub(crate) tree: Tree,
    pub(crate) data: Blob,
    pub(crate) source: &'a dyn Source,
    pub(crate) active: Option<Box<dyn File>>,
    pub(crate) meter: &'a Meter,
}

enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Halt {
        Halt::Stopped
    }
}

impl From<Error> for Halt {
    fn from(err: Error) -> Halt {
        Halt::Failed(err)
    }
}

impl Feed<'_> {
    /// Feeds every block from `first` on.
    pub(crate) fn run(self, first: u64, out: Out) -> Counts {
        let mut counts = Counts { resumed: first, ..Counts::default() };
        if let Err(Halt::Failed(err)) = self.feed(first, &out, &mut counts) {
            // Nobody listens if the verifier has stopped as well.
            let _ = out.send(Piece::Failed(err));
        }
        counts
    }

    fn feed(&self, first: u64, out: &Out, counts: &mut Counts) -> Result<(), Halt> {
        let tree = &self.tree;
        let mut memory = vec![0; tree.memory()];
        // The feeder's own verifier, to recognise blocks of the active slot.
        // What it accepts is checked once more on its way to the slot.
        let mut own = Verifier::new(*tree, RustCrypto, &mut memory).map_err(Error::from)?;
        let mut hashes = Hashes { feed: self, windows: Default::default() };
        let mut stream: Option<Stream<'_>> = None;
        let block = tree.block().bytes() as u64;
        let per_span = block / 32;
        let mut ahead = if self.active.is_some() { per_span * block } else { RANGE_MAX };
        let mut next = first;
        while next < tree.blocks() {
            while let Some(want) = own.wants(next) {
                let bytes = hashes.block(want)?;
                own.supply(want, &bytes).map_err(|refusal| Error::refused(refusal, &bytes))?;
                out.send(Piece::Hash(want, bytes))?;
            }
            // To the end of this hash block's reach.
            let end = ((next / per_span + 1) * per_span).min(tree.blocks());
            let (from, to) = (next * block, (end * block).min(tree.size()));
            let mut bytes = out.buffer()?;
            // What a reused buffer holds is overwritten to the last byte.
            bytes.resize((to - from) as usize, 0);

            // While a range is open its bytes are on their way already.
            let missing = match &stream {
                Some(_) => Some((next, end)),
                None => self.probe(&mut own, next, end, &mut bytes).map_err(Halt::Failed)?,
            };
            match missing {
                None => ahead = per_span * block,
                Some((lack, until)) => {
                    let (low, high) = (lack * block, (until * block).min(tree.size()));
                    let reading = match &mut stream {
                        Some(reading) => reading,
                        None => {
                            // Beyond this span only if the span lacks its end.
                            let reach = if until == end { (low + ahead).max(high) } else { high };
                            ahead = (2 * ahead).min(RANGE_MAX);
                            stream.insert(Stream::new(self, self.data, low, reach.min(tree.size())))
                        }
                    };
                    // Where a range ends within a span the rest is fetched
                    // by itself.
                    let middle = &mut bytes[(low - from) as usize..(high - from) as usize];
                    let here = (reading.end - low).min(middle.len() as u64) as usize;
                    reading.fill(&mut middle[..here])?;
                    if here < middle.len() {
                        let mut rest = Stream::new(self, self.data, low + here as u64, high);
                        rest.fill(&mut middle[here..])?;
                        stream = None;
                    } else if reading.at == reading.end {
                        stream = None;
                    }
                    counts.fetched += until - lack;
                    counts.copied += (end - next) - (until - lack);
                }
            }
            if missing.is_none() {
                counts.copied += end - next;
            }
            out.send(Piece::Data { first: next, bytes })?;
            next = end;
        }
        Ok(())
    }

    /// Fills in what the active slot holds of a span. Returns the blocks,
    /// from the first to the last, that it does not.
    fn probe(
        &self,
        own: &mut Verifier<'_, RustCrypto>,
        first: u64,
        end: u64,
        bytes: &mut [u8],
    ) -> Result<Option<(u64, u64)>, Error> {
        let Some(active) = &self.active else { return Ok(Some((first, end))) };
        let size = self.tree.block().bytes();
        // An active slot that cannot be read has nothing to give.
        let held = active.read_full_at(bytes, first * size as u64).unwrap_or(0);
        let (mut low, mut high) = (None, first);
        for (index, block) in (first..end).zip(bytes.chunks(size)) {
            let at = (index - first) as usize * size;
            if at + block.len() > held || own.check(index, block).is_err() {
                low = low.or(Some(index));
                high = index + 1;
            }
        }
        Ok(low.map(|low| (low, high)))
    }
}

/// Hash blocks, fetched in windows level by level.
struct Hashes<'f> {
    feed: &'f Feed<'f>,
    windows: [(u64, Vec<u8>); LEVELS_MAX],
}

impl Hashes<'_> {
    fn block(&mut self, want: HashBlock) -> Result<Vec<u8>, Error> {
        let tree = &self.feed.tree;
        let size = tree.block().bytes();
        let (start, window) = &mut self.windows[want.level];
        let inside = want.offset.checked_sub(*start).filter(|at| at + size as u64 <= window.len() as u64);
        let at = match inside {
            Some(at) => at as usize,
            None => {
                let level_end = tree.level_offset(want.level) + tree.level_blocks(want.level) * size as u64;
                let len = (level_end - want.offset).min(TREE_WINDOW);
                window.clear();
                window.resize(len as usize, 0);
                *start = want.offset;
                let blob = Blob { kind: Kind::Tree, len: tree.hash_bytes(), ..self.feed.data };
                Stream::new(self.feed, blob, want.offset, want.offset + len).fill(window)?;
                0
            }
        };
        Ok(window[at..at + size].to_vec())
    }
}

/// A range of a blob that is read to its end, over as many connections as
/// it takes while each of them brings something.
struct Stream<'f> {
    feed: &'f Feed<'f>,
    blob: Blob,
    at: u64,
    end: u64,
    open: Option<Box<dyn Read + Send + 'f>>,
    pace: Pace,
}

/// How fast a carrier delivers, judged once in every [`PATIENCE`].
struct Pace {
    since: Instant,
    got: u64,
}

impl Pace {
    /// Notes bytes that came; the bytes and seconds that were too few and
    /// too many, where the carrier is too slow.
    fn note(&mut self, count: u64, now: Instant, minimum: u64) -> Result<(), (u64, u64)> {
        self.got += count;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < PATIENCE {
            return Ok(());
        }
        let (got, seconds) = (self.got, elapsed.as_secs());
        (self.since, self.got) = (now, 0);
        if got < minimum.saturating_mul(seconds) { Err((got, seconds)) } else { Ok(()) }
    }
}

impl<'f> Stream<'f> {
    fn new(feed: &'f Feed<'f>, blob: Blob, at: u64, end: u64) -> Stream<'f> {
        Stream { feed, blob, at, end, open: None, pace: Pace { since: Instant::now(), got: 0 } }
    }

    /// Reads the next `buffer.len()` bytes. Whatever lengths the carrier
    /// announced, never more are taken than the signed facts say.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        let mut fruitless = false;
        while filled < buffer.len() {
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(self.feed.source.open(&self.blob, self.at, self.end - self.at)?),
            };
            let why = match open.read(&mut buffer[filled..]) {
                Ok(0) => "it ended early".to_owned(),
                Ok(count) => {
                    (filled, self.at, fruitless) = (filled + count, self.at + count as u64, false);
                    self.account(count as u64)?;
                    continue;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {
                    // A carrier without ranges makes us pay for what nobody
                    // asked for: it counts, or it could spend a data plan.
                    self.account(self.feed.source.skipped())?;
                    continue;
                }
                Err(err) => err.to_string(),
            };
            // Once more from here; a second time without a byte is enough.
            self.open = None;
            if fruitless {
                return Err(self.carrier(why));
            }
            fruitless = true;
        }
        Ok(())
    }

    fn account(&mut self, count: u64) -> Result<(), Error> {
        if !self.feed.source.is_metered() {
            return Ok(());
        }
        if let Some((left, budget)) = &self.feed.meter.budget {
            // One feeder runs at a time: load and store do not race.
            let before = left.load(Ordering::Relaxed);
            left.store(before.saturating_sub(count), Ordering::Relaxed);
            if before < count {
                return Err(Error::BudgetSpent(*budget));
            }
        }
        self.pace
            .note(count, Instant::now(), self.feed.meter.minimum_rate)
            .map_err(|(got, seconds)| self.carrier(format!("only {got} bytes came in {seconds} s")))
    }

    fn carrier(&self, why: String) -> Error {
        Error::Carrier { what: format!("{} at {}", self.blob, self.at), why }
    }
}

#[cfg(test)]
mod tests {
    use super::{PATIENCE, Pace};
    use std::time::{Duration, Instant};

    #[test]
    fn a_carrier_that_drips_is_left() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace { since: start, got: 0 };
        // 1000 bytes a second: judged at the end of a minute, not before.
        assert_eq!(pace.note(1, at(59), 1000), Ok(()));
        assert_eq!(pace.note(59_999, at(60), 1000), Ok(()), "exactly enough");
        assert_eq!(pace.note(59_999, at(120), 1000), Err((59_999, 60)), "one byte too few");
        // What came before does not help a carrier that slows down.
        assert_eq!(pace.note(1_000_000_000, at(180), 1000), Ok(()));
        assert_eq!(pace.note(10, at(240), 1000), Err((10, 60)));
        assert_eq!(pace.note(0, at(240) + 2 * PATIENCE, u64::MAX), Err((0, 120)), "no overflow");
    }
}
