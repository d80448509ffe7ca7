//! Digest: one that nobody here derived, as a file.
//!
//! For tools that hash what they sign themselves and ask a PKCS#11 module for
//! the rest. Keys marked `blind` alone sign it, and none of them for
//! production: `sign` holds both against the key before it is used.

use crate::error::FormatError;
use crate::format::{Format, Likeness};
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::source::Source;

pub(crate) const NAME: &str = "digest";

/// The digest format.
pub(crate) struct Digest;

impl Format for Digest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "a SHA-256 or SHA-384 that nobody here derived; signed by keys marked `blind`, in test environments"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any 32 bytes would do, and none say that they are one.
        Ok(Likeness::No)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        let bytes = read(source)?;
        let mut inspection = Inspection::new(NAME, bytes.len() as u64);
        inspection.field("digest", hex(&bytes));
        Ok(inspection)
    }

    fn is_blind(&self) -> bool {
        true
    }
}

/// The digest itself, of one of two lengths.
pub(crate) fn read(source: &dyn Source) -> Result<Vec<u8>, FormatError> {
    let len = source.len()?;
    let hash = usize::try_from(len).ok().and_then(Hash::of_len);
    if !matches!(hash, Some(Hash::Sha256 | Hash::Sha384)) {
        return Err(FormatError::malformed(NAME, format!("32 or 48 bytes are a digest, and not {len}")));
    }
    let mut bytes = vec![0; len as usize];
    source.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use firmseal_manifest::{KeyAlgorithm, Tbs};

    use crate::{FORMATS, find};

    #[test]
    fn a_digest_is_one_by_its_length_and_nothing_is_taken_for_one() {
        let format = find("digest").unwrap();
        assert_eq!(FORMATS.iter().filter(|format| format.is_blind()).count(), 1);
        for len in [0, 1, 20, 31, 33, 47, 49, 64, 65] {
            assert!(format.inspect(&vec![7; len]).is_err(), "{len}");
        }
        for len in [32, 48] {
            assert_eq!(format.inspect(&vec![7; len]).unwrap().fields[0].value, "07".repeat(len));
            assert_eq!(crate::detect(&vec![7; len]).unwrap().name(), "raw");
        }
        let over = |algorithm, len| crate::laid_out::handed_in(algorithm, vec![7; len]);
        assert_eq!(over(KeyAlgorithm::P256, 32).unwrap(), Tbs::Sha256([7; 32]));
        assert_eq!(over(KeyAlgorithm::Rsa(3072), 32).unwrap(), Tbs::Sha256([7; 32]));
        assert_eq!(over(KeyAlgorithm::P384, 48).unwrap(), Tbs::Sha384([7; 48]));
        for (algorithm, len) in
            [(KeyAlgorithm::P256, 48), (KeyAlgorithm::P384, 32), (KeyAlgorithm::Ed25519, 32)]
        {
            assert!(over(algorithm, len).is_err(), "{algorithm}");
        }
    }
}
