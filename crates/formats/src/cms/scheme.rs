//! How a key signs in CMS: its hash, the identifiers that say so, and what
//! goes to the key (RFC 5754, RFC 4056, RFC 8419, RFC 9882).

use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs, ecdsa};

use crate::der::{self, Bad, Element, INTEGER, NULL, OID, Reader, SEQUENCE};
use crate::error::FormatError;
use crate::hash::{Hash, array};
use crate::laid_out::Padding;
use crate::signature::encoded;

// Contents of object identifiers.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
pub(crate) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
pub(crate) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub(crate) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// How a key signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scheme {
    key: PublicKey,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Rsa(Padding),
    Ecdsa,
    /// Ed25519 and ML-DSA: the attributes themselves are signed.
    Pure,
}

impl Scheme {
    /// That of a key; of RSA keys, with this padding.
    pub(crate) fn of(format: &'static str, key: &PublicKey, padding: Padding) -> Result<Scheme, FormatError> {
        let kind = match key.algorithm() {
            KeyAlgorithm::Rsa(_) => Kind::Rsa(padding),
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => Kind::Ecdsa,
            KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) => Kind::Pure,
            algorithm @ KeyAlgorithm::Lms(_) => {
                let use_instead = "a P-256, P-384, Ed25519, RSA or ML-DSA key";
                return Err(FormatError::KeyAlgorithm { format, algorithm, use_instead });
            }
        };
        Ok(Scheme { key: key.clone(), kind })
    }

    /// The same for verifiers that know RSA, P-256 and P-384 and no more: the
    /// CMS of OpenSSL up to 3.1, which RAUC and SWUpdate have verify, and the
    /// kernel's PKCS #7. What is refused here would be refused there.
    pub(crate) fn of_common(
        format: &'static str,
        key: &PublicKey,
        padding: Padding,
    ) -> Result<Scheme, FormatError> {
        let algorithm = key.algorithm();
        if !matches!(algorithm, KeyAlgorithm::Rsa(_) | KeyAlgorithm::P256 | KeyAlgorithm::P384) {
            let use_instead = "an RSA, P-256 or P-384 key";
            return Err(FormatError::KeyAlgorithm { format, algorithm, use_instead });
        }
        Scheme::of(format, key, padding)
    }

    /// The hash of the content, and of the attributes where these are hashed.
    pub(crate) fn hash(&self) -> Hash {
        match self.key.algorithm() {
            KeyAlgorithm::P384 => Hash::Sha384,
            // "the message digest algorithm MUST be SHA-512" (RFC 8419 §3.1);
            // "SHA-512 MUST be supported" (RFC 9882 §3.3).
            KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) => Hash::Sha512,
            _ => Hash::Sha256,
        }
    }

    /// The identifier of the signature.
    pub(crate) fn identifier(&self) -> Vec<u8> {
        let oid = |oid: &[u8]| der::tlv(OID, &[oid]);
        match (self.kind, self.key.algorithm()) {
            // "rsaEncryption ... parameters MUST be NULL" (RFC 3370 §3.2).
            (Kind::Rsa(Padding::Pkcs1), _) => der::tlv(SEQUENCE, &[&oid(RSA), &der::tlv(NULL, &[])]),
            (Kind::Rsa(padding), algorithm) => {
                let salt = der::tlv(INTEGER, &[&salt(algorithm, padding)]);
                let sha256 = hash_identifier(Hash::Sha256, true);
                let mask = der::tlv(SEQUENCE, &[&oid(MGF1), &sha256]);
                let parameters = der::tlv(
                    SEQUENCE,
                    &[
                        &der::tlv(der::context(0), &[&sha256]),
                        &der::tlv(der::context(1), &[&mask]),
                        &der::tlv(der::context(2), &[&salt]),
                    ],
                );
                der::tlv(SEQUENCE, &[&oid(RSA_PSS), &parameters])
            }
            (Kind::Ecdsa, KeyAlgorithm::P384) => der::tlv(SEQUENCE, &[&oid(ECDSA_SHA384)]),
            (Kind::Ecdsa, _) => der::tlv(SEQUENCE, &[&oid(ECDSA_SHA256)]),
            // The same identifier as in the key.
            (Kind::Pure, _) => own_identifier(&self.key).unwrap_or_default().to_vec(),
        }
    }

    /// What the key signs of the attributes, in the encoding of their set.
    pub(crate) fn tbs(&self, attributes: &[u8]) -> Tbs {
        match (self.kind, self.key.algorithm()) {
            (Kind::Pure, _) => Tbs::Message(attributes.to_vec()),
            (Kind::Ecdsa, KeyAlgorithm::P384) => Tbs::Sha384(array(&Hash::Sha384.of(attributes))),
            (Kind::Rsa(Padding::Pkcs1), _) => Tbs::Pkcs1(array(&Hash::Sha256.of(attributes))),
            (Kind::Rsa(Padding::PssMax), _) => Tbs::PssMax(array(&Hash::Sha256.of(attributes))),
            (Kind::Rsa(Padding::Pss) | Kind::Ecdsa, _) => Tbs::Sha256(array(&Hash::Sha256.of(attributes))),
        }
    }

    /// The signature as CMS holds it.
    pub(crate) fn encode(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        encoded(self.key.algorithm(), signature)
    }

    /// The other way round.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<Signature> {
        match (self.kind, self.key.algorithm()) {
            (Kind::Ecdsa, KeyAlgorithm::P384) => ecdsa::from_der(bytes, 48).map(Signature),
            (Kind::Ecdsa, _) => ecdsa::from_der(bytes, 32).map(Signature),
            _ => Some(Signature(bytes.to_vec())),
        }
    }

    /// The scheme that a signer names, if it is one that this key has here.
    pub(crate) fn named(key: &PublicKey, digest: &[u8], signature: &[u8]) -> Result<Option<Scheme>, Bad> {
        let Some(hash) = hash_named(digest)? else { return Ok(None) };
        let (oid, parameters) = algorithm(signature)?;
        let empty = match parameters {
            None => true,
            Some(parameters) => parameters.tag == NULL && parameters.value.is_empty(),
        };
        let kind = match (key.algorithm(), oid) {
            (KeyAlgorithm::Rsa(_), RSA | RSA_SHA256) if empty => Kind::Rsa(Padding::Pkcs1),
            (KeyAlgorithm::Rsa(_), RSA_PSS) => match pss(key.algorithm(), parameters)? {
                Some(padding) => Kind::Rsa(padding),
                None => return Ok(None),
            },
            (KeyAlgorithm::P256, ECDSA_SHA256) | (KeyAlgorithm::P384, ECDSA_SHA384) if empty => Kind::Ecdsa,
            (KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_), _)
                if own_identifier(key).is_ok_and(|own| own == signature) =>
            {
                Kind::Pure
            }
            _ => return Ok(None),
        };
        let scheme = Scheme { key: key.clone(), kind };
        // Two different hashes in one signature would leave the weaker one to
        // whoever chooses.
        Ok((scheme.hash() == hash).then_some(scheme))
    }
}

