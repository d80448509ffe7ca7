//! Certificates of Trusted Firmware-A's trusted board boot (TBBR, Arm DEN0006;
//! Trusted Firmware-A 2.8: `tools/cert_create`, `include/tools_share/tbbr_oid.h`
//! and `drivers/auth/mbedtls/mbedtls_x509_parser.c`).
//!
//! ```text
//! SEQUENCE
//!   TBSCertificate: version 3, serial, algorithm, name, dates,     <- signed
//!                   name, key, extensions
//!   algorithm, the same
//!   BIT STRING: signature
//! ```
//!
//! The extensions say what a boot stage goes by: a counter that must not go
//! back, hashes of images, and the keys that sign the next certificates. Names
//! mean nothing: every certificate is signed by the key in it, and a device asks
//! whether that is one which a fuse or another certificate holds.

mod certificate;
mod extension;
mod inspect;
mod sign;
mod text;

use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "tfa";

/// The format of such certificates.
pub(crate) struct Tfa;

impl Format for Tfa {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Trusted Firmware-A certificates (TBBR chain of trust), as cert_create makes them: RSA-PSS and P-256"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if certificate::is_one(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    /// What is signed begins with a version, a certificate with another
    /// sequence: no file is both.
    fn hashes_whole(&self) -> bool {
        false
    }
}

impl Embedding for Tfa {
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
