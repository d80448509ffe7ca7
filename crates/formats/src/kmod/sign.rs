//! A module with a signature behind it, in the place of one that is there.

use super::NAME;
use super::appended::{self, Appended};
use super::inspect::describe;
use super::pkcs7;
use crate::cms::certificate::{self, Chain};
use crate::cms::scheme::Scheme;
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::laid_out::Padding;
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::source::Source;

pub(super) const PARAMETERS: &[Parameter] = &[Parameter {
    name: certificate::PARAMETER.name,
    about: "the signer's certificate in PEM, by which the kernel finds its key; it has to know it, and does \
            not go with the module; `@FILE` on the command line",
}];

/// Lays out the signed module, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let scheme = Scheme::of_common(NAME, wanted.key, Padding::Pkcs1)?;
    let chain = Chain::given(wanted.parameters, wanted.key)?;
    if chain.all().len() > 1 {
        let why = "the kernel has to know the signer's own: give that one alone";
        return Err(bad(certificate::PARAMETER.name, why.to_owned()));
    }
    // What is replaced need only be the end of a signature.
    let end = Appended::read(source)?.end;
    let inspection = describe(source, end)?;
    let digest = scheme.hash().of_range(source, 0..end)?;
    let tbs = pkcs7::tbs(wanted.key.algorithm(), scheme.hash(), &digest)
        .ok_or_else(|| FormatError::unsupported(NAME, "a key that hashes otherwise"))?;
    let len = source.len()?;
    Ok(Unsigned::new(
        tbs,
        inspection,
        Box::new(move |signature| {
            let signer = chain.signer().map_err(|why| FormatError::malformed(NAME, why))?;
            let pkcs7 = pkcs7::write(&signer, &scheme, signature)?;
            Ok(Plan::new(len).source(0..end).bytes(appended::write(&pkcs7)))
        }),
    ))
}