/// AlgorithmIdentifier of a hash. "Implementations SHOULD generate SHA2
/// AlgorithmIdentifiers with absent parameters" (RFC 5754 §2); PKCS #1 and
/// Authenticode have NULL.
pub(crate) fn hash_identifier(hash: Hash, with_null: bool) -> Vec<u8> {
    let oid = match hash {
        Hash::Sha256 => SHA256,
        Hash::Sha384 => SHA384,
        Hash::Sha512 => SHA512,
    };
    let null: &[u8] = if with_null { &[NULL, 0] } else { &[] };
    der::tlv(SEQUENCE, &[&der::tlv(OID, &[oid]), null])
}

/// The hash of an AlgorithmIdentifier; `None` if it is none that counts.
pub(crate) fn hash_named(identifier: &[u8]) -> Result<Option<Hash>, Bad> {
    let (oid, parameters) = algorithm(identifier)?;
    if parameters.is_some_and(|parameters| parameters.tag != NULL || !parameters.value.is_empty()) {
        return Ok(None);
    }
    Ok(match oid {
        SHA256 => Some(Hash::Sha256),
        SHA384 => Some(Hash::Sha384),
        SHA512 => Some(Hash::Sha512),
        _ => None,
    })
}

/// Object identifier and parameters of an AlgorithmIdentifier.
pub(crate) fn algorithm(identifier: &[u8]) -> Result<(&[u8], Option<Element<'_>>), Bad> {
    let mut inner = Reader::only(identifier, SEQUENCE)?;
    let oid = inner.take(OID)?;
    let parameters = if inner.is_empty() { None } else { Some(inner.next()?) };
    inner.end()?;
    Ok((oid, parameters))
}

