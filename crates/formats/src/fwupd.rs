//! fwupd: cabinets (.cab) of firmware with what it is for, and the signatures
//! that fwupd believes, which are in a file of their own (.jcat), beside any
//! file or in the cabinet.
//!
//! ```text
//! MSCF, folders, files        Microsoft's cabinet format, MSZIP or stored
//!   NAME.metainfo.xml         devices, version, SHA-256 of the payload
//!   payload
//!   firmware.jcat             gzip of JSON: an item for each signed file
//!     | SHA-256 | CMS over the file
//! ```
//!
//! fwupd trusts payload and metainfo each by a signature of its own. The
//! payload's says nothing of versions and devices; the metainfo's covers the
//! payload by its checksum. So the latter is the one that counts here, and the
//! former is what fwupd wants to see besides.

mod beside;
mod cabinet;
mod content;
mod inspect;
mod jcat;
mod layout;
mod metainfo;
mod sign;
mod xml;

use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

pub(crate) use beside::Jcat;

const NAME: &str = "fwupd";

/// The format of fwupd's cabinets.
pub(crate) struct Fwupd;

impl Format for Fwupd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "fwupd cabinets (.cab), with signatures in a jcat: RSA, P-256 and P-384"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if cabinet::is_firmware(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed are attributes, over files in it.
        false
    }
}

impl Embedding for Fwupd {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, what)
}

/// Names that no reader takes for a path, or for another one.
fn is_plain(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+ ".contains(&byte);
    (1..=128).contains(&name.len())
        && name.bytes().all(known)
        && !name.starts_with('.')
        && name.trim() == name
}
