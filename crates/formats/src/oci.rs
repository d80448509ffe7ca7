//! Container images: manifests and indexes of OCI (image-spec 1.1) and Docker
//! (schema 2) as files, and image layouts in a tar, as `oci-archive` of skopeo
//! and buildx write them. The signature stands beside them, in a Sigstore
//! bundle.
//!
//! ```text
//! layout (tar)
//!   | oci-layout, index.json: one descriptor           <- names the manifest
//!   | blobs/sha256/...
//!       | manifest or index                            <- its SHA-256 is signed
//!           | config, layers: digests and sizes
//! ```
//!
//! What is signed is a statement about the manifest's digest, whether it comes
//! by itself or in a layout: the bundle is the same, and a registry keeps it
//! beside the image. Through the manifest it covers every blob. What a tar
//! says beside them (owners, dates, the tag in index.json) it does not.

mod archive;
mod descriptor;
mod image;
mod layout;
mod manifest;

use crate::error::FormatError;
use crate::format::{Beside, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::sigstore::beside::About;
use crate::sigstore::{Attested, PREDICATE, PREDICATE_TYPE, SUBJECT};
use crate::source::Source;

pub use descriptor::{Descriptor, Digest, Platform};
pub use manifest::Manifest;

const NAME: &str = "oci";
const PARAMETERS: &[Parameter] = &[PREDICATE_TYPE, PREDICATE, SUBJECT];

/// The format of container images.
pub(crate) struct Oci;

impl Format for Oci {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "container images: manifests, and layouts in a tar; the signature stands beside them, in a Sigstore bundle"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let own = archive::is_layout(source)? || manifest::is_one(source)?;
        Ok(if own { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(about(source)?.inspection)
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }
}

impl Beside for Oci {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        about(source)?.prepare_statement(source, wanted)
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(attested(signature, source)?.inspection)
    }
}

/// An image, and the bundle beside it.
pub fn attested(bundle: &dyn Source, image: &dyn Source) -> Result<Attested, FormatError> {
    about(image)?.read(bundle, image)
}

/// Whether a file says that it is a manifest or an index.
pub(crate) fn is_manifest(source: &dyn Source) -> Result<bool, FormatError> {
    manifest::is_one(source)
}

fn about(source: &dyn Source) -> Result<About, FormatError> {
    let (inspection, signed) = match archive::is_layout(source)? {
        true => layout::read(source)?,
        false => {
            let len = source.len()?;
            (image::alone(&manifest::read(source, 0..len)?, len), 0..len)
        }
    };
    // A message over a manifest is what a `raw` signature over the file is:
    // it says of nothing that it is an image.
    Ok(About { format: NAME, inspection, signed, messages: false })
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, what)
}
