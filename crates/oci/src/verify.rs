//! Whether an image is signed as it has to be, before anything of it runs.

use std::collections::BTreeMap;

use firmseal_formats::sigstore::SIGNATURE_TYPE;
use firmseal_formats::{Attested, BlobDigest, Covered, Platform, attested};
use firmseal_keys::verify::verify as verify_signature;
use firmseal_manifest::{KeyId, PublicKey};

use crate::error::OciError;
use crate::reference::Reference;
use crate::registry::{Image, Registry};

/// What has to be true of an image.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The keys that count.
    pub keys: Vec<PublicKey>,
    /// How many of them have to have signed.
    pub threshold: usize,
    /// What kind of statement counts; a signature, if not told.
    pub predicate_type: Option<String>,
    /// The lowest security epoch that a statement may say. Without one, an
    /// image that was signed once is good for ever.
    pub minimum_epoch: Option<u64>,
    /// The name that a statement has to give the image. Without one, an image
    /// under any name is good that these keys have signed.
    pub subject: Option<String>,
}

/// An image that is signed as it has to be.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What to run: the manifest, or of an index that of the platform. By its
    /// digest, so that nobody asks what a tag means again.
    pub image: Reference,
    /// What was signed: that manifest, or the index that names it.
    pub signed: BlobDigest,
    /// Who signed it, by key.
    pub signers: Vec<Signer>,
}

/// A key that has signed an image, and what its statement says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// The key.
    pub key: KeyId,
    /// The version.
    pub version: Option<String>,
    /// The security epoch.
    pub epoch: Option<u64>,
}

impl Policy {
    fn check(&self) -> Result<(), OciError> {
        let distinct = self.keys.iter().map(PublicKey::id).collect::<std::collections::BTreeSet<_>>().len();
        match self.threshold == 0 || self.threshold > distinct {
            true => Err(OciError::Settings(format!(
                "{} of {distinct} keys can never have signed; name at least one, and no more than there are",
                self.threshold
            ))),
            false => Ok(()),
        }
    }

    /// Why a statement does not count, whoever signed it.
    fn objection(&self, read: &Attested) -> Option<String> {
        let wanted = self.predicate_type.as_deref().unwrap_or(SIGNATURE_TYPE);
        let found = read.predicate_type.as_deref().unwrap_or_default();
        if found != wanted {
            return Some(format!("its statement is of type {found}"));
        }
        if let Some(subject) = &self.subject
            && read.subject.as_ref() != Some(subject)
        {
            return Some(match &read.subject {
                None => format!("its statement gives the image no name, and not `{subject}`"),
                Some(own) => format!("its statement is about `{own}`, and not `{subject}`"),
            });
        }
        let (minimum, epoch) = (self.minimum_epoch?, read.inspection.epoch);
        match epoch {
            None => Some("its statement says no security epoch".to_owned()),
            Some(epoch) if epoch < minimum => Some(format!("its security epoch {epoch} is below {minimum}")),
            Some(_) => None,
        }
    }

    /// The keys that have signed, of those that are named.
    fn signers(&self, read: &Attested) -> Vec<Signer> {
        let holds = |key: &&PublicKey| {
            read.inspection.signatures.iter().any(|own| match &own.covered {
                Covered::Tbs(tbs) if own.algorithm == key.algorithm() => {
                    verify_signature(key, tbs, &own.signature).is_ok()
                }
                _ => false,
            })
        };
        let (version, epoch) = (&read.inspection.version, read.inspection.epoch);
        let signer = |key: &PublicKey| Signer { key: key.id(), version: version.clone(), epoch };
        self.keys.iter().filter(holds).map(signer).collect()
    }
}

/// Verifies an image: what its name stands for now, fetched and hashed here,
/// against the bundles that refer to it. Of an index, with a platform, the
/// image of that platform is what comes out; it counts if the index is signed,
/// or the image itself.
pub async fn verify(
    registry: &Registry,
    reference: &Reference,
    policy: &Policy,
    platform: Option<&Platform>,
) -> Result<Verified, OciError> {
    policy.check()?;
    let top = registry.image(reference).await?;
    let signers = signers(registry, &top, policy).await;
    let Some(platform) = platform.filter(|_| top.manifest.is_index) else {
        return Ok(Verified { image: reference.pinned(&top.digest), signers: signers?, signed: top.digest });
    };
    let child = chosen(registry, &top, platform).await?;
    let (signed, signers) = match signers {
        Ok(signers) => (top.digest, signers),
        // The index is only the registry's word then: what counts is that the
        // image it names is signed.
        Err(OciError::NotSigned { .. }) => {
            (child.digest.clone(), self::signers(registry, &child, policy).await?)
        }
        Err(other) => return Err(other),
    };
    Ok(Verified { image: reference.pinned(&child.digest), signed, signers })
}

/// The image of a platform.
async fn chosen(registry: &Registry, index: &Image, platform: &Platform) -> Result<Image, OciError> {
    let suits =
        |own: &&firmseal_formats::Descriptor| own.platform.as_ref().is_some_and(|own| own.suits(platform));
    let all: Vec<_> = index.manifest.listed.iter().filter(suits).collect();
    let [one] = all.as_slice() else {
        let (digest, platform) = (index.digest.to_string(), platform.to_string());
        return Err(OciError::Platform { digest, platform, count: all.len() });
    };
    let image = registry.manifest(one.digest.as_str()).await?;
    if image.manifest.is_index
        || image.manifest.media_type != one.media_type
        || image.bytes.len() as u64 != one.size
    {
        return Err(OciError::Untrue(format!("{} is something else than its index says", one.digest)));
    }
    Ok(image)
}

/// Who has signed an image, if that is enough.
async fn signers(registry: &Registry, image: &Image, policy: &Policy) -> Result<Vec<Signer>, OciError> {
    let (mut counted, mut why) = (BTreeMap::new(), Vec::new());
    let bytes = image.bytes.to_vec();
    for (referrer, bundle) in registry.bundles(&image.digest).await? {
        let read = bundle.and_then(|bundle| Ok(attested(&bundle, &bytes)?));
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                why.push(format!("{referrer}: {error}"));
                continue;
            }
        };
        let signers = policy.signers(&read);
        if signers.is_empty() {
            why.push(format!("{referrer}: it is by another key, or about something else"));
            continue;
        }
        match policy.objection(&read) {
            Some(objection) => why.push(format!("{referrer}: {objection}")),
            None => signers.into_iter().for_each(|own| {
                counted.entry(own.key.to_string()).or_insert(own);
            }),
        }
    }
    let (have, need) = (counted.len(), policy.threshold);
    match have >= need {
        true => Ok(counted.into_values().collect()),
        false => Err(OciError::NotSigned { digest: image.digest.to_string(), have, need, why }),
    }
}
