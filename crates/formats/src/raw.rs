//! Raw: bytes without a format of their own, signed beside the file.

use firmseal_manifest::Digest;

use crate::error::FormatError;
use crate::format::{Format, Likeness};
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::source::Source;

pub(crate) const NAME: &str = "raw";

/// The raw format.
pub(crate) struct Raw;

impl Format for Raw {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "any bytes; the signature stands beside the file, in the release's envelope"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(Likeness::Any)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        let len = source.len()?;
        check(len)?;
        Ok(of(&Hash::Sha256.of_range(source, 0..len)?, len))
    }
}

/// What there is to say of a file without a format, from its digest and
/// length: for whoever keeps files under their digests.
pub(crate) fn described(sha256: &Digest, len: u64) -> Result<Inspection, FormatError> {
    check(len)?;
    Ok(of(sha256.as_bytes(), len))
}

fn of(sha256: &[u8], len: u64) -> Inspection {
    let mut inspection = Inspection::new(NAME, len);
    inspection.field("sha256", hex(sha256));
    inspection
}

fn check(len: u64) -> Result<(), FormatError> {
    // An empty file is what a failed build leaves behind.
    if len == 0 {
        return Err(FormatError::Malformed { format: NAME, what: "the file is empty".to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn anything_but_nothing_is_raw() {
        let abc = crate::inspect(&b"abc".to_vec()).unwrap();
        assert_eq!((abc.format.as_str(), abc.image_size), ("raw", 3));
        assert_eq!(abc.fields[0].value, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(crate::inspect(&Vec::new()).is_err());
        let mut digest = [0; 32];
        digest.copy_from_slice(&super::Hash::Sha256.of(b"abc"));
        assert_eq!(super::described(&super::Digest(digest), 3).unwrap(), abc, "as if it had been read");
        assert!(super::described(&super::Digest(digest), 0).is_err());
    }
}
