//! The inactive slot: writing it.
//!
//! [`InactiveSlot::write`] takes a [`Block`], and only core's verifier makes
//! those: no unverified byte can reach a slot. Blocks are gathered and
//! written in large pieces on a thread of their own; further threads sync
//! and measure behind it, so that neither checking nor downloading ever
//! waits for a disk that keeps up.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use firmseal_core::Block;

use crate::error::Error;
use crate::files::{Access, File, Files};
use crate::measure::Following;

/// Bytes that are written at once.
pub(crate) const PIECE: usize = 1024 * 1024;
/// Pieces in flight between hashing and writing.
const PIECES: usize = 6;

/// Called with the number of bytes, from the beginning, that are durable.
pub(crate) type OnDurable = Box<dyn FnMut(u64) -> Result<(), Error> + Send>;

/// What is written of a slot.
pub(crate) struct Extent {
    /// The first byte that is written; what is below it is kept.
    pub(crate) from: u64,
    /// The end of the image.
    pub(crate) size: u64,
    /// Bytes that the slot holds.
    pub(crate) capacity: u64,
}

/// The slot that an install writes.
pub struct InactiveSlot {
    capacity: u64,
    piece: Vec<u8>,
    offset: u64,
    // Dropped before the measurement, which waits for a writer that waits
    // for pieces.
    pieces: SyncSender<(u64, Vec<u8>)>,
    spare: Receiver<Vec<u8>>,
    writer: JoinHandle<(Result<(), Error>, Syncing)>,
    measuring: Following,
}

/// A slot whose blocks are all written.
pub(crate) struct Written {
    /// It is being synced,
    pub(crate) syncing: Syncing,
    /// and measured.
    pub(crate) measuring: Following,
}

/// The end of a slot's syncs.
pub(crate) struct Syncing(JoinHandle<Result<(), Error>>);

impl Syncing {
    /// Waits until the slot is durable.
    pub(crate) fn wait(self) -> Result<(), Error> {
        self.0.join().map_err(|_| Error::Internal("the slot syncer"))?
    }
}

impl InactiveSlot {
    /// Opens a slot to be written. About every `sync_bytes` it is synced
    /// and `on_durable` called.
    pub(crate) fn open(
        files: &Arc<dyn Files>,
        path: &Path,
        extent: &Extent,
        sync_bytes: u64,
        on_durable: OnDurable,
    ) -> Result<InactiveSlot, Error> {
        let file: Arc<dyn File> =
            Arc::from(files.open(path, Access::Update).map_err(|err| Error::storage(path, err))?);
        // A slot that is a file may have just been created.
        if let Some(dir) = path.parent() {
            files.sync_dir(dir).map_err(|err| Error::storage(dir, err))?;
        }
        let (pieces, arriving) = sync_channel::<(u64, Vec<u8>)>(PIECES);
        let (returned, spare) = channel();
        for _ in 0..PIECES {
            // The receiver is held right here.
            let _ = returned.send(Vec::with_capacity(PIECE));
        }
        let Extent { from: offset, size, capacity } = *extent;
        let (written, measuring) = Following::start(file.clone(), path, size, offset);
        let own = path.to_owned();
        let writer = std::thread::spawn(move || {
            write_pieces(file, &own, arriving, returned, written, sync_bytes, on_durable)
        });
        let piece = Vec::with_capacity(PIECE);
        Ok(InactiveSlot { capacity, piece, offset, pieces, spare, writer, measuring })
    }

    /// Writes the next block that has been checked; blocks come in order.
    ///
    /// Bytes alone do not compile, and nothing outside core makes a block:
    ///
    /// ```compile_fail,E0308
    /// fn write(slot: &mut firmseal_agent::InactiveSlot, bytes: &[u8]) {
    ///     let _ = slot.write(bytes);
    /// }
    /// ```
    pub fn write(&mut self, block: Block<'_>) -> Result<(), Error> {
        let bytes = block.bytes();
        let end = self.offset + self.piece.len() as u64;
        // Admission bounded the size by the capacity already; here it costs
        // one comparison to never depend on that. Order is what lets the
        // measurement follow the writer.
        if block.offset() != end || end + bytes.len() as u64 > self.capacity {
            return Err(firmseal_core::Refusal::BlockGeometry.into());
        }
        if self.piece.len() + bytes.len() > PIECE {
            self.flush()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.piece.is_empty() {
            return Ok(());
        }
        // Both ends fail only when the writer has stopped; why, is what
        // `close` finds out.
        let stopped = || Error::Internal("the slot writer");
        let next = self.spare.recv().map_err(|_| stopped())?;
        let full = std::mem::replace(&mut self.piece, next);
        let offset = self.offset;
        self.offset += full.len() as u64;
        self.pieces.send((offset, full)).map_err(|_| stopped())
    }

    /// Hands over what is left and waits until it is written: the slot is
    /// readable when this returns, and durable when [`Syncing::wait`] does.
    ///
    /// After a failed write, this tells why. What was written before it is
    /// synced and noted in any case.
    pub(crate) fn close(mut self) -> Result<Written, Error> {
        // If the writer has stopped, joining it tells the reason.
        let _ = self.flush();
        let InactiveSlot { pieces, writer, measuring, .. } = self;
        drop(pieces);
        let (written, syncing) = writer.join().map_err(|_| Error::Internal("the slot writer"))?;
        match written {
            Ok(()) => Ok(Written { syncing, measuring }),
            Err(err) => {
                syncing.wait()?;
                Err(err)
            }
        }
    }
}

fn write_pieces(
    file: Arc<dyn File>,
    path: &Path,
    arriving: Receiver<(u64, Vec<u8>)>,
    returned: Sender<Vec<u8>>,
    written: Sender<u64>,
    sync_bytes: u64,
    mut on_durable: OnDurable,
) -> (Result<(), Error>, Syncing) {
    // Syncs run beside the writes: fdatasync covers what was written before
    // it began, and the mark that travels to the syncer is exactly that.
    let (marks, pending) = channel::<u64>();
    let (syncing, own) = (file.clone(), path.to_owned());
    let syncer = std::thread::spawn(move || -> Result<(), Error> {
        while let Ok(mut mark) = pending.recv() {
            // Marks that gathered meanwhile need one sync, not one each.
            while let Ok(later) = pending.try_recv() {
                mark = later;
            }
            syncing.sync().map_err(|err| Error::storage(&own, err))?;
            on_durable(mark)?;
        }
        Ok(())
    });
    let (mut since, mut last) = (0, None);
    let mut result = Ok(());
    for (offset, mut piece) in arriving {
        if let Err(err) = file.write_at(&piece, offset) {
            result = Err(Error::storage(path, err));
            break;
        }
        let end = offset + piece.len() as u64;
        // A measurement that has failed says so itself.
        let _ = written.send(end);
        since += piece.len() as u64;
        last = Some(end);
        if since >= sync_bytes {
            since = 0;
            if marks.send(end).is_err() {
                break;
            }
            last = None;
        }
        piece.clear();
        let _ = returned.send(piece);
    }
    // Also after a failed write: what stands before it is worth keeping.
    if let Some(end) = last {
        let _ = marks.send(end);
    }
    (result, Syncing(syncer))
}
