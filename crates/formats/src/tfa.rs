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
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
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

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(is_tbs_certificate(file).then_some("what is signed of a certificate (a TBSCertificate)"))
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

/// Whether a file is one SEQUENCE in whole that begins with `[0]`, as certificates
/// of version 2 and 3 do (RFC 5280 §4.1), where their version stands. TF-A's
/// parser does not look at what is in that.
fn is_tbs_certificate(file: &Bare<'_>) -> bool {
    file.is_whole(0x30).is_some_and(|inner| inner.first() == Some(&0xa0))
}
