//! U-Boot's Flattened Image Trees, signed by configuration (FIT specification
//! <https://fitspec.osfw.foundation/>; U-Boot, doc/usage/fit/signature.rst).
//!
//! ```text
//! / { description, timestamp
//!   images { kernel-1 { data, or where it is; type, load...; hash-1 { algo, value } } ... }
//!   configurations { default
//!     conf-1 { kernel = "kernel-1"; fdt = "fdt-1"
//!       signature-1 { algo, value, hashed-nodes, hashed-strings... } } ... } }
//! ```
//!
//! A signature covers the nodes that a configuration uses, and the hashes in
//! them the images: [`coverage`] says which bytes. One request signs one
//! configuration with one key: each has a signature of its own, and the
//! contract has one for each request. A file with several is signed once for
//! each, by `configuration`; what others have signed stays as it is. Which of
//! them starts is said outside of every signature, so that the signature over
//! the default one is the one that counts here, and those over others are
//! shown and not believed: whoever could choose the default would else bring
//! a configuration of their own under somebody's good signature.

mod control;
mod coverage;
mod cursor;
mod edit;
mod existing;
mod header;
mod image;
mod inspect;
mod memory;
mod options;
mod parts;
mod sign;
mod tree;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

pub use control::{ControlKey, control_tree};

const NAME: &str = "fit";

/// The FIT format.
pub(crate) struct Fit;

impl Format for Fit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "U-Boot FIT images with signed configurations: RSA-2048 to RSA-4096 (PKCS #1 v1.5, PSS), P-256"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if inspect::is_fit(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed begins with the first node, and not as the file does.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(coverage::is_structure(file.head)
            .then_some("the structure of a devicetree, as U-Boot verifies it"))
    }
}

impl Embedding for Fit {
    fn parameters(&self) -> &'static [Parameter] {
        options::PARAMETERS
    }

    fn numbers(&self) -> bool {
        false
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
