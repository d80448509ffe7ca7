//! Records: small durable values, each in two redundant copies.
//!
//! A write replaces the older copy: temporary file, sync, rename, sync of
//! the directory. A cut at any point leaves at least the newer copy as it
//! was, and a copy that rots away is caught by its digest. Readers take the
//! valid copy with the highest number; where both have rotted away, that is
//! an error and not the absence of a value.
//!
//! Values are JSON that may have members which this version does not know:
//! after a revert, an older agent reads what a newer one wrote.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_core::crypto::{Crypto, RustCrypto};

use crate::error::Error;
use crate::files::{Access, Files};

const MAGIC: &[u8; 8] = b"fsealrec";
const HEAD: usize = 8 + 8 + 4;
const DIGEST: usize = 32;
/// Longest value of a record, in bytes.
pub(crate) const RECORD_MAX: usize = 512 * 1024;

/// A named value in the state directory.
#[derive(Clone)]
pub(crate) struct Record {
    files: Arc<dyn Files>,
    dir: PathBuf,
    copies: [PathBuf; 2],
    temporary: PathBuf,
}

impl Record {
    /// The record `name` in `dir`.
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path, name: &str) -> Record {
        let path = |suffix| dir.join(format!("{name}.{suffix}"));
        Record { files, dir: dir.to_owned(), copies: [path("0"), path("1")], temporary: path("new") }
    }

    /// The value, if there is one. Copies that are there and cannot be read,
    /// neither of them, are an error: what they held is not known.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        let newer = match self.load()? {
            [Some(first), Some(second)] if second.number > first.number => Some(second),
            [Some(first), _] => Some(first),
            [None, second] => second,
        };
        if newer.is_none() && self.is_there()? {
            let why = format!("no copy of {} can be read", self.copies[0].display());
            return Err(Error::Corrupt { what: "a record", why });
        }
        Ok(newer.map(|copy| copy.value))
    }

    /// The same of a value that a device can do without.
    pub(crate) fn read_or_forget(&self) -> Result<Option<Vec<u8>>, Error> {
        match self.read() {
            Err(err @ Error::Corrupt { .. }) => {
                tracing::error!("it is forgotten: {err}");
                Ok(None)
            }
            other => other,
        }
    }

    fn is_there(&self) -> Result<bool, Error> {
        for path in &self.copies {
            match self.files.open(path, Access::Read) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(|_| true).map_err(|err| Error::storage(path, err)),
            }
        }
        Ok(false)
    }

    /// Replaces the value. It is durable when this returns.
    pub(crate) fn write(&self, value: &[u8]) -> Result<(), Error> {
        if value.len() > RECORD_MAX {
            return Err(Error::storage(&self.copies[0], io::ErrorKind::FileTooLarge.into()));
        }
        let [first, second] = self.load()?;
        let number = |copy: &Option<Copy>| copy.as_ref().map_or(0, |copy| copy.number);
        let target = usize::from(number(&first) > number(&second));
        let next = number(&first).max(number(&second)) + 1;
        let bytes = encode(next, value);
        let write = || -> io::Result<()> {
            let file = self.files.open(&self.temporary, Access::Replace)?;
            file.write_at(&bytes, 0)?;
            file.sync()?;
            self.files.rename(&self.temporary, &self.copies[target])?;
            self.files.sync_dir(&self.dir)
        };
        write().map_err(|err| Error::storage(&self.copies[target], err))
    }

    /// The same into both copies: one that rots must not bring an earlier
    /// value back.
    pub(crate) fn write_twice(&self, value: &[u8]) -> Result<(), Error> {
        self.write(value)?;
        self.write(value)
    }

    /// Forgets the value. The older copy goes first: a cut in between must
    /// not bring an earlier value back.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let [first, second] = self.load()?;
        let number = |copy: &Option<Copy>| copy.as_ref().map_or(0, |copy| copy.number);
        let older = usize::from(number(&first) > number(&second));
        for path in [&self.copies[older], &self.copies[1 - older], &self.temporary] {
            self.files
                .remove(path)
                .and_then(|()| self.files.sync_dir(&self.dir))
                .map_err(|err| Error::storage(path, err))?;
        }
        Ok(())
    }

    fn load(&self) -> Result<[Option<Copy>; 2], Error> {
        let load = |path: &PathBuf| -> Result<Option<Copy>, Error> {
            let file = match self.files.open(path, Access::Read) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other.map_err(|err| Error::storage(path, err))?,
            };
            let len = file.len().map_err(|err| Error::storage(path, err))?;
            if len > (HEAD + RECORD_MAX + DIGEST) as u64 {
                return Ok(None);
            }
            let mut bytes = vec![0; len as usize];
            let read = file.read_full_at(&mut bytes, 0).map_err(|err| Error::storage(path, err))?;
            Ok(decode(&bytes[..read]))
        };
        Ok([load(&self.copies[0])?, load(&self.copies[1])?])
    }
}

struct Copy {
    number: u64,
    value: Vec<u8>,
}

fn encode(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + value.len() + DIGEST);
    out.extend(MAGIC);
    out.extend(number.to_le_bytes());
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value);
    let digest = RustCrypto.digest(&out);
    out.extend(digest.as_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<Copy> {
    let (signed, digest) = bytes.split_last_chunk::<DIGEST>()?;
    if signed.len() < HEAD || &signed[..8] != MAGIC || RustCrypto.digest(signed).as_bytes() != digest {
        return None;
    }
    let number = u64::from_le_bytes(signed[8..16].try_into().ok()?);
    let len = u32::from_le_bytes(signed[16..20].try_into().ok()?);
    let value = &signed[HEAD..];
    (value.len() == len as usize).then(|| Copy { number, value: value.to_vec() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::OsFiles;

    #[test]
    fn one_rotten_copy_costs_one_write_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(Arc::new(OsFiles), dir.path(), "boot");
        assert_eq!(record.read().unwrap(), None);
        for value in [&b"one"[..], b"two", b"three"] {
            record.write(value).unwrap();
            assert_eq!(record.read().unwrap().unwrap(), value);
        }
        // Every single flipped bit of the newest copy leaves the older one.
        let newest = dir.path().join("boot.0");
        let good = std::fs::read(&newest).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&newest, &bad).unwrap();
            assert_eq!(record.read().unwrap().unwrap(), b"two", "byte {at}");
        }
        std::fs::write(&newest, &good[..10]).unwrap();
        let other = std::fs::read(dir.path().join("boot.1")).unwrap();
        std::fs::write(dir.path().join("boot.1"), &other[1..]).unwrap();
        assert!(matches!(record.read(), Err(Error::Corrupt { .. })), "two rotten copies are not no value");
        assert_eq!(record.read_or_forget().unwrap(), None);
        record.write(b"four").unwrap();
        assert_eq!(record.read().unwrap().unwrap(), b"four");
        record.clear().unwrap();
        assert_eq!(record.read().unwrap(), None);
    }
}
