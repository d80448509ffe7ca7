//! A package with a signature: behind the description, in the place of one
//! that is there.

use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

use super::inspect::Package;
use super::{DESCRIPTION, NAME, SIGNATURE};
use crate::cms::certificate::{self, Chain};
use crate::cms::scheme::Scheme;
use crate::cms::signed_data::Draft;
use crate::cms::{DATA, attributes};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::{Hash, array};
use crate::laid_out::{PADDING, Padding};
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::signature::encoded;
use crate::source::Source;

const KIND: Parameter = Parameter {
    name: "signature",
    about: "what the devices' SWUpdate was built for: cms (default), rsa-pss or rsa-pkcs1, which are bare \
            signatures of RSA keys",
};

pub(super) const PARAMETERS: &[Parameter] =
    &[KIND, certificate::PARAMETER, PADDING, attributes::PARAMETERS[0], attributes::PARAMETERS[1]];

/// How the signature's file comes about.
enum Form {
    Cms(Box<Draft>),
    /// The signature itself.
    Bare(KeyAlgorithm, Tbs),
}

impl Form {
    fn of(signed: &[u8], wanted: &Wanted<'_>) -> Result<Form, FormatError> {
        let algorithm = wanted.key.algorithm();
        let is_rsa = matches!(algorithm, KeyAlgorithm::Rsa(_));
        let digest = || array(&Hash::Sha256.of(signed));
        let tbs = match wanted.parameters.get(KIND.name) {
            None | Some("cms") => return Form::cms(signed, wanted),
            Some("rsa-pss") => Tbs::Sha256(digest()),
            Some("rsa-pkcs1") => Tbs::Pkcs1(digest()),
            Some(_) => return Err(bad(KIND.name, "use cms, rsa-pss or rsa-pkcs1".to_owned())),
        };
        if !is_rsa {
            let use_instead = "an RSA key, or `signature=cms`";
            return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead });
        }
        wanted.parameters.check(&[KIND])?;
        Ok(Form::Bare(algorithm, tbs))
    }

    fn cms(signed: &[u8], wanted: &Wanted<'_>) -> Result<Form, FormatError> {
        let scheme = Scheme::of_common(NAME, wanted.key, Padding::wanted(wanted)?)?;
        let chain = Chain::given(wanted.parameters, wanted.key)?;
        let digest = scheme.hash().of(signed);
        let attributes = attributes::write(DATA, &digest, chain.der(), wanted.parameters)?;
        let draft = Draft { format: NAME, scheme, chain, attributes, content_type: DATA, content: None };
        Ok(Form::Cms(Box::new(draft)))
    }

    fn tbs(&self) -> Tbs {
        match self {
            Form::Cms(draft) => draft.tbs(),
            Form::Bare(_, tbs) => tbs.clone(),
        }
    }

    fn seal(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        match self {
            Form::Cms(draft) => draft.seal(signature),
            Form::Bare(algorithm, _) => encoded(*algorithm, signature),
        }
    }
}

/// Lays out the signed package, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let package = Package::read(source)?;
    let form = Form::of(&package.signed, wanted)?;
    checked(&package, wanted)?;
    let inspection = package.describe();
    let archive = package.archive;
    let before = archive.members.get(1).map_or(archive.trailer, |member| member.start);
    let after = archive.artifacts().first().map_or(archive.trailer, |member| member.start);
    Ok(Unsigned::new(
        form.tbs(),
        inspection,
        Box::new(move |signature| {
            let member = archive.member(SIGNATURE, &form.seal(signature)?);
            let end = before + member.len() as u64 + archive.end - after;
            Ok(Plan::new(archive.len)
                .source(0..before)
                .bytes(member)
                .source(after..archive.end)
                .bytes(archive.padding(end)))
        }),
    ))
}

/// Everything that a device takes is signed, and is what was asked for.
fn checked(package: &Package, wanted: &Wanted<'_>) -> Result<(), FormatError> {
    let malformed = |what: String| Err(FormatError::malformed(NAME, what));
    if let Some(name) = package.unhashed() {
        return malformed(format!(
            "`{name}` has no sha256 in {DESCRIPTION}, so that no signature covers it: add it, as swugenerator does"
        ));
    }
    if let Some(name) = package.unnamed().next() {
        return malformed(format!(
            "`{name}` is named by no entry of {DESCRIPTION}, so that no signature covers it: leave it out"
        ));
    }
    let said = |own: &String| semver::Version::parse(own).ok();
    match package.description.versions.iter().find(|own| said(own).as_ref() != Some(&wanted.version)) {
        None => Ok(()),
        Some(other) => {
            let (inside, wanted) = (other.clone(), wanted.version.to_string());
            Err(FormatError::Disagrees { field: "version", inside, wanted })
        }
    }
}
