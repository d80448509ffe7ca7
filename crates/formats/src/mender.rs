//! Mender artifacts (.mender), version 3 (Mender's documentation, *Artifact
//! format*, and `mender-artifact`).
//!
//! ```text
//! version             {"format":"mender","version":3}
//! manifest            SHA-256 of every other part         <- signed
//! manifest.sig        base64 of the signature
//! header.tar(.gz)     names, devices, scripts, types
//! data/0000.tar(.gz)  files of the first payload ...
//! ```
//!
//! In the manifest stand the files of payloads as they are unpacked, and all
//! else as it is.

mod archive;
mod header;
mod inspect;
mod manifest;
mod sign;
mod tar;
mod unpacked;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "mender";

/// The Mender format.
pub(crate) struct Mender;

impl Format for Mender {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Mender artifacts (.mender), signed with P-256 or RSA"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if archive::is_artifact(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed is the manifest, which is refused as a file of its own.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(manifest::is_one(file.source)?.then_some("the manifest of a Mender artifact"))
    }
}

impl Embedding for Mender {
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, what)
}
