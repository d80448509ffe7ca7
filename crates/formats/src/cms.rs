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
pub(crate) mod certificate;
pub(crate) mod read;
pub(crate) mod scheme;
pub(crate) mod signed_data;

use crate::der::{self, Bad, Element, OCTET_STRING};
use crate::error::FormatError;
use crate::format::{Beside, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::hash::Hash;
use crate::inspection::Inspection;
use crate::laid_out::{PADDING, Padding};
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::source::Source;
use crate::{inner, raw};

use certificate::Chain;
use read::Signed;
use scheme::Scheme;
use signed_data::Draft;

const NAME: &str = "cms";
/// `id-data`.
pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// Longest signature file that is read.
const FILE_MAX: u64 = 256 * 1024;
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

const PARAMETERS: &[Parameter] = &[
    certificate::PARAMETER,
    PADDING,
    attributes::PARAMETERS[0],
    attributes::PARAMETERS[1],
    Parameter { name: "form", about: "how the signature's file is written: der (default) or pem" },
];

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

    fn embedding(&self) -> Option<&dyn Embedding> {
        None
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
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
        let is_pem = match wanted.parameters.get("form") {
            None | Some("der") => false,
            Some("pem") => true,
            Some(_) => return Err(bad("form", "use der or pem".to_owned())),
        };
        let chain = Chain::given(wanted.parameters, wanted.key)?;
        let scheme = Scheme::of(NAME, wanted.key, Padding::wanted(wanted)?)?;
        let inspection = self.inspect(source)?;
        let len = source.len()?;
        let digest = scheme.hash().of_range(source, 0..len)?;
        let attributes = attributes::write(DATA, &digest, chain.der(), wanted.parameters)?;
        let draft = Draft { format: NAME, scheme, chain, attributes, content_type: DATA, content: None };
        let tbs = draft.tbs();
        Ok(Unsigned::new(
            tbs,
            inspection,
            Box::new(move |signature| {
                let der = draft.seal(signature)?;
                Ok(Plan::new(len).bytes(if is_pem {
                    certificate::to_pem(LABEL, &der).into_bytes()
                } else {
                    der
                }))
            }),
        ))
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        let malformed = |why: &str| FormatError::malformed(NAME, why);
        let mut inspection = self.inspect(source)?;
        let len = signature.len()?;
        if len > FILE_MAX {
            return Err(malformed("its file is longer than 256 KiB"));
        }
        let mut bytes = vec![0; len as usize];
        signature.read_at(0, &mut bytes)?;
        if bytes.starts_with(b"-----") {
            let text = std::str::from_utf8(&bytes).map_err(|_| malformed("it is no PEM"))?;
            let blocks = certificate::pem(text, LABEL).unwrap_or_default();
            let [block] =
                <[Vec<u8>; 1]>::try_from(blocks).map_err(|_| malformed("it is no PEM of one CMS"))?;
            bytes = block;
        }
        let signed = Signed::read(&bytes).map_err(malformed)?;
        if signed.content_type != DATA || signed.content.is_some() {
            return Err(FormatError::unsupported(
                NAME,
                "it is over a content of its own, and not beside a file",
            ));
        }
        let end = source.len()?;
        inspection.signatures = signed.signatures(|hash: Hash| hash.of_range(source, 0..end))?;
        Ok(inspection)
    }
}
