//! Fetching one payload: from a source, through the verifier, to the slot.
//!
//! Three things run side by side: this module's feeder brings hash blocks
//! and data, the caller's thread checks every block, and the slot's own
//! thread writes. Buffers go round, from the feeder through both others and
//! back; memory is their number, whatever the size of the payload.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::tree::HashBlock;
use firmseal_core::{Streamed, Tree, Verifier};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feed::Feed;
use crate::slot::{InactiveSlot, Span, Syncing};

/// Spans in flight between the feeder and the slot.
const SPANS: usize = 12;

/// A payload that is written, if not yet durable.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) counts: Counts,
    pub(crate) syncing: Option<Syncing>,
    /// This run has checked and written all of it.
    pub(crate) streamed: Option<Streamed>,
}

/// Where the blocks of a payload came from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Blocks that were fetched from the source.
    pub fetched: u64,
    /// Blocks that the active slot held already.
    pub copied: u64,
    /// Blocks that an earlier, interrupted run had written.
    pub resumed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Counts) {
        self.fetched += other.fetched;
        self.copied += other.copied;
        self.resumed += other.resumed;
    }
}

/// What the feeder sends.
pub(crate) enum Piece {
    /// A hash block, before the first block that needs it.
    Hash(HashBlock, Vec<u8>),
    /// Consecutive data blocks under one hash block of level 0.
    Data {
        /// Index of the first one.
        first: u64,
        /// Their bytes.
        bytes: Vec<u8>,
    },
    /// The feeder stops here.
    Failed(Error),
}

/// The feeder's ends of the channels.
pub(crate) struct Out {
    pieces: SyncSender<Piece>,
    spare: Receiver<Vec<u8>>,
}

/// The verifier has stopped; why, it says itself.
pub(crate) struct Stopped;

impl Out {
    pub(crate) fn send(&self, piece: Piece) -> Result<(), Stopped> {
        self.pieces.send(piece).map_err(|_| Stopped)
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Result<Vec<u8>, Stopped> {
        self.spare.recv().map_err(|_| Stopped)
    }
}

/// The buffers that go round: full ones come back through the first.
pub(crate) fn buffers() -> (Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    let (returned, spare) = channel();
    for _ in 0..SPANS {
        // The receiver is held right here.
        let _ = returned.send(Vec::new());
    }
    (returned, spare)
}

/// Fetches every block from `first` on into the slot.
///
/// However it ends, the blocks that were checked are written, synced and
/// noted: the next run goes on behind them.
pub(crate) fn fetch(
    tree: &Tree,
    first: u64,
    feed: Feed<'_>,
    spare: Receiver<Vec<u8>>,
    mut slot: InactiveSlot,
) -> Result<Fetched, Error> {
    let (pieces, arriving) = sync_channel(SPANS);
    let out = Out { pieces, spare };
    let (counts, checked, written) = std::thread::scope(|scope| {
        let feeder = scope.spawn(move || feed.run(first, out));
        let checked = check(tree, first, arriving, &mut slot);
        // The feeder waits for room or for a buffer: the check took its
        // receiver with it, and this ends the writer, who has the buffers.
        let written = slot.close();
        (feeder.join(), checked, written)
    });
    let counts = counts.map_err(|_| Error::Internal("the feeder"));
    // The writer's own error is the cause where the verifier only found it
    // gone.
    let syncing = written?;
    match (checked, counts) {
        (Ok(streamed), Ok(counts)) => Ok(Fetched { counts, syncing: Some(syncing), streamed }),
        (Err(err), _) | (_, Err(err)) => {
            syncing.wait()?;
            Err(err)
        }
    }
}

/// Checks each block and hands it to the slot. This is the only way into
/// a slot: [`InactiveSlot::write`] takes nothing but what was checked.
fn check(
    tree: &Tree,
    first: u64,
    arriving: Receiver<Piece>,
    slot: &mut InactiveSlot,
) -> Result<Option<Streamed>, Error> {
    let mut memory = vec![0; tree.memory()];
    let mut verifier = Verifier::new(*tree, RustCrypto, &mut memory)?;
    let mut next = first;
    for piece in arriving {
        match piece {
            Piece::Hash(want, bytes) => {
                verifier.supply(want, &bytes).map_err(|refusal| Error::refused(refusal, &bytes))?;
            }
            Piece::Data { first, bytes } => {
                debug_assert_eq!(first, next);
                next += (bytes.len() as u64).div_ceil(tree.block().bytes() as u64);
                slot.write(Span::check(&mut verifier, first, bytes)?)?;
            }
            Piece::Failed(err) => return Err(err),
        }
    }
    if next == tree.blocks() { Ok(verifier.streamed()) } else { Err(Error::Internal("the feeder")) }
}
