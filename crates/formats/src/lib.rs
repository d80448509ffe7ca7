//! Firmware formats: a file and a row each.
//!
//! A [`Format`] recognises, describes and, where it carries a signature of
//! its own, signs one kind of file. Formats parse hostile files: they are
//! total, read through a [`Source`] in bounded memory, and refuse what is
//! malformed or ambiguous instead of guessing. They use no keys: what a key
//! signs leaves as a [`Tbs`](firmseal_manifest::Tbs), and each signature
//! already in a file is handed out with what it takes to verify it.

mod agreement;
mod avb;
mod capsule;
mod cms;
pub mod compare;
mod decryption_key;
mod der;
mod digest;
mod dmverity;
pub mod error;
mod esp32;
mod fit;
pub mod format;
mod fsverity;
mod fwupd;
mod gzip;
mod hash;
mod hkdf;
mod inflate;
mod inner;
pub mod inspection;
mod intel_hex;
mod json;
mod key_wrap;
mod keystream;
mod kmod;
pub mod laid_out;
mod mcuboot;
mod mender;
mod montgomery;
mod oci;
pub mod parameters;
mod pe;
pub mod plan;
mod rauc;
mod raw;
mod signature;
pub mod sigstore;
pub mod source;
mod suit;
mod swupdate;
mod tfa;
mod transport;
mod tree;
mod verity;

pub use compare::{Comparison, compare};
pub use decryption_key::DecryptionKey;
pub use error::FormatError;
pub use fit::{ControlKey, control_tree};
pub use format::{Beside, Embedding, Format, Likeness, Unsigned, Wanted};
pub use gzip::gunzip;
pub use inspection::{Covered, ExistingSignature, Field, Inspection, KeyClaim, Load};
pub use laid_out::{Kept, LaidOut, attach, lay_out, lay_out_kept};
pub use oci::{Descriptor, Digest as BlobDigest, Manifest, Platform, attested};
pub use parameters::{Parameter, Parameters};
pub use plan::{Plan, Segment, Spliced};
pub use sigstore::Attested;
pub use source::{Remembered, Source};
pub use suit::is_release;
pub use verity::Leaves;

/// Every format. Help, detection, documentation and tests read this table.
pub const FORMATS: &[&dyn Format] = &[
    &mcuboot::Mcuboot,
    &pe::Pe,
    &capsule::Capsule,
    &fit::Fit,
    &rauc::Rauc,
    &swupdate::SwUpdate,
    &suit::Suit,
    &mender::Mender,
    &kmod::Kmod,
    &fwupd::Fwupd,
    &esp32::Esp32,
    &avb::Avb,
    &tfa::Tfa,
    &oci::Oci,
    &intel_hex::IntelHex,
    &cms::Cms,
    &sigstore::Sigstore,
    &fwupd::Jcat,
    &fsverity::FsVerity,
    &dmverity::DmVerity,
    &digest::Digest,
    &raw::Raw,
];

/// The format of this name.
pub fn find(name: &str) -> Result<&'static dyn Format, FormatError> {
    FORMATS
        .iter()
        .copied()
        .find(|format| format.name() == name)
        .ok_or_else(|| FormatError::UnknownFormat { name: name.chars().take(40).collect() })
}

/// The format of a file, from its content alone: names and extensions say
/// what somebody wished.
///
/// A file that more than one format claims is refused: two readers that
/// each see what they like is how signatures come to cover something else
/// than what runs (THREATS 16). So is one that other formats sign inside.
pub fn detect(source: &dyn Source) -> Result<&'static dyn Format, FormatError> {
    inner::refuse(source)?;
    let (mut own, mut any) = (Vec::new(), None);
    for format in FORMATS.iter().copied() {
        match format.detect(source)? {
            Likeness::Own => own.push(format),
            Likeness::Any => any = any.or(Some(format)),
            Likeness::No => {}
        }
    }
    match (own.as_slice(), any) {
        ([one], _) => Ok(*one),
        ([], Some(any)) => Ok(any),
        ([], None) => Err(FormatError::Unrecognised),
        (many, _) => {
            Err(FormatError::Ambiguous { formats: many.iter().map(|format| format.name()).collect() })
        }
    }
}

/// Detects a file's format and describes the file.
pub fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    detect(source)?.inspect(source)
}
