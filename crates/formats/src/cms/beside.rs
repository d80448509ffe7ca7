//! A signature's file of its own, in CMS: written and read, whatever the
//! content is that it is over.

use super::attributes;
use super::certificate::{self, Chain};
use super::read::Signed;
use super::scheme::Scheme;
use super::signed_data::Draft;
use super::{DATA, LABEL};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::inspection::{ExistingSignature, Inspection};
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::source::Source;

/// Longest signature file that is read.
const FILE_MAX: u64 = 256 * 1024;

/// How the file is written.
pub(crate) const FORM: Parameter =
    Parameter { name: "form", about: "how the signature's file is written: der (default) or pem" };

/// Whose signature it is and how the key signs, beside a file of which length.
pub(crate) struct Own {
    pub(crate) format: &'static str,
    pub(crate) scheme: Scheme,
    pub(crate) len: u64,
}

impl Own {
    /// Lays the file out, over a content with the digests that `digest`
    /// computes.
    pub(crate) fn prepare(
        self,
        wanted: &Wanted<'_>,
        inspection: Inspection,
        digest: impl FnOnce(Hash) -> Result<Vec<u8>, FormatError>,
    ) -> Result<Unsigned, FormatError> {
        let is_pem = match wanted.parameters.get(FORM.name) {
            None | Some("der") => false,
            Some("pem") => true,
            Some(_) => return Err(bad(FORM.name, "use der or pem".to_owned())),
        };
        let chain = Chain::given(wanted.parameters, wanted.key)?;
        let digest = digest(self.scheme.hash())?;
        let attributes = attributes::write(DATA, &digest, chain.der(), wanted.parameters)?;
        let Own { format, scheme, len } = self;
        let draft = Draft { format, scheme, chain, attributes, content_type: DATA, content: None };
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
}

/// The signatures in such a file, over a content with the digests that
/// `digest` computes.
pub(crate) fn read(
    format: &'static str,
    signature: &dyn Source,
    digest: impl FnMut(Hash) -> Result<Vec<u8>, FormatError>,
) -> Result<Vec<ExistingSignature>, FormatError> {
    let malformed = |why: &str| FormatError::malformed(format, why);
    let len = signature.len()?;
    if len > FILE_MAX {
        return Err(malformed("its signature's file is longer than 256 KiB"));
    }
    let mut bytes = vec![0; len as usize];
    signature.read_at(0, &mut bytes)?;
    if bytes.starts_with(b"-----") {
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("its signature is no PEM"))?;
        let blocks = certificate::pem(text, LABEL).unwrap_or_default();
        let [block] =
            <[Vec<u8>; 1]>::try_from(blocks).map_err(|_| malformed("its signature is no PEM of one CMS"))?;
        bytes = block;
    }
    let signed = Signed::read(&bytes).map_err(malformed)?;
    if signed.content_type != DATA || signed.content.is_some() {
        let what = "its signature is over a content of its own, and not beside a file";
        return Err(FormatError::unsupported(format, what));
    }
    signed.signatures(digest)
}
