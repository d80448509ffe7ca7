//! A cabinet with a signature of one of its files: of the metainfo, or of the
//! payload. fwupd wants both, and a key signs one thing at a time: the second
//! is added to what the first gave.

use super::inspect::{Firmware, content};
use super::jcat::{JcatFile, LABEL};
use super::{NAME, beside, layout, malformed};
use crate::cms::{attributes, certificate};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::inner;
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::source::Source;

const MEMBER: Parameter = Parameter {
    name: "member",
    about: "what is signed: `metainfo` (default), which covers the payload by its checksum, or `payload`, which \
            fwupd wants besides; sign the signed cabinet again for the other one",
};

pub(super) const PARAMETERS: &[Parameter] = &[MEMBER, certificate::PARAMETER, attributes::PARAMETERS[0]];

/// Lays out the signed cabinet, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let firmware = Firmware::read(source)?;
    checked(&firmware, wanted)?;
    let file = match wanted.parameters.get(MEMBER.name) {
        None | Some("metainfo") => &firmware.metainfo,
        Some("payload") => &firmware.payload,
        Some(_) => return Err(bad(MEMBER.name, "use metainfo or payload".to_owned())),
    };
    let (draft, sha256) = content(source, &firmware.cabinet, file, |own| {
        // It is CMS over a file like any other.
        inner::refuse(own)?;
        inner::refuse_content(own)?;
        Ok((beside::draft(NAME, own, wanted)?, Hash::Sha256.of_range(own, 0..own.len()?)?))
    })?;
    let (inspection, name) = (firmware.describe(), file.name.clone());
    let Firmware { cabinet, jcat, .. } = firmware;
    let before = jcat.unwrap_or_else(JcatFile::new);
    Ok(Unsigned::new(
        draft.tbs(),
        inspection,
        Box::new(move |value| -> Result<Plan, FormatError> {
            let pkcs7 = certificate::to_pem(LABEL, &draft.seal(value)?);
            let mut jcat = before.clone();
            jcat.add(&name, &sha256, pkcs7).map_err(malformed)?;
            layout::with(&cabinet, &jcat.write())
        }),
    ))
}

/// The metainfo says what its signature covers, and what was asked for.
fn checked(firmware: &Firmware, wanted: &Wanted<'_>) -> Result<(), FormatError> {
    if !firmware.covers() {
        return Err(malformed(format!(
            "its metainfo has no SHA-256 of `{}`, so that its signature would not cover it: add \
             `<checksum type=\"sha256\" filename=\"{}\" target=\"content\">`",
            firmware.payload.name, firmware.payload.name
        )));
    }
    // Vendors number firmware in many ways: what is no semver is not compared.
    match semver::Version::parse(firmware.version()) {
        Ok(own) if own != wanted.version => {
            let (inside, wanted) = (own.to_string(), wanted.version.to_string());
            Err(FormatError::Disagrees { field: "version", inside, wanted })
        }
        _ => Ok(()),
    }
}
