//! CMS (RFC 5652): a detached signature in a file of its own, beside any
//! file; and what other formats that sign with CMS share.
//!
//! ```text
//! ContentInfo, signedData
//!   | content type `data`, no content
//!   | certificates: the signer's, and those that lead to its authority
//!   | signer: issuer and number | hash
//!       | attributes: content type, SHA-2 of the file, ...   <- signed
//!       | algorithm | signature
//! ```

pub(crate) mod attributes;
pub(crate) mod beside;
pub(crate) mod certificate;
pub(crate) mod read;
pub(crate) mod scheme;
pub(crate) mod signed_data;

use crate::der::{self, Bad, Element, OCTET_STRING};
use crate::error::FormatError;
use crate::format::{Bare, Beside, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::laid_out::{PADDING, Padding};
use crate::parameters::Parameter;
use crate::source::Source;
use crate::{inner, raw};
use scheme::Scheme;

const NAME: &str = "cms";
/// `id-data`.
pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const LABEL: &str = "CMS";

/// The CMS format.
pub(crate) struct Cms;

/// A content of type `data` that stands inside.
pub(crate) fn around(content: &[u8]) -> Vec<u8> {
    der::tlv(OCTET_STRING, &[content])
}

/// The other way round.
pub(crate) fn octets(content: Element<'_>) -> Result<&[u8], Bad> {
    if content.tag == OCTET_STRING { Ok(content.value) } else { Err("its content is no string of bytes") }
}

const PARAMETERS: &[Parameter] =
    &[certificate::PARAMETER, PADDING, attributes::PARAMETERS[0], attributes::PARAMETERS[1], beside::FORM];

impl Format for Cms {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "any bytes; the signature stands beside the file, in CMS with the signer's certificate"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any file would do; that its signature is to be CMS, none says.
        Ok(Likeness::No)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        let mut inspection = Inspection::new(NAME, source.len()?);
        inspection.fields = raw::Raw.inspect(source)?.fields;
        Ok(inspection)
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(file.is_whole(0x31).is_some().then_some("a set of attributes, as CMS signs them"))
    }
}

impl Beside for Cms {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        inner::refuse(source)?;
        inner::refuse_content(source)?;
        let (scheme, len) = (Scheme::of(NAME, wanted.key, Padding::wanted(wanted)?)?, source.len()?);
        let own = beside::Own { format: NAME, scheme, len };
        own.prepare(wanted, self.inspect(source)?, |hash| Ok(hash.of_range(source, 0..len)?))
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        let mut inspection = self.inspect(source)?;
        let end = source.len()?;
        inspection.signatures = beside::read(NAME, signature, |hash| Ok(hash.of_range(source, 0..end)?))?;
        Ok(inspection)
    }
}
