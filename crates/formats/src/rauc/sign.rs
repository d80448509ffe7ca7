//! A bundle with another signature, or one that is made of a squashfs and its
//! manifest.

use sha2::{Digest, Sha256};

use super::bundle::{self, Bundle, CMS_MAX};
use super::envelope::Devices;
use super::inspect::{Shape, examine};
use super::manifest::Manifest;
use super::squashfs::{self, SUPERBLOCK};
use super::{NAME, envelope, payload};
use crate::cms::certificate::{self, Chain};
use crate::cms::scheme::Scheme;
use crate::cms::signed_data::Draft;
use crate::cms::{self, attributes};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::laid_out::{PADDING, Padding};
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::source::{Source, head};
use crate::verity::Tree;

pub(super) const PARAMETERS: &[Parameter] = &[
    certificate::PARAMETER,
    PADDING,
    attributes::PARAMETERS[0],
    envelope::PARAMETER,
    Parameter {
        name: "manifest",
        about: "the manifest of a squashfs that is to become a verity bundle; `@FILE` on the command line",
    },
    Parameter {
        name: "plain",
        about: "`true` signs plain bundles, whose version and compatible are not seen here; default `false`",
    },
];

/// Room for what CMS has besides manifest, certificates and attributes.
const CMS_REST: usize = 4096;

/// All but the CMS.
struct Laid {
    /// Payload and tree.
    plan: Plan,
    /// The manifest, unless the payload itself is signed.
    manifest: Option<Vec<u8>>,
    inspection: Inspection,
}

/// Lays out the signed bundle, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let scheme = Scheme::of_common(NAME, wanted.key, Padding::wanted(wanted)?)?;
    let chain = Chain::given(wanted.parameters, wanted.key)?;
    let Laid { plan, manifest, inspection } = match bundle::tail(source)? {
        Some(_) => again(source, wanted)?,
        None => build(source, wanted)?,
    };
    if let Some(inside) = &inspection.version
        && inspection.semver().as_ref() != Some(&wanted.version)
    {
        let (inside, wanted) = (inside.clone(), wanted.version.to_string());
        return Err(FormatError::Disagrees { field: "version", inside, wanted });
    }
    let devices = wanted.parameters.get(envelope::PARAMETER.name).map(Devices::given).transpose()?;
    if devices.is_some() && !inspection.encrypted {
        // An envelope around a manifest alone would hide nothing.
        return Err(bad(
            envelope::PARAMETER.name,
            "crypt bundles alone are encrypted for devices".to_owned(),
        ));
    }
    let digest = match &manifest {
        Some(manifest) => scheme.hash().of(manifest),
        None => scheme.hash().of_range(source, 0..plan.output_len())?,
    };
    let attributes = attributes::write(cms::DATA, &digest, chain.der(), wanted.parameters)?;
    let certificates: usize = chain.all().iter().map(Vec::len).sum();
    let around = devices.as_ref().map_or(0, Devices::len);
    let held = manifest.as_ref().map_or(0, Vec::len) + certificates + attributes.len() + around;
    if (held + CMS_REST) as u64 > CMS_MAX {
        return Err(FormatError::unsupported(
            NAME,
            "manifest, certificates and recipients beyond 60 KiB, which RAUC refuses",
        ));
    }
    let content = manifest.as_deref().map(cms::around);
    let draft = Draft { format: NAME, scheme, chain, attributes, content_type: cms::DATA, content };
    let tbs = draft.tbs();
    let before = plan.clone();
    let unsigned = Unsigned::new(
        tbs,
        inspection,
        Box::new(move |signature| Ok(with_cms(plan.clone(), draft.seal(signature)?))),
    );
    let Some(devices) = devices else { return Ok(unsigned) };
    Ok(unsigned.sealed(
        NAME,
        Box::new(move |signed, source| {
            let signed = Bundle::read(&signed.over(source)?)?;
            let fail =
                || FormatError::unsupported(NAME, "a recipient's key that nothing can be encrypted for");
            Ok(with_cms(before.clone(), devices.seal(&signed.cms).ok_or_else(fail)?))
        }),
    ))
}

/// A bundle of what lies before its CMS.
pub(super) fn with_cms(plan: Plan, cms: Vec<u8>) -> Plan {
    let length = (cms.len() as u64).to_be_bytes();
    plan.bytes(cms).bytes(length)
}

/// A bundle that somebody has signed: all but its CMS stays.
fn again(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Laid, FormatError> {
    if wanted.parameters.get("manifest").is_some() {
        return Err(bad("manifest", "the bundle has one already, over which its tree is".to_owned()));
    }
    let plain = wanted.parameters.flag("plain")?;
    let examined = examine(source)?;
    let mut inspection = examined.inspection;
    inspection.signatures.clear();
    let manifest = match examined.shape {
        Shape::Manifest(manifest) => Some(manifest),
        Shape::Plain if plain => None,
        Shape::Plain => {
            return Err(FormatError::unsupported(
                NAME,
                "a plain bundle, whose version and compatible nobody here sees; build it with format=verity, or \
                 sign it unseen with the parameter plain=true",
            ));
        }
        // It would be signing blind, and RAUC looks for the signature inside.
        Shape::Enveloped => {
            return Err(FormatError::unsupported(
                NAME,
                "the bundle is encrypted for its recipients; sign the one from before `rauc encrypt`",
            ));
        }
    };
    let plan = Plan::new(source.len()?).source(0..examined.payload_end);
    Ok(Laid { plan, manifest, inspection })
}

/// A verity bundle of a squashfs.
fn build(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Laid, FormatError> {
    let Some(superblock) = head::<SUPERBLOCK>(source)?.filter(|head| squashfs::begins(head)) else {
        return Err(FormatError::unsupported(NAME, "neither a bundle nor a squashfs"));
    };
    let needed = || {
        let why =
            "a squashfs becomes a bundle with its manifest: give it with `--param manifest=@manifest.raucm`";
        bad("manifest", why.to_owned())
    };
    let text = wanted.parameters.get("manifest").ok_or_else(needed)?;
    if text.len() as u64 > CMS_MAX {
        return Err(bad("manifest", "it is longer than 64 KiB".to_owned()));
    }
    let given = Manifest::read(text.as_bytes())?;
    let len = source.len()?;
    let blocks = payload::blocks(len)?;
    squashfs::check(&superblock, len)?;
    // A salt has to differ between bundles and need not be secret; the same
    // wish makes the same file.
    let salt: [u8; 32] = Sha256::new()
        .chain_update(b"firmseal rauc verity salt 1")
        .chain_update(len.to_be_bytes())
        .chain_update(superblock)
        .chain_update(text)
        .finalize()
        .into();
    let tree = Tree::of(source, blocks, salt, |_, _| Ok(()))?;
    let manifest = given.with_tree(&tree.root, &salt, Tree::len_over(blocks))?.into_bytes();
    let plan = Plan::new(len).source(0..len).bytes(tree.upper).leaves(tree.leaves);
    let mut inspection = Inspection::new(NAME, len);
    Manifest::read(&manifest)?.describe(&mut inspection);
    Ok(Laid { plan, manifest: Some(manifest), inspection })
}
