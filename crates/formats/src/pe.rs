//! PE images for UEFI, signed with Authenticode (UEFI 2.10 §32.2; Microsoft,
//! *PE Format* and *Windows Authenticode Portable Executable Signature
//! Format*).
//!
//! ```text
//! DOS header, stub | PE header: checksum, entry of the certificate table
//!   | sections, one behind the other | what follows them | zeros to 8 bytes
//!   | certificate table: signatures, which are PKCS #7 over the digest of
//!     everything before it but the checksum and the table's entry
//! ```

mod checksum;
mod image;
mod inspect;
mod sbat;
mod sign;
mod spc;
mod table;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "pe";

/// The PE format.
pub(crate) struct Pe;

impl Format for Pe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "PE images for UEFI Secure Boot (Authenticode): RSA and P-256, with SBAT"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if image::is_pe(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed leaves out the checksum, and what is signed is CMS.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(spc::is_content(file.head).then_some("the content of an Authenticode signature"))
    }
}

impl Embedding for Pe {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn numbers(&self) -> bool {
        false
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
