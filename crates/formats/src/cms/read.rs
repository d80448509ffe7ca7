//! SignedData (RFC 5652 §5) that somebody made, read strictly: DER, one
//! meaning, nothing left over.

use firmseal_manifest::{PublicKey, Signature};

use super::attributes::Attributes;
use super::certificate::{CERTIFICATES_MAX, Certificate};
use super::scheme::{Scheme, algorithm, hash_named};
use super::signed_data::SIGNED_DATA;
use crate::der::{self, Bad, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET};
use crate::hash::Hash;
use crate::inspection::{Covered, ExistingSignature, KeyClaim};

/// Most signers that are read.
const SIGNERS_MAX: usize = 8;

/// What was signed, and who says so.
pub(crate) struct Signed<'a> {
    /// The content's type.
    pub(crate) content_type: &'a [u8],
    /// The content, where it stands inside.
    pub(crate) content: Option<Element<'a>>,
    /// The signers.
    pub(crate) signers: Vec<Signer<'a>>,
}

/// One signer.
pub(crate) struct Signer<'a> {
    key: PublicKey,
    /// The hash of the content, if it is one that counts.
    hash: Option<Hash>,
    /// How it signs, if it is one of ours.
    scheme: Option<Scheme>,
    /// The content of the set of signed attributes, and what they say.
    attributes: Option<(&'a [u8], Attributes<'a>)>,
    value: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads a ContentInfo.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Signed<'a>, Bad> {
        let mut outer = Reader::only(bytes, SEQUENCE)?;
        if outer.take(OID)? != SIGNED_DATA {
            return Err("it is CMS, and not signed data");
        }
        let inside = outer.take(der::context(0))?;
        outer.end()?;
        let mut signed = Reader::only(inside, SEQUENCE)?;
        if !matches!(signed.take(INTEGER)?, [1 | 3]) {
            return Err("its version is neither 1 nor 3");
        }
        let (mut announced, mut hashes) = (Vec::new(), Reader::new(signed.take(SET)?));
        while !hashes.is_empty() && announced.len() <= SIGNERS_MAX {
            announced.push(algorithm(hashes.element(SEQUENCE)?.whole)?.0);
        }
        let mut encapsulated = Reader::new(signed.take(SEQUENCE)?);
        let content_type = encapsulated.take(OID)?;
        let content = match encapsulated.optional(der::context(0))? {
            None => None,
            Some(explicit) => {
                let mut inner = Reader::new(explicit.value);
                let content = inner.next()?;
                inner.end()?;
                Some(content)
            }
        };
        encapsulated.end()?;
        let (mut certificates, mut seen) = (Vec::new(), Vec::new());
        let mut listed = Reader::new(signed.optional(der::context(0))?.map_or(&[], |all| all.value));
        while !listed.is_empty() {
            if certificates.len() == CERTIFICATES_MAX {
                return Err("it has more than 16 certificates");
            }
            let whole = listed.element(SEQUENCE)?.whole;
            // jcat-tool puts the signer's in twice.
            if !seen.contains(&whole) {
                certificates.push(Certificate::read(whole)?);
                seen.push(whole);
            }
        }
        let mut all = Reader::new(signed.take(SET)?);
        signed.end()?;
        let mut signers = Vec::new();
        while !all.is_empty() {
            if signers.len() == SIGNERS_MAX {
                return Err("it has more than 8 signers");
            }
            signers.push(Signer::read(all.take(SEQUENCE)?, &certificates, &announced)?);
        }
        if signers.is_empty() {
            return Err("it has no signer");
        }
        Ok(Signed { content_type, content, signers })
    }

    /// The signatures in it, over a content with the digests that `digest`
    /// computes.
    pub(crate) fn signatures<E>(
        &self,
        mut digest: impl FnMut(Hash) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<ExistingSignature>, E> {
        let each = self.signers.iter().map(|signer| {
            let covered = match signer.hash {
                None => Covered::Unknown("it hashes with something else than SHA-2"),
                Some(hash) => signer.covered(self.content_type, &digest(hash)?),
            };
            let value = signer.scheme.as_ref().and_then(|scheme| scheme.decode(signer.value));
            let (covered, signature) = match (covered, value) {
                (covered, Some(value)) => (covered, value),
                (Covered::Unknown(why), None) => (Covered::Unknown(why), Signature(signer.value.to_vec())),
                (_, None) => {
                    (Covered::Unknown("the signature is none of its key's"), Signature(signer.value.to_vec()))
                }
            };
            Ok(ExistingSignature {
                algorithm: signer.key.algorithm(),
                claim: KeyClaim::Key(Box::new(signer.key.clone())),
                covered,
                signature,
            })
        });
        each.collect()
    }
}

impl<'a> Signer<'a> {
    fn read(
        content: &'a [u8],
        certificates: &[Certificate<'a>],
        announced: &[&[u8]],
    ) -> Result<Signer<'a>, Bad> {
        let mut signer = Reader::new(content);
        if signer.take(INTEGER)? != [1] {
            return Err("a signer is named by something else than issuer and serial number");
        }
        let name = signer.element(SEQUENCE)?.whole;
        let mut own = certificates.iter().filter(|certificate| certificate.name() == name);
        let (Some(own), None) = (own.next(), own.next()) else {
            return Err("the certificate of a signer is not in it, or more than one is");
        };
        let key = PublicKey::from_spki(own.spki).map_err(|_| "a signer has a key of an unknown kind")?;
        let digest = signer.element(SEQUENCE)?.whole;
        // Whoever reads in one pass hashes with what is announced, and has
        // nothing to compare with for another one.
        if !announced.contains(&algorithm(digest)?.0) {
            return Err("a signer hashes with a function that is not announced");
        }
        let attributes = match signer.optional(der::context(0))? {
            None => None,
            Some(set) => Some((set.value, Attributes::read(set.value)?)),
        };
        let algorithm = signer.element(SEQUENCE)?.whole;
        let value = signer.take(OCTET_STRING)?;
        // Timestamps and what else nobody vouches for.
        signer.optional(der::context(1))?;
        signer.end()?;
        let scheme = Scheme::named(&key, digest, algorithm)?;
        Ok(Signer { key, hash: hash_named(digest)?, scheme, attributes, value })
    }

    /// What was signed, if that is this content.
    fn covered(&self, content_type: &[u8], digest: &[u8]) -> Covered {
        let Some(scheme) = &self.scheme else {
            return Covered::Unknown("its algorithms are none that are believed here");
        };
        // Without attributes a signature is over the content alone, and one
        // over attributes is one over the content that they are: two
        // meanings (RFC 9882 §5 tells of the same).
        let Some((content, said)) = &self.attributes else {
            return Covered::Unknown("it has no signed attributes");
        };
        if said.content_type != content_type {
            return Covered::Unknown("its signed attributes are of another type of content");
        }
        if said.digest != digest {
            return Covered::Unknown("it is over something else");
        }
        Covered::Tbs(scheme.tbs(&der::tlv(SET, &[content])))
    }
}
