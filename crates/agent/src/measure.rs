//! Measuring slots: the digest of what one holds, as it reads back.
//!
//! A slot that is being written is measured right behind its writer, on a
//! thread of its own: when the last block is written, the measurement is
//! almost done. Its bytes come from the slot and never from the buffers that
//! were written, so what it says holds for every part alike: what an earlier
//! run left, what was copied from the other slot, what was fetched. Hashing
//! the buffers would save a copy per byte (it was measured to be a few
//! percent of an install) and would have to argue for each of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Measured, Measurement};

use crate::error::Error;
use crate::files::{Access, File, Files};

/// Bytes that are read at once: few enough to stay in a core's own cache
/// until they are hashed.
const STEP: usize = 128 * 1024;

/// Measures the first `size` bytes of a slot. A slot that holds fewer
/// measures short, and so matches nothing.
pub(crate) fn measure(files: &dyn Files, path: &Path, size: u64) -> Result<Measured, Error> {
    match files.open(path, Access::Read) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            Ok(Measurement::start(&RustCrypto).finish())
        }
        Err(err) => Err(Error::storage(path, err)),
        Ok(file) => read(&*file, path, size, |_| Some(size)),
    }
}

/// Whether a slot begins with exactly these bytes. Both digests are
/// computed first: comparing them takes the same time wherever the bytes
/// differ.
pub(crate) fn holds(files: &dyn Files, path: &Path, content: &[u8]) -> Result<bool, Error> {
    let measured = measure(files, path, content.len() as u64)?;
    Ok(measured.digest() == RustCrypto.digest(content) && measured.size() == content.len() as u64)
}

/// A measurement that follows the writer of a slot. Dropped, it stops.
pub(crate) struct Following {
    size: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Measured, Error>>>,
}

impl Following {
    /// Measures `size` bytes of a slot, of which the first `there` are
    /// written. The writer sends how far it has come; if it leaves before
    /// the end, the slot measures short.
    pub(crate) fn start(file: Arc<dyn File>, path: &Path, size: u64, there: u64) -> (Sender<u64>, Following) {
        let (written, progress) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (own, told) = (path.to_owned(), stop.clone());
        let mut there = there;
        let thread = std::thread::spawn(move || {
            read(&*file, &own, size, |at| {
                while !told.load(Ordering::Relaxed) {
                    if there > at {
                        return Some(there);
                    }
                    there = progress.recv().ok()?;
                }
                None
            })
        });
        (written, Following { size, stop, thread: Some(thread) })
    }

    /// Bytes that it measures.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Result<Measured, Error> {
        let stopped = || Error::Internal("the measurement of a slot");
        self.thread.take().ok_or_else(stopped)?.join().map_err(|_| stopped())?
    }
}

impl Drop for Following {
    /// Nothing reads a slot that the install has let go of.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A measurement that nobody waits for has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// Measures `size` bytes. `reach`, asked at each step, waits until the slot
/// can be read beyond where the measurement is and says how far; `None` ends
/// it there.
fn read(
    file: &dyn File,
    path: &Path,
    size: u64,
    mut reach: impl FnMut(u64) -> Option<u64>,
) -> Result<Measured, Error> {
    let mut measurement = Measurement::start(&RustCrypto);
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < size {
        let Some(end) = reach(at) else { break };
        let want = (end.min(size) - at).min(STEP as u64) as usize;
        let count = file.read_full_at(&mut buffer[..want], at).map_err(|err| Error::storage(path, err))?;
        if count == 0 {
            break;
        }
        measurement.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(measurement.finish())
}
