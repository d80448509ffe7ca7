//! A signature beside any file, as a jcat.

use super::is_plain;
use super::jcat::{Checksums, JcatFile, LABEL};
use crate::cms::certificate::{self, Chain};
use crate::cms::scheme::Scheme;
use crate::cms::signed_data::Draft;
use crate::cms::{DATA, attributes};
use crate::error::FormatError;
use crate::format::{Beside, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::laid_out::Padding;
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::raw;
use crate::source::Source;
use crate::{hash::Hash, inner};

const NAME: &str = "jcat";
/// Longest file of one.
const FILE_MAX: u64 = 256 * 1024;

const FILE: Parameter = Parameter {
    name: "name",
    about: "the signed file's name, by which jcat-tool and fwupd look for its signatures; without directories",
};

const PARAMETERS: &[Parameter] = &[certificate::PARAMETER, FILE, attributes::PARAMETERS[0]];

/// The jcat format.
pub(crate) struct Jcat;

impl Format for Jcat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "any bytes; the signature stands beside the file, in a jcat as fwupd and jcat-tool read it"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any file would do; that its signature is to be a jcat, none says.
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
}

impl Beside for Jcat {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        let name = wanted.parameters.get(FILE.name).filter(|name| is_plain(name)).map(str::to_owned);
        let name = name
            .ok_or_else(|| bad(FILE.name, "give the file's own, of letters, digits and `_-.+`".to_owned()))?;
        inner::refuse(source)?;
        inner::refuse_content(source)?;
        let len = source.len()?;
        let (draft, sha256) = (draft(NAME, source, wanted)?, Hash::Sha256.of_range(source, 0..len)?);
        Ok(Unsigned::new(
            draft.tbs(),
            self.inspect(source)?,
            Box::new(move |signature| {
                let pkcs7 = certificate::to_pem(LABEL, &draft.seal(signature)?);
                let mut jcat = JcatFile::new();
                jcat.add(&name, &sha256, pkcs7).map_err(|why| FormatError::malformed(NAME, why))?;
                Ok(Plan::new(len).bytes(jcat.write()))
            }),
        ))
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        let mut inspection = self.inspect(source)?;
        if signature.len()? > FILE_MAX {
            return Err(FormatError::malformed(NAME, "its signature's file is longer than 256 KiB"));
        }
        let end = source.len()?;
        let jcat = JcatFile::read(NAME, signature)?;
        let digest = |hash: Hash| Ok::<_, FormatError>(hash.of_range(source, 0..end)?);
        for item in jcat.items().map_err(|why| FormatError::malformed(NAME, why))? {
            // Others are in it as well.
            if item.checksums(digest)? != Checksums::Wrong {
                inspection.signatures.extend(item.signature(digest)?);
            }
        }
        match inspection.signatures.is_empty() {
            true => Err(FormatError::malformed(
                NAME,
                "its jcat has no signature of this file that can be read here",
            )),
            false => Ok(inspection),
        }
    }
}

/// CMS over a file, all but the signature.
pub(super) fn draft(
    format: &'static str,
    content: &dyn Source,
    wanted: &Wanted<'_>,
) -> Result<Draft, FormatError> {
    // What jcat-tool writes: PKCS #1 of RSA keys, attributes, the certificate.
    let scheme = Scheme::of_common(format, wanted.key, Padding::Pkcs1)?;
    let chain = Chain::given(wanted.parameters, wanted.key)?;
    let digest = scheme.hash().of_range(content, 0..content.len()?)?;
    let attributes = attributes::write(DATA, &digest, chain.der(), wanted.parameters)?;
    Ok(Draft { format, scheme, chain, attributes, content_type: DATA, content: None })
}
