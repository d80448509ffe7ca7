//! A vbmeta image: header and two blocks, read and laid out.

use std::ops::Range;

use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

use super::NAME;
use super::descriptor::{self, Descriptor};
use super::header::{self, Algorithm, Facts, Layout};
use super::key::Key;
use super::words::is_zero;
use crate::der::Bad;
use crate::error::FormatError;
use crate::hash::{Hash, array};
use crate::inspection::{Covered, ExistingSignature, KeyClaim};
use crate::source::{Source, bytes_at};

/// "VBMETA_MAX_SIZE" (libavb, avb_slot_verify.c).
pub(super) const MAX: u64 = 64 * 1024;

/// What is signed, and stays whoever signs.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) facts: Facts,
    pub(super) descriptors: Vec<Descriptor>,
    /// The same as they stand there.
    pub(super) encoded: Vec<u8>,
    /// What says to a device whose the key is.
    pub(super) metadata: Vec<u8>,
}

/// A vbmeta image.
pub(super) struct Vbmeta {
    pub(super) content: Content,
    pub(super) signed: Option<Signed>,
    pub(super) len: u64,
}

/// By whom, and over which digest.
pub(super) struct Signed {
    pub(super) algorithm: Algorithm,
    pub(super) key: Key,
    digest: Vec<u8>,
    signature: Vec<u8>,
}

impl Vbmeta {
    /// Reads the one that begins at an offset and lies before an end.
    pub(super) fn read(source: &dyn Source, at: u64, end: u64) -> Result<Vbmeta, FormatError> {
        let malformed = |why: Bad| FormatError::malformed(NAME, why);
        let head: [u8; header::LEN] = bytes_at(source, at, end, (NAME, "the header of vbmeta"))?;
        let (facts, layout) = header::read(&head).map_err(malformed)?;
        let len = layout.total();
        if len > MAX {
            return Err(malformed("its vbmeta is longer than 64 KiB, more than libavb reads"));
        }
        let need = at.saturating_add(len);
        if need > end {
            return Err(FormatError::Truncated { format: NAME, what: "vbmeta", need, have: end });
        }
        let mut authentication = vec![0; layout.authentication as usize];
        let mut auxiliary = vec![0; layout.auxiliary as usize];
        let behind = at + head.len() as u64;
        source.read_at(behind, &mut authentication)?;
        source.read_at(behind + layout.authentication, &mut auxiliary)?;
        let [hash, signature] =
            parts(&authentication, [&layout.hash, &layout.signature]).map_err(malformed)?;
        let [key, metadata, descriptors] =
            parts(&auxiliary, [&layout.key, &layout.metadata, &layout.descriptors]).map_err(malformed)?;
        let signed = match layout.algorithm {
            None if hash.is_empty() && signature.is_empty() && key.is_empty() => None,
            None => {
                return Err(malformed("it has a signature or a key, and says that it is not signed"));
            }
            Some(algorithm) => {
                let digest = algorithm.hash.of(&[&head, &auxiliary[..]].concat());
                if hash != digest {
                    return Err(FormatError::DigestMismatch { format: NAME });
                }
                let key = Key::read(key).map_err(malformed)?;
                if key.bits != algorithm.bits || signature.len() as u64 != algorithm.signature_len() {
                    return Err(malformed("its key or its signature has another length than its algorithm"));
                }
                Some(Signed { algorithm, key, digest, signature: signature.to_vec() })
            }
        };
        let encoded = descriptors.to_vec();
        let descriptors = descriptor::read_all(&encoded, facts.minor).map_err(malformed)?;
        let content = Content { facts, descriptors, encoded, metadata: metadata.to_vec() };
        Ok(Vbmeta { content, signed, len })
    }
}

/// Parts of a block, which do not overlap, with zeros everywhere else: what
/// stands between them in the authentication block nothing would cover.
fn parts<'a, const N: usize>(block: &'a [u8], ranges: [&Range<u64>; N]) -> Result<[&'a [u8]; N], Bad> {
    let mut all = [&block[..0]; N];
    for (part, range) in all.iter_mut().zip(ranges) {
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let within = range.and_then(|(start, end)| block.get(start..end));
        *part = within.ok_or("something lies outside of its block")?;
    }
    let mut order = ranges;
    order.sort_by_key(|range| (range.start, range.end));
    let mut at = 0;
    for range in order.into_iter().filter(|range| !range.is_empty()) {
        // Both are within the block, as the parts are.
        let between = block.get(at..range.start as usize).ok_or("parts of a block overlap")?;
        if !is_zero(between) {
            return Err("something stands between the parts of a block");
        }
        at = range.end as usize;
    }
    match is_zero(&block[at..]) {
        true => Ok(all),
        false => Err("something stands behind the parts of a block"),
    }
}

impl Signed {
    /// The signature, with what it takes to verify it.
    pub(super) fn existing(&self) -> ExistingSignature {
        let covered = match (self.algorithm.hash, &self.key.public) {
            (_, None) => Covered::Unknown("RSA keys of 8192 bits are not verified with here"),
            (Hash::Sha256, Some(_)) => Covered::Tbs(Tbs::Pkcs1(array(&self.digest))),
            (_, Some(_)) => Covered::Unknown("RSA signatures over SHA-512 are not verified here"),
        };
        let claim = match &self.key.public {
            Some(key) => KeyClaim::Key(Box::new(key.clone())),
            None => KeyClaim::None,
        };
        ExistingSignature {
            algorithm: KeyAlgorithm::Rsa(self.key.bits),
            claim,
            covered,
            signature: Signature(self.signature.clone()),
        }
    }
}

/// A vbmeta image that lacks its signature.
#[derive(Clone)]
pub(super) struct Draft {
    head: Vec<u8>,
    auxiliary: Vec<u8>,
    layout: Layout,
    digest: [u8; 32],
}

impl Content {
    /// Laid out for a key.
    pub(super) fn draft(&self, key: &Key) -> Result<Draft, FormatError> {
        let algorithm = Algorithm { hash: Hash::Sha256, bits: key.bits };
        let len = |bytes: &[u8]| bytes.len() as u64;
        let layout = Layout::of(algorithm, len(&self.encoded), len(&key.bytes), len(&self.metadata));
        if layout.total() > MAX {
            return Err(FormatError::unsupported(
                NAME,
                "with this key its vbmeta would be longer than 64 KiB, more than libavb reads",
            ));
        }
        let head = header::write(&self.facts, &layout);
        let mut auxiliary = [&self.encoded[..], &key.bytes, &self.metadata].concat();
        auxiliary.resize(layout.auxiliary as usize, 0);
        let digest = array(&Hash::Sha256.of(&[&head[..], &auxiliary].concat()));
        Ok(Draft { head, auxiliary, layout, digest })
    }
}

impl Draft {
    pub(super) fn tbs(&self) -> Tbs {
        Tbs::Pkcs1(self.digest)
    }

    /// Length with the signature.
    pub(super) fn len(&self) -> u64 {
        self.layout.total()
    }

    /// The image with its signature.
    pub(super) fn with(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        let place = &self.layout.signature;
        if signature.0.len() as u64 != place.end - place.start {
            let algorithm = KeyAlgorithm::Rsa((place.end - place.start) as u16 * 8);
            return Err(FormatError::SignatureShape { algorithm, why: "it has another length" });
        }
        let mut authentication = [&self.digest[..], &signature.0].concat();
        authentication.resize(self.layout.authentication as usize, 0);
        Ok([&self.head[..], &authentication, &self.auxiliary].concat())
    }
}
