//! The inactive slot: writing it.
//!
//! [`InactiveSlot::write`] takes a [`Span`], and only a check of every block
//! in it makes one: no unverified byte can reach a slot. Spans are written
//! on a thread of their own, from the buffer they arrived in, and another
//! one syncs behind it, so that neither checking nor downloading ever waits
//! for a disk that keeps up.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use firmseal_core::Verifier;
use firmseal_core::crypto::RustCrypto;

use crate::error::Error;
use crate::files::{Access, File, Files};

/// Called with the number of bytes, from the beginning, that are durable.
pub(crate) type OnDurable = Box<dyn FnMut(u64) -> Result<(), Error> + Send>;

/// What is written of a slot.
pub(crate) struct Extent {
    /// The first byte that is written; what is below it is kept.
    pub(crate) from: u64,
    /// Bytes that the slot holds.
    pub(crate) capacity: u64,
}

/// Consecutive blocks, each of which core has checked.
pub struct Span {
    offset: u64,
    bytes: Vec<u8>,
}

impl Span {
    /// Checks every block, of which `first` is the index of the first.
    pub(crate) fn check(
        verifier: &mut Verifier<'_, RustCrypto>,
        first: u64,
        bytes: Vec<u8>,
    ) -> Result<Span, Error> {
        let size = verifier.tree().block().bytes();
        for (index, block) in (first..).zip(bytes.chunks(size)) {
            verifier.check(index, block).map_err(|refusal| Error::refused(refusal, block))?;
        }
        Ok(Span { offset: first * size as u64, bytes })
    }
}

/// The slot that an install writes.
pub struct InactiveSlot {
    capacity: u64,
    offset: u64,
    spans: Sender<Span>,
    writer: JoinHandle<(Result<(), Error>, Syncing)>,
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
    /// and `on_durable` called. Buffers go back through `returned`; whoever
    /// fills them bounds by their number what waits to be written.
    pub(crate) fn open(
        files: &Arc<dyn Files>,
        path: &Path,
        extent: &Extent,
        sync_bytes: u64,
        on_durable: OnDurable,
        returned: Sender<Vec<u8>>,
    ) -> Result<InactiveSlot, Error> {
        let file: Arc<dyn File> =
            Arc::from(files.open(path, Access::Update).map_err(|err| Error::storage(path, err))?);
        // A slot that is a file may have just been created.
        if let Some(dir) = path.parent() {
            files.sync_dir(dir).map_err(|err| Error::storage(dir, err))?;
        }
        let Extent { from: offset, capacity } = *extent;
        let (spans, arriving) = channel();
        let own = path.to_owned();
        let writer =
            std::thread::spawn(move || write_spans(file, &own, arriving, returned, sync_bytes, on_durable));
        Ok(InactiveSlot { capacity, offset, spans, writer })
    }

    /// Writes the next span that has been checked; spans come in order.
    ///
    /// Bytes alone do not compile, and nothing but the check makes a span:
    ///
    /// ```compile_fail,E0308
    /// fn write(slot: &mut firmseal_agent::InactiveSlot, bytes: Vec<u8>) {
    ///     let _ = slot.write(bytes);
    /// }
    /// ```
    pub fn write(&mut self, span: Span) -> Result<(), Error> {
        let end = self.offset + span.bytes.len() as u64;
        // Admission bounded the size by the capacity already; here it costs
        // one comparison to never depend on that. Order is what lets a
        // stream answer for the slot's content.
        if span.offset != self.offset || end > self.capacity {
            return Err(firmseal_core::Refusal::BlockGeometry.into());
        }
        self.offset = end;
        // It fails only when the writer has stopped; why, is what `close`
        // finds out.
        self.spans.send(span).map_err(|_| Error::Internal("the slot writer"))
    }

    /// Waits until all of it is written: the slot is readable when this
    /// returns, and durable when [`Syncing::wait`] does.
    ///
    /// After a failed write, this tells why. What was written before it is
    /// synced and noted in any case.
    pub(crate) fn close(self) -> Result<Syncing, Error> {
        let InactiveSlot { spans, writer, .. } = self;
        drop(spans);
        let (written, syncing) = writer.join().map_err(|_| Error::Internal("the slot writer"))?;
        match written {
            Ok(()) => Ok(syncing),
            Err(err) => {
                syncing.wait()?;
                Err(err)
            }
        }
    }
}

fn write_spans(
    file: Arc<dyn File>,
    path: &Path,
    arriving: Receiver<Span>,
    returned: Sender<Vec<u8>>,
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
    for Span { offset, bytes } in arriving {
        if let Err(err) = file.write_at(&bytes, offset) {
            result = Err(Error::storage(path, err));
            break;
        }
        let end = offset + bytes.len() as u64;
        since += bytes.len() as u64;
        last = Some(end);
        if since >= sync_bytes {
            since = 0;
            if marks.send(end).is_err() {
                break;
            }
            last = None;
        }
        // After the last span nobody wants it back.
        let _ = returned.send(bytes);
    }
    // Also after a failed write: what stands before it is worth keeping.
    if let Some(end) = last {
        let _ = marks.send(end);
    }
    (result, Syncing(syncer))
}
