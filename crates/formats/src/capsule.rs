//! UEFI firmware capsules (UEFI 2.10 §8.5.3 and §23.3) with one payload for the
//! firmware management protocol, signed as firmware demands it (§23.1,
//! EFI_FIRMWARE_IMAGE_AUTHENTICATION).
//!
//! ```text
//! capsule header | FMP capsule header | image header
//!   | monotonic count (8 bytes)                        <- signed, behind the payload
//!   | certificate: CMS over payload || monotonic count
//!   | payload                                          <- signed
//!       (edk2: an FMP payload header with versions first)
//! ```
//!
//! Everything before the count is outside of the signature: "This header is
//! outside the signed data of the Authentication Info structure and therefore
//! can be modified without changing the Auth data" (§23.3.2). So the type of the
//! image, its index and the flags are notes here and never fields: a policy
//! that asks for a target gets none.
//!
//! The monotonic count "is used to ensure freshness/no replay" (§23.1): it is
//! the security epoch of a capsule.

mod authentication;
mod frame;
mod inspect;
mod options;
mod payload_header;
mod sign;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::{Source, head};

const NAME: &str = "capsule";

/// The capsule format.
pub(crate) struct Capsule;

impl Format for Capsule {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "UEFI firmware capsules (FMP), with a monotonic count: RSA and P-256"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let known = head::<16>(source)?.is_some_and(|guid| frame::is_capsule(&guid));
        Ok(if known { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed is a payload and its count, and what is signed is CMS.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(payload_header::begins(file)?.then_some(
            "the payload of a firmware capsule with its header (hand it in without, for a capsule)",
        ))
    }
}

impl Embedding for Capsule {
    fn parameters(&self) -> &'static [Parameter] {
        options::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
