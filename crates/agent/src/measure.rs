//! Measuring slots: the digest of what one holds, as it reads back.

use std::path::Path;

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
        Ok(file) => read(&*file, path, size),
    }
}

/// Whether a slot begins with exactly these bytes. Both digests are
/// computed first: comparing them takes the same time wherever the bytes
/// differ.
pub(crate) fn holds(files: &dyn Files, path: &Path, content: &[u8]) -> Result<bool, Error> {
    let measured = measure(files, path, content.len() as u64)?;
    Ok(measured.digest() == RustCrypto.digest(content) && measured.size() == content.len() as u64)
}

fn read(file: &dyn File, path: &Path, size: u64) -> Result<Measured, Error> {
    let mut measurement = Measurement::start(&RustCrypto);
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < size {
        let want = (size - at).min(STEP as u64) as usize;
        let count = file.read_full_at(&mut buffer[..want], at).map_err(|err| Error::storage(path, err))?;
        if count == 0 {
            break;
        }
        measurement.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(measurement.finish())
}
