//! RAUC bundles (RAUC, *Reference*, "Bundle Formats"), as RAUC 1.8 makes and
//! checks them.
//!
//! ```text
//! plain    squashfs                     | CMS beside it            | length
//! verity   squashfs            | tree   | CMS around the manifest  | length
//! crypt    squashfs, encrypted | tree   | CMS around the manifest  | length
//! ```
//!
//! The manifest in the CMS holds the root of the tree, so its signature is
//! over every byte of the payload, and that of `crypt` the key as well: RAUC
//! installs such bundles once their CMS is itself encrypted for the devices.

mod bundle;
mod envelope;
mod inspect;
mod manifest;
mod payload;
mod sign;
mod squashfs;

use crate::decryption_key::DecryptionKey;
use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::plan::Plan;
use crate::source::Source;

const NAME: &str = "rauc";

/// The RAUC format.
pub(crate) struct Rauc;

impl Format for Rauc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "RAUC bundles (verity, crypt, plain): RSA, P-256 and P-384; or a squashfs with its manifest"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if bundle::tail(source)?.is_some() { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(inspect::examine(source)?.inspection)
    }

    fn decrypt(&self, source: &dyn Source, key: &DecryptionKey) -> Result<Plan, FormatError> {
        inspect::opened(source, key)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is signed is CMS, and stands behind what it is over.
        false
    }
}

impl Embedding for Rauc {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
