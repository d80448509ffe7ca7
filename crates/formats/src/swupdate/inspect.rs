//! What a package says of itself.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

use super::archive::Archive;
use super::description::Description;
use super::{DESCRIPTION, NAME};
use crate::cms::DATA;
use crate::cms::read::Signed;
use crate::error::FormatError;
use crate::hash::{Hash, array, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim};
use crate::source::Source;

/// Longest description: scripts stand in it.
const DESCRIPTION_MAX: u64 = 256 * 1024;
/// Longest signature.
const SIGNATURE_MAX: u64 = 64 * 1024;

/// A package whose files are those that its description names.
pub(super) struct Package {
    pub(super) archive: Archive,
    pub(super) description: Description,
    /// The description's own bytes: what is signed.
    pub(super) signed: Vec<u8>,
}

impl Package {
    pub(super) fn read(source: &dyn Source) -> Result<Package, FormatError> {
        let archive = Archive::read(source)?;
        let first = archive.members.first();
        let first = first.ok_or_else(|| FormatError::malformed(NAME, "its archive is empty"))?;
        let signed = archive.content(source, first, DESCRIPTION_MAX)?;
        let description = Description::read(&signed)?;
        let mut found = BTreeMap::new();
        for member in archive.artifacts() {
            found.insert(member.name.as_str(), archive.digest(source, member)?);
        }
        for artifact in &description.artifacts {
            let name = &artifact.filename;
            let what = match (found.get(name.as_str()), artifact.sha256) {
                (None, _) => "is not in the archive",
                (Some(found), Some(said)) if *found != said => "has another sha256 in the archive",
                _ => continue,
            };
            return Err(FormatError::malformed(NAME, format!("`{name}`, which {DESCRIPTION} names, {what}")));
        }
        Ok(Package { archive, description, signed })
    }

    /// An artifact without a digest: anybody may put another one in its place.
    pub(super) fn unhashed(&self) -> Option<&str> {
        let mut all = self.description.artifacts.iter();
        all.find(|own| own.sha256.is_none()).map(|own| own.filename.as_str())
    }

    /// Files that no entry names: SWUpdate passes over them.
    pub(super) fn unnamed(&self) -> impl Iterator<Item = &str> {
        let named: BTreeSet<&str> =
            self.description.artifacts.iter().map(|own| own.filename.as_str()).collect();
        self.archive
            .artifacts()
            .iter()
            .map(|member| member.name.as_str())
            .filter(move |name| !named.contains(name))
    }

    /// What stands inside the signature, and what does not.
    pub(super) fn describe(&self) -> Inspection {
        let size = self.archive.artifacts().iter().map(|own| own.data.end - own.data.start).sum();
        let mut out = Inspection::new(NAME, size);
        let Description { hardware, encrypted, settings, .. } = &self.description;
        out.version = self.description.version().map(str::to_owned);
        out.target = (!hardware.is_empty()).then(|| hardware.join(", "));
        out.encrypted = *encrypted;
        for (place, what) in settings {
            out.field(place, what);
        }
        out.field("sw-description sha256", hex(&Hash::Sha256.of(&self.signed)));
        if let Some(name) = self.unhashed() {
            out.note("without sha256", name);
        }
        for name in self.unnamed() {
            out.note("named by no entry", name);
        }
        out
    }

    /// The signature, in the one of its forms that it has.
    fn signatures(&self, source: &dyn Source) -> Result<Vec<ExistingSignature>, FormatError> {
        let Some(member) = self.archive.signature() else { return Ok(Vec::new()) };
        let bytes = self.archive.content(source, member, SIGNATURE_MAX)?;
        let mut found = match Signed::read(&bytes) {
            Ok(signed) if signed.content_type != DATA || signed.content.is_some() => {
                return Err(FormatError::malformed(NAME, "its signature is over something of its own"));
            }
            Ok(signed) => signed.signatures(|hash| Ok::<_, FormatError>(hash.of(&self.signed)))?,
            Err(_) if matches!(bytes.len(), 256 | 384 | 512) => self.bare(&bytes),
            Err(why) => return Err(FormatError::malformed(NAME, format!("its signature: {why}"))),
        };
        if self.unhashed().is_some() {
            let why = Covered::Unknown("it does not cover an artifact without sha256");
            found.iter_mut().for_each(|own| own.covered = why.clone());
        }
        Ok(found)
    }

    /// One of RSA. The file does not say with which padding: the device does.
    fn bare(&self, bytes: &[u8]) -> Vec<ExistingSignature> {
        let digest = array(&Hash::Sha256.of(&self.signed));
        let each =
            [Tbs::Sha256(digest), Tbs::PssMax(digest), Tbs::Pkcs1(digest)].map(|tbs| ExistingSignature {
                algorithm: KeyAlgorithm::Rsa(bytes.len() as u16 * 8),
                claim: KeyClaim::None,
                covered: Covered::Tbs(tbs),
                signature: Signature(bytes.to_vec()),
            });
        each.into()
    }
}

/// Describes a package.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let package = Package::read(source)?;
    let mut inspection = package.describe();
    inspection.signatures = package.signatures(source)?;
    Ok(inspection)
}
