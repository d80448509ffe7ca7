//! A PE image with a signature: digest, content, PKCS #7, and the table.

use super::checksum::Sum;
use super::image::Image;
use super::inspect::{describe, inspect, is_efi};
use super::{NAME, spc, table};
use crate::cms::attributes;
use crate::cms::certificate::{self, Chain};
use crate::cms::scheme::Scheme;
use crate::cms::signed_data::Draft;
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::laid_out::Padding;
use crate::parameters::Parameter;
use crate::plan::Plan;
use crate::source::Source;
use firmseal_manifest::KeyAlgorithm;

pub(super) const PARAMETERS: &[Parameter] = &[
    certificate::PARAMETER,
    attributes::PARAMETERS[0],
    Parameter {
        name: "append",
        about: "`true` keeps the signatures that are in the image, and signs beside them; `false` (default) \
                replaces them",
    },
];

/// Lays out the signed image, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let append = wanted.parameters.flag("append")?;
    let algorithm = wanted.key.algorithm();
    // Firmware verifies RSA with PKCS #1 v1.5 and SHA-256 (UEFI 2.10
    // §32.2.4); newer firmware P-256 too. What is refused here would be
    // refused by the machine that is to boot.
    if !matches!(algorithm, KeyAlgorithm::Rsa(_) | KeyAlgorithm::P256) {
        let use_instead = "an RSA or a P-256 key";
        return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead });
    }
    let image = Image::read(source)?;
    if !is_efi(&image) {
        return Err(FormatError::unsupported(NAME, "it is made for something else than UEFI"));
    }
    let chain = Chain::given(wanted.parameters, wanted.key)?;
    let scheme = Scheme::of(NAME, wanted.key, Padding::Pkcs1)?;
    // Whatever stays in it is read; what is replaced need only be a table.
    let kept = if append {
        inspect(source)?;
        image.len - image.end
    } else {
        table::read(&image.table(source)?)?;
        0
    };
    let inspection = describe(&image, source)?;
    let content = spc::write(&image.digest(source, Hash::Sha256)?);
    let malformed = |why| FormatError::malformed(NAME, why);
    let digest = Hash::Sha256.of(spc::hashed(&content).map_err(malformed)?);
    let attributes = attributes::write(spc::INDIRECT_DATA, &digest, chain.der(), wanted.parameters)?;
    let content_type = spc::INDIRECT_DATA;
    let draft = Draft { format: NAME, scheme, chain, attributes, content_type, content: Some(content) };
    let tbs = draft.tbs();
    // All of these begin on a word: the image's headers do.
    let mut ranges = image.hashed().to_vec();
    ranges.push(image.end..image.end + kept);
    let sum = Sum::default().ranges(source, &ranges)?;
    Ok(Unsigned::new(
        tbs,
        inspection,
        Box::new(move |signature| {
            let entry = table::entry(&draft.seal(signature)?);
            let start = image.end.next_multiple_of(8);
            let size = kept + entry.len() as u64;
            let too_large = || FormatError::unsupported(NAME, "with its signature it is longer than 2 GiB");
            let (Ok(start), Ok(size)) = (i32::try_from(start), i32::try_from(size)) else {
                return Err(too_large());
            };
            let len = start.checked_add(size).ok_or_else(too_large)? as u32;
            let place = [start.to_le_bytes(), size.to_le_bytes()].concat();
            let checksum = sum.bytes(&place).bytes(&entry).finish(len);
            Ok(Plan::new(image.len)
                .source(0..image.checksum)
                .bytes(checksum.to_le_bytes())
                .source(image.checksum + 4..image.entry)
                .bytes(place)
                .source(image.entry + 8..image.end)
                .bytes(vec![0; image.padding()])
                .source(image.end..image.end + kept)
                .bytes(entry))
        }),
    ))
}
