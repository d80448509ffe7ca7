//! SWUpdate packages (.swu): an archive of cpio, its description, and a
//! signature over that (SWUpdate's manual, *SWUpdate: syntax and tags with the
//! default parser* and *Update images from verified source*).
//!
//! ```text
//! sw-description        version, hardware, artifacts with their SHA-256
//! sw-description.sig    CMS over it, or a bare RSA signature
//! artifacts ...
//! TRAILER!!!            zeros to 512 bytes
//! ```

mod archive;
mod bare;
mod description;
mod inspect;
mod libconfig;
mod sign;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "swupdate";
const DESCRIPTION: &str = "sw-description";
const SIGNATURE: &str = "sw-description.sig";

/// The SWUpdate format.
pub(crate) struct SwUpdate;

impl Format for SwUpdate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "SWUpdate packages (.swu), signed with CMS or bare RSA"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if archive::is_package(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed is the description, which is refused as a file of its
        // own.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(bare::is_one(file.source)?.then_some("an sw-description, as SWUpdate has it signed"))
    }
}

impl Embedding for SwUpdate {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
