//! The PKCS #7 behind a module. The kernel takes none with signed attributes
//! (`crypto/asymmetric_keys/pkcs7_verify.c`), so the signature is over the
//! module itself.

use firmseal_manifest::{KeyAlgorithm, Signature, Tbs, ecdsa};

use crate::cms::DATA;
use crate::cms::certificate::Certificate;
use crate::cms::scheme::{self, Scheme, hash_identifier, hash_named};
use crate::cms::signed_data::SIGNED_DATA;
use crate::der::{self, Bad, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET};
use crate::error::FormatError;
use crate::hash::{Hash, array, hex};
use crate::inspection::{Covered, ExistingSignature, KeyClaim};

/// Most signers that are read.
const SIGNERS_MAX: usize = 8;

/// What a key signs of a module with this digest; `None` for keys that the
/// kernel does not know.
pub(super) fn tbs(algorithm: KeyAlgorithm, hash: Hash, digest: &[u8]) -> Option<Tbs> {
    match (algorithm, hash) {
        (KeyAlgorithm::Rsa(_), Hash::Sha256) => Some(Tbs::Pkcs1(array(digest))),
        (KeyAlgorithm::P256, Hash::Sha256) => Some(Tbs::Sha256(array(digest))),
        (KeyAlgorithm::P384, Hash::Sha384) => Some(Tbs::Sha384(array(digest))),
        _ => None,
    }
}

/// The PKCS #7, as sign-file writes it.
pub(super) fn write(
    signer: &Certificate<'_>,
    scheme: &Scheme,
    signature: &Signature,
) -> Result<Vec<u8>, FormatError> {
    let one = der::tlv(INTEGER, &[&[1]]);
    let hash = hash_identifier(scheme.hash(), false);
    let value = der::tlv(OCTET_STRING, &[&scheme.encode(signature)?]);
    let signer = der::tlv(SEQUENCE, &[&one, &signer.name(), &hash, &scheme.identifier(), &value]);
    let content = der::tlv(SEQUENCE, &[&der::tlv(OID, &[DATA])]);
    let signed = der::tlv(SEQUENCE, &[&one, &der::tlv(SET, &[&hash]), &content, &der::tlv(SET, &[&signer])]);
    Ok(der::tlv(SEQUENCE, &[&der::tlv(OID, &[SIGNED_DATA]), &der::tlv(der::context(0), &[&signed])]))
}

/// One signer.
pub(super) struct Signer<'a> {
    /// By which the kernel finds the key.
    pub(super) name: String,
    hash: Option<Hash>,
    /// The signature's algorithm.
    oid: &'a [u8],
    has_attributes: bool,
    value: &'a [u8],
}

/// Reads the signers.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Signer<'_>>, Bad> {
    let mut outer = Reader::only(bytes, SEQUENCE)?;
    if outer.take(OID)? != SIGNED_DATA {
        return Err("it is PKCS #7, and not signed data");
    }
    let inside = outer.take(der::context(0))?;
    outer.end()?;
    let mut signed = Reader::only(inside, SEQUENCE)?;
    if !matches!(signed.take(INTEGER)?, [1 | 3]) {
        return Err("its version is neither 1 nor 3");
    }
    let announced = signed.take(SET)?;
    let mut content = Reader::new(signed.take(SEQUENCE)?);
    if content.take(OID)? != DATA {
        return Err("it is over something else than data");
    }
    // What stands inside would be verified in the place of the module.
    content.end().map_err(|_| "it has a content of its own")?;
    // The kernel looks for the key among its own: sign-file leaves the
    // certificates out, and what else nobody signs.
    let mut all = Reader::new(signed.take(SET)?);
    signed.end()?;
    let mut signers = Vec::new();
    while !all.is_empty() {
        if signers.len() == SIGNERS_MAX {
            return Err("it has more than 8 signers");
        }
        signers.push(Signer::read(all.take(SEQUENCE)?, announced)?);
    }
    match signers.is_empty() {
        true => Err("it has no signer"),
        false => Ok(signers),
    }
}

impl<'a> Signer<'a> {
    fn read(content: &'a [u8], announced: &[u8]) -> Result<Signer<'a>, Bad> {
        let mut signer = Reader::new(content);
        let name = match signer.take(INTEGER)? {
            [1] => {
                let mut name = Reader::new(signer.take(SEQUENCE)?);
                name.take(SEQUENCE)?;
                let serial = name.take(INTEGER)?;
                name.end()?;
                format!("number {}", hex(serial))
            }
            // The subject key identifier, IMPLICIT.
            [3] => format!("key id {}", hex(signer.take(0x80)?)),
            _ => return Err("a signer has another version than 1 and 3"),
        };
        let digest = signer.element(SEQUENCE)?.whole;
        // Whoever reads in one pass hashes with what is announced.
        let mut hashes = Reader::new(announced);
        let mut is_announced = false;
        while !hashes.is_empty() {
            is_announced |= hashes.element(SEQUENCE)?.whole == digest;
        }
        if !is_announced {
            return Err("a signer hashes with a function that is not announced");
        }
        let hash = hash_named(digest)?;
        let has_attributes = signer.optional(der::context(0))?.is_some();
        let (oid, _) = scheme::algorithm(signer.element(SEQUENCE)?.whole)?;
        let value = signer.take(OCTET_STRING)?;
        signer.end()?;
        Ok(Signer { name, hash, oid, has_attributes, value })
    }

    /// The signature over a module with the digests that `digest` computes;
    /// `None` if it is of a kind that no key here has.
    pub(super) fn signature<E>(
        &self,
        digest: impl FnOnce(Hash) -> Result<Vec<u8>, E>,
    ) -> Result<Option<ExistingSignature>, E> {
        let (algorithm, value) = match self.oid {
            scheme::RSA | scheme::RSA_SHA256 if matches!(self.value.len(), 256 | 384 | 512) => {
                (KeyAlgorithm::Rsa(self.value.len() as u16 * 8), Some(Signature(self.value.to_vec())))
            }
            scheme::ECDSA_SHA256 => (KeyAlgorithm::P256, ecdsa::from_der(self.value, 32).map(Signature)),
            scheme::ECDSA_SHA384 => (KeyAlgorithm::P384, ecdsa::from_der(self.value, 48).map(Signature)),
            _ => return Ok(None),
        };
        let Some(value) = value else { return Ok(None) };
        let covered = match self.hash {
            _ if self.has_attributes => {
                Covered::Unknown("it has signed attributes, which the kernel refuses")
            }
            Some(hash) => match tbs(algorithm, hash, &digest(hash)?) {
                Some(tbs) => Covered::Tbs(tbs),
                None => Covered::Unknown("its key is believed with another hash alone"),
            },
            None => Covered::Unknown("it hashes with something else than SHA-2"),
        };
        Ok(Some(ExistingSignature { algorithm, claim: KeyClaim::None, covered, signature: value }))
    }
}
