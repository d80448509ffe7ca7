//! Android Verified Boot 2.0 (AOSP, *external/avb*: README.md and the headers of
//! libavb 1.3): vbmeta images, and images of partitions with vbmeta in them, as
//! avbtool makes them.
//!
//! ```text
//! vbmeta:    header (256 bytes)                                    <- signed
//!              | authentication block: hash, signature
//!              | auxiliary block: descriptors, key, its metadata   <- signed, behind the header
//! partition: data | hash tree | zeros | vbmeta | zeros | footer (64 bytes)
//! ```
//!
//! What is signed says of partitions what they hold: a hash, the root of a tree,
//! or the key that signs a vbmeta of their own. Of the partition that an image is
//! of, this is held against its data.
//!
//! Nothing covers a footer. libavb goes by what it says of vbmeta and by what is
//! signed, so the rest of it has to agree with that.
//!
//! The rollback index is the security epoch: libavb refuses an image with a
//! lower one than the device has stored. avbtool writes 0 unless told; in an
//! image that nobody has signed that is no index yet, and the order's epoch
//! becomes it.

mod descriptor;
mod footer;
mod header;
mod image;
mod inspect;
mod key;
mod options;
mod own;
mod sign;
mod vbmeta;
mod words;

use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "avb";

/// The format of vbmeta images and of what they are in.
pub(crate) struct Avb;

impl Format for Avb {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Android Verified Boot: vbmeta images, and partitions with a footer; RSA-2048 and RSA-4096"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let own = image::begins(source)? || footer::ends(source)?;
        Ok(if own { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }
}

impl Embedding for Avb {
    fn parameters(&self) -> &'static [Parameter] {
        options::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
