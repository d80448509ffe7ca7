//! A signed image: padded to 4 KiB, and a sector with its signature block, alone
//! or behind those that are there.

use firmseal_manifest::{KeyAlgorithm, Signature};

use super::app::App;
use super::block::{Block, KEYS, encoded};
use super::image::Image;
use super::inspect::{blocks, describe, tbs};
use super::{NAME, chip, sector};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::parameters::Parameter;
use crate::source::Source;

pub(super) const PARAMETERS: &[Parameter] = &[Parameter {
    name: "append",
    about: "`true` keeps the signatures that are in the image, up to two, and signs beside them; `false` (default) \
            replaces them",
}];

pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let append = wanted.parameters.flag("append")?;
    let (key, algorithm) = (wanted.key.clone(), wanted.key.algorithm());
    let refused = |use_instead| FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead };
    if !matches!(algorithm, KeyAlgorithm::Rsa(3072) | KeyAlgorithm::P256 | KeyAlgorithm::P384) {
        return Err(refused(KEYS));
    }
    encoded(&key)?;
    let image = Image::read(source)?;
    // What is refused here would be refused by the chip that is to boot.
    if let Some(use_instead) = chip::refuses(image.chip, algorithm) {
        return Err(refused(use_instead));
    }
    let app = App::read(source, &image)?;
    if let Some(app) = &app {
        agrees(app, wanted)?;
    }
    // What is replaced need not be understood.
    let kept = if append { kept(source, &image, wanted)? } else { Vec::new() };
    let inspection = describe(source, &image, app.as_ref())?;
    let signed = image.signed(source.len()?);
    let digest = Block::hash_of(&key).of_range(&signed.over(source)?, 0..image.signed_len())?;
    let to_be_signed = tbs(algorithm, &digest);
    let attach = move |signature: &Signature| {
        let mut blocks = kept.clone();
        blocks.push(Block::write(&key, &digest, signature)?);
        Ok(signed.clone().bytes(sector::write(&blocks)))
    };
    Ok(Unsigned::new(to_be_signed, inspection, Box::new(attach)))
}

/// The order says what the app says.
fn agrees(app: &App, wanted: &Wanted<'_>) -> Result<(), FormatError> {
    let inside = app.semver().ok_or_else(|| {
        FormatError::unsupported(
            NAME,
            format!(
                "its version, `{}`, is none that an order could name: build it with PROJECT_VER like 1.2.3",
                app.version
            ),
        )
    })?;
    if inside != wanted.version {
        let (inside, wanted) = (inside.to_string(), wanted.version.to_string());
        return Err(FormatError::Disagrees { field: "version", inside, wanted });
    }
    if u64::from(app.secure_version) != wanted.epoch {
        let (inside, wanted) = (app.secure_version.to_string(), wanted.epoch.to_string());
        return Err(FormatError::Disagrees { field: "secure version", inside, wanted });
    }
    Ok(())
}

/// The blocks that stay before another one.
fn kept(source: &dyn Source, image: &Image, wanted: &Wanted<'_>) -> Result<Vec<Vec<u8>>, FormatError> {
    let refuse = |what: String| Err(FormatError::unsupported(NAME, what));
    let found = blocks(source, image)?;
    let most = chip::blocks_max(image.chip);
    if found.len() >= most {
        let name = chip::name(image.chip);
        return refuse(format!("it has {} of the {most} signatures that an {name} looks at", found.len()));
    }
    for (_, block) in &found {
        match &block.key {
            Some(own) if own == wanted.key => {
                return refuse("it is signed by this key already".to_owned());
            }
            // "all signature blocks ... must use the same signature scheme".
            Some(own) if own.algorithm() == wanted.key.algorithm() => {}
            _ => return refuse("its signatures are of another kind: a chip verifies with one".to_owned()),
        }
    }
    Ok(found.into_iter().map(|(bytes, _)| bytes).collect())
}
