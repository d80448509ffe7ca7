//! What refers to an image: its signatures, and whatever else others put
//! there (distribution-spec, listing referrers).

use firmseal_formats::{BlobDigest, Descriptor, Manifest};
use http::header;

use crate::BUNDLE;
use crate::error::OciError;
use crate::registry::{Registry, expect};

/// Longest list that is read.
const LIST_MAX: usize = 4 * 1024 * 1024;
/// Most pages of a list.
const PAGES_MAX: usize = 16;
/// Most bundles of one image that are fetched: whoever may write to the
/// repository may bring some, and each is work.
const BUNDLES_MAX: usize = 64;
/// Longest bundle.
const BUNDLE_MAX: usize = 4 * 1024 * 1024;

/// Something that refers to an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Referrer {
    /// Its manifest.
    pub digest: BlobDigest,
    /// What kind of artifact it is; empty where it does not say.
    pub artifact_type: String,
}

/// The tag under which referrers are listed where a registry does not list
/// them ("Referrers Tag Schema").
pub(crate) fn tag(digest: &BlobDigest) -> String {
    digest.as_str().replacen(':', "-", 1)
}

impl Registry {
    /// What refers to a manifest.
    pub async fn referrers(&self, digest: &BlobDigest) -> Result<Vec<Referrer>, OciError> {
        let listed = match self.listed(digest).await? {
            Some(listed) => listed,
            None => {
                let found = self.optional_manifest(&tag(digest)).await?;
                found.map_or_else(Vec::new, |(image, _)| image.manifest.listed)
            }
        };
        let kind = |own: Descriptor| own.artifact_type.unwrap_or_default();
        Ok(listed
            .into_iter()
            .map(|own| Referrer { digest: own.digest.clone(), artifact_type: kind(own) })
            .collect())
    }

    /// What the registry lists; `None` where it lists nothing for anybody.
    async fn listed(&self, digest: &BlobDigest) -> Result<Option<Vec<Descriptor>>, OciError> {
        let first = format!("referrers/{digest}");
        let (mut path, mut all) = (first.clone(), Vec::new());
        for _ in 0..PAGES_MAX {
            let answer = self.get(&path, LIST_MAX).await?;
            // "If the registry does not support the referrers API ... 404."
            // Others answer other refusals of what they do not know.
            if matches!(answer.status, 400 | 404 | 405) {
                return Ok(None);
            }
            let answer = expect(answer, &[200], "what refers to the image")?;
            let list = Manifest::read(&answer.body)?;
            if !list.is_index {
                return Err(OciError::Untrue("its list of what refers to the image is no list".to_owned()));
            }
            all.extend(list.listed);
            let link = answer.headers.get(header::LINK).and_then(|value| value.to_str().ok());
            match link.and_then(next) {
                None => return Ok(Some(all)),
                // Only what goes on with the same list is followed.
                Some(query) => path = format!("{first}?{query}"),
            }
        }
        Err(OciError::Untrue("its list of what refers to the image does not end".to_owned()))
    }

    /// The bundles that refer to a manifest. One that cannot be had is said so
    /// in its place: it hides none of the others.
    pub(crate) async fn bundles(
        &self,
        digest: &BlobDigest,
    ) -> Result<Vec<(BlobDigest, Result<Vec<u8>, OciError>)>, OciError> {
        let all = self.referrers(digest).await?;
        let own: Vec<Referrer> = all.into_iter().filter(|own| own.artifact_type == BUNDLE).collect();
        if own.len() > BUNDLES_MAX {
            return Err(OciError::Untrue(format!(
                "{} bundles refer to the image, more than {BUNDLES_MAX}",
                own.len()
            )));
        }
        let mut bundles = Vec::with_capacity(own.len());
        for referrer in own {
            let bundle = match self.bundle(&referrer.digest, digest).await {
                // No answer is none for the whole.
                Err(error @ (OciError::Outbound { .. } | OciError::Status { .. })) => return Err(error),
                other => other,
            };
            bundles.push((referrer.digest, bundle));
        }
        Ok(bundles)
    }

    async fn bundle(&self, referrer: &BlobDigest, subject: &BlobDigest) -> Result<Vec<u8>, OciError> {
        let image = self.manifest(referrer.as_str()).await?;
        let manifest = image.manifest;
        let is_about = manifest.subject.as_ref().is_some_and(|own| own.digest == *subject);
        match manifest.listed.as_slice() {
            [bundle] if is_about && bundle.media_type == BUNDLE => {
                Ok(self.blob(&bundle.digest, BUNDLE_MAX).await?.to_vec())
            }
            _ => Err(OciError::Untrue("it lists as a bundle of the image what is none".to_owned())),
        }
    }
}

/// The query of the next page (RFC 8288): `<...?query>; rel="next"`.
fn next(link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.replace([' ', '"'], "").contains("rel=next");
    let (_, query) = target.split_once('?')?;
    is_next.then(|| query.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_next_page_is_told_from_others() {
        assert_eq!(next("</v2/a/referrers/sha256:00?last=x&n=2>; rel=\"next\"").unwrap(), "last=x&n=2");
        assert_eq!(next("<https://evil.example/v2/a?n=2>; rel=next").unwrap(), "n=2");
        for link in ["", "<a?b>", "<a?b>; rel=\"prev\"", "<a>; rel=\"next\"", "a?b; rel=next"] {
            assert_eq!(next(link), None, "{link}");
        }
    }

    #[test]
    fn the_tag_is_that_of_the_specification() {
        let digest = BlobDigest::sha256(b"");
        assert_eq!(tag(&digest), format!("sha256-{}", &digest.as_str()[7..]));
    }
}
