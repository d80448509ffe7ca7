//! Boot records: what the bootloader tells the attestation service of the
//! image, as a PSA software component in CBOR (imgtool `boot_record.py`;
//! PSA Attestation API 1.0 §5.2.3).

use minicbor::Encoder;

use super::header::Version;
use crate::hash::Hash;

/// Longest name of a role, in characters (imgtool `MAX_SW_TYPE_LENGTH`).
pub(super) const ROLE_MAX: usize = 12;

/// The record of an image in this role, whose signer has this key hash.
///
/// The measurement is zeros: the record is inside what is measured, and the
/// bootloader puts the digest there, which is why it stands last.
pub(super) fn encode(role: &str, version: &Version, hash: Hash, signer: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    // Writing to a Vec cannot fail; the error type is Infallible.
    let infallible: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
        encoder.map(5)?.u8(1)?.str(role)?;
        let Version { major, minor, revision, .. } = version;
        encoder.u8(4)?.str(&format!("{major}.{minor}.{revision}"))?;
        encoder.u8(5)?.bytes(signer)?;
        encoder.u8(6)?.str(&hash.name().to_ascii_uppercase())?;
        encoder.u8(2)?.bytes(&vec![0; hash.len()])?;
        Ok(())
    })();
    debug_assert!(infallible.is_ok());
    out
}