/// Length of the salt, as the content of an INTEGER. The longest leaves room
/// for the hash and two bytes (RFC 8017 §9.1.1).
fn salt(algorithm: KeyAlgorithm, padding: Padding) -> Vec<u8> {
    match (algorithm, padding) {
        (KeyAlgorithm::Rsa(bits), Padding::PssMax) => (bits / 8).saturating_sub(34).to_be_bytes().to_vec(),
        _ => vec![32],
    }
}

/// SHA-256 twice, and a salt of one of two lengths (RFC 4055 §3.1).
fn pss(key: KeyAlgorithm, parameters: Option<Element<'_>>) -> Result<Option<Padding>, Bad> {
    let Some(parameters) = parameters else { return Ok(None) };
    let mut inner = Reader::only(parameters.whole, SEQUENCE)?;
    let (Some(hash), Some(mask), Some(said)) = (
        inner.optional(der::context(0))?,
        inner.optional(der::context(1))?,
        inner.optional(der::context(2))?,
    ) else {
        // What is left out is SHA-1.
        return Ok(None);
    };
    inner.end()?;
    let (mask, under) = algorithm(mask.value)?;
    let is_sha256 = |identifier: &[u8]| Ok::<_, Bad>(hash_named(identifier)? == Some(Hash::Sha256));
    let mut said = Reader::new(said.value);
    let bytes = said.take(INTEGER)?;
    said.end()?;
    let under = under.ok_or("its mask generation has no hash")?;
    if !is_sha256(hash.value)? || mask != MGF1 || !is_sha256(under.whole)? {
        return Ok(None);
    }
    Ok([Padding::Pss, Padding::PssMax].into_iter().find(|padding| salt(key, *padding) == bytes))
}

/// The AlgorithmIdentifier in a key.
fn own_identifier(key: &PublicKey) -> Result<&[u8], Bad> {
    Ok(Reader::only(key.spki(), SEQUENCE)?.element(SEQUENCE)?.whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 9882 §3: the identifier of the key, without parameters, beside
    /// SHA-512; the attributes themselves are signed.
    #[test]
    fn ml_dsa_signs_attributes_as_they_are() {
        let KeyAlgorithm::MlDsa(set) = "ml-dsa-65".parse().unwrap() else { return };
        let key = PublicKey::from_ml_dsa(set, &vec![7; 1952]).unwrap();
        let scheme = Scheme::of("cms", &key, Padding::Pss).unwrap();
        let oid = [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12];
        assert_eq!(scheme.identifier(), oid);
        assert_eq!(scheme.hash(), Hash::Sha512);
        assert_eq!(scheme.tbs(&[0x31, 0]), Tbs::Message(vec![0x31, 0]));
        let sha512 = hash_identifier(Hash::Sha512, false);
        assert_eq!(Scheme::named(&key, &sha512, &oid).unwrap(), Some(scheme.clone()));
        let sha256 = hash_identifier(Hash::Sha256, false);
        assert_eq!(Scheme::named(&key, &sha256, &oid).unwrap(), None, "a weaker hash");
        assert!(scheme.encode(&Signature(vec![0; set.signature_len()])).is_ok());
        assert!(scheme.encode(&Signature(vec![0; 64])).is_err());
    }
}
