//! MCUboot images (MCUboot, docs/design.md, "Image format"), as imgtool
//! 2.5 makes and checks them.
//!
//! ```text
//! header (32 bytes, padded to its stated size) | image
//!   | protected TLVs (security counter, dependencies...)   ┐ signed up to here
//!   | TLVs (digest, key hash, signature)                   ┘ not signed
//!   | slot trailer, only in images made with `--pad`
//! ```

mod boot_record;
mod decrypt;
mod ecies;
mod encryption;
mod endian;
mod existing;
mod extras;
mod header;
mod image;
mod inspect;
mod options;
mod scheme;
mod sign;
mod tlv;
mod trailer;
mod wrap;

use crate::decryption_key::DecryptionKey;
use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::plan::Plan;
use crate::source::{Source, head};

const NAME: &str = "mcuboot";

/// The MCUboot format.
pub(crate) struct Mcuboot;

impl Format for Mcuboot {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "MCUboot images: P-256, P-384, Ed25519 (pure as well), RSA-2048 and RSA-3072; several signatures, encryption"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let magic = head::<4>(source)?.and_then(header::Magic::of);
        Ok(if magic.is_some() { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn decrypt(&self, source: &dyn Source, key: &DecryptionKey) -> Result<Plan, FormatError> {
        decrypt::decrypt(source, key)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }
}

impl Embedding for Mcuboot {
    fn parameters(&self) -> &'static [Parameter] {
        options::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
