//! Public keys on hosts: SubjectPublicKeyInfo (RFC 5280 §4.1), and the ids
//! that devices compute for the same keys.

use std::fmt;
use std::str::FromStr;

use firmseal_core::KeyId;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::lms;
use firmseal_core::mldsa::{self, Set};
use firmseal_core::rsa;
use pkcs1::RsaPublicKeyRef;
use spki::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use spki::der::pem::LineEnding;
use spki::der::{Decode, Document, Encode, EncodePem};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::cbor::Writer;

/// Why bytes are not a public key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a public key as text.
    #[error("not a public key: neither PEM (`-----BEGIN PUBLIC KEY-----`) nor a line of OpenSSH")]
    NotPem,
    /// The private half.
    #[error("this is a private key; `firmseal keys show` and `ssh-keygen -y` print the public half")]
    Private,
    /// Not a DER SubjectPublicKeyInfo.
    #[error("not a DER SubjectPublicKeyInfo")]
    Malformed,
    /// A key type, curve or size that is weak or unknown.
    #[error("unsupported key: {0}; use P-256, P-384, Ed25519 or RSA of 2048, 3072 or 4096 bits")]
    Unsupported(String),
}

/// Key types that signers hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyAlgorithm {
    /// ECDSA on NIST P-256, with SHA-256.
    P256,
    /// ECDSA on NIST P-384, with SHA-384.
    P384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA with a modulus of this many bits; RSASSA-PSS with SHA-256, MGF1
    /// with SHA-256 and a salt of 32 bytes (RFC 8017 §8.1).
    Rsa(u16),
    /// LMS (RFC 8554) with one tree: a limited number of signatures.
    Lms(lms::Parameters),
    /// ML-DSA (FIPS 204), with an empty context.
    MlDsa(Set),
}

impl KeyAlgorithm {
    /// Whether it is meant to withstand quantum computers.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_))
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyAlgorithm::P256 => f.write_str("p256"),
            KeyAlgorithm::P384 => f.write_str("p384"),
            KeyAlgorithm::Ed25519 => f.write_str("ed25519"),
            KeyAlgorithm::Rsa(bits) => write!(f, "rsa{bits}"),
            KeyAlgorithm::MlDsa(Set::MlDsa44) => f.write_str("ml-dsa-44"),
            KeyAlgorithm::MlDsa(Set::MlDsa65) => f.write_str("ml-dsa-65"),
            KeyAlgorithm::MlDsa(Set::MlDsa87) => f.write_str("ml-dsa-87"),
            KeyAlgorithm::Lms(set) => {
                let hash = if set.hash() == 32 { "sha256" } else { "sha256-192" };
                write!(f, "lms-{hash}-h{}-w{}", set.height(), set.width())
            }
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = KeyError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<KeyAlgorithm, KeyError> {
        let plain = [
            KeyAlgorithm::P256,
            KeyAlgorithm::P384,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::Rsa(2048),
            KeyAlgorithm::Rsa(3072),
            KeyAlgorithm::Rsa(4096),
        ];
        let lattice = [Set::MlDsa44, Set::MlDsa65, Set::MlDsa87].map(KeyAlgorithm::MlDsa);
        // The type codes of trees and of chains (RFC 8554 §4.1 and §5.1,
        // SP 800-208 §4).
        let codes = (5..=14).flat_map(|tree| (1..=8).map(move |chains| (tree, chains)));
        let hash = codes.filter_map(|(tree, chains)| lms::Parameters::from_codes(tree, chains));
        let mut all = plain.into_iter().chain(lattice).chain(hash.map(KeyAlgorithm::Lms));
        all.find(|algorithm| algorithm.to_string() == text)
            .ok_or_else(|| KeyError::Unsupported(text.chars().take(40).collect()))
    }
}

/// A signature. ECDSA is r || s at full width, big endian; formats that
/// want DER convert.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(pub Vec<u8>);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} bytes)", self.0.len())
    }
}

/// A public key with its algorithm, id and DER form.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    raw: Raw,
    id: KeyId,
}

#[derive(Clone, PartialEq, Eq)]
enum Raw {
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed25519([u8; 32]),
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Lms(Vec<u8>),
    MlDsa(Set, Vec<u8>),
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Of RFC 9708; the bit string is the HSS key without any wrapping
/// (RFC 9802 §3).
pub const HSS_LMS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.17");
/// Object identifiers of ML-DSA (RFC 9881); the bit string is the key without
/// any wrapping.
pub const ML_DSA: [(Set, ObjectIdentifier); 3] = [
    (Set::MlDsa44, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17")),
    (Set::MlDsa65, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18")),
    (Set::MlDsa87, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19")),
];
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo. Trailing bytes, compressed points
    /// and unlisted algorithms are refused. Whether a point is on its curve
    /// is for the verifier to check.
    pub fn from_spki(spki: &[u8]) -> Result<PublicKey, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Malformed)?;
        let bits = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        let unsupported = |what: &str| Err(KeyError::Unsupported(what.to_owned()));
        match info.algorithm.oid {
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid().map_err(|_| KeyError::Malformed)? {
                SECP256R1 => Self::from_point(KeyAlgorithm::P256, bits),
                SECP384R1 => Self::from_point(KeyAlgorithm::P384, bits),
                other => unsupported(&format!("curve {other}")),
            },
            ED25519 => Self::from_ed25519(bits.try_into().map_err(|_| KeyError::Malformed)?),
            HSS_LMS => Self::from_lms(bits),
            RSA_ENCRYPTION => {
                let key = RsaPublicKeyRef::from_der(bits).map_err(|_| KeyError::Malformed)?;
                Self::from_rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
            }
            other => match ML_DSA.iter().find(|(_, oid)| *oid == other) {
                Some((set, _)) => Self::from_ml_dsa(*set, bits),
                None => unsupported(&format!("algorithm {other}")),
            },
        }
    }

    /// Reads a SubjectPublicKeyInfo as PEM (RFC 7468 §13), and nothing else
    /// that PEM can hold: a private key is none.
    pub fn from_pem(pem: &str) -> Result<PublicKey, KeyError> {
        match Document::from_pem(pem) {
            Ok(("PUBLIC KEY", info)) => PublicKey::from_spki(info.as_bytes()),
            _ => Err(KeyError::NotPem),
        }
    }

    /// The Ed25519 key of 32 raw bytes.
    pub fn from_ed25519(x: [u8; 32]) -> Result<PublicKey, KeyError> {
        let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
        Self::build(KeyAlgorithm::Ed25519, algorithm, &x, Raw::Ed25519(x))
    }

    /// The LMS key of an HSS public key with one level.
    pub fn from_lms(encoded: &[u8]) -> Result<PublicKey, KeyError> {
        let key = lms::Key::decode(encoded)
            .ok_or_else(|| KeyError::Unsupported("an HSS key that is not one tree of SHA-256".to_owned()))?;
        let algorithm = AlgorithmIdentifierRef { oid: HSS_LMS, parameters: None };
        let raw = Raw::Lms(encoded.to_vec());
        Self::build(KeyAlgorithm::Lms(key.parameters()), algorithm, encoded, raw)
    }

    /// The ML-DSA key of its encoding (FIPS 204 §7.2).
    pub fn from_ml_dsa(set: Set, encoded: &[u8]) -> Result<PublicKey, KeyError> {
        mldsa::Key::decode(set, encoded).ok_or(KeyError::Malformed)?;
        let oid = ML_DSA.iter().find(|(own, _)| *own == set).map(|(_, oid)| *oid);
        let algorithm = AlgorithmIdentifierRef { oid: oid.ok_or(KeyError::Malformed)?, parameters: None };
        Self::build(KeyAlgorithm::MlDsa(set), algorithm, encoded, Raw::MlDsa(set, encoded.to_vec()))
    }

    /// The EC key of an uncompressed SEC 1 point (04 || x || y).
    pub fn from_point(algorithm: KeyAlgorithm, point: &[u8]) -> Result<PublicKey, KeyError> {
        let (curve, field) = match algorithm {
            KeyAlgorithm::P256 => (SECP256R1, 32),
            KeyAlgorithm::P384 => (SECP384R1, 48),
            other => return Err(KeyError::Unsupported(format!("a point for {other}"))),
        };
        let Some((4, coordinates)) = point.split_first().map(|(tag, rest)| (*tag, rest)) else {
            return Err(KeyError::Malformed);
        };
        if coordinates.len() != 2 * field {
            return Err(KeyError::Malformed);
        }
        let (x, y) = coordinates.split_at(field);
        let identifier = AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&curve).into()) };
        Self::build(algorithm, identifier, point, Raw::Ec { x: x.to_vec(), y: y.to_vec() })
    }

    /// The RSA key of a modulus and exponent, big endian.
    pub fn from_rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, KeyError> {
        let strip = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>();
        let (n, e) = (strip(n), strip(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !matches!(bits, 2048 | 3072 | 4096) {
            return Err(KeyError::Unsupported(format!("rsa of {bits} bits")));
        }
        // 65537 or larger and odd (FIPS 186-5 §5.4); smaller exponents have
        // a history of forgeries.
        if e.len() < 3 || e.len() > 8 || e.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyError::Unsupported("rsa with an unusual public exponent".to_owned()));
        }
        let der = RsaPublicKeyRef {
            modulus: UintRef::new(&n).map_err(|_| KeyError::Malformed)?,
            public_exponent: UintRef::new(&e).map_err(|_| KeyError::Malformed)?,
        }
        .to_der()
        .map_err(|_| KeyError::Malformed)?;
        let identifier = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
        Self::build(KeyAlgorithm::Rsa(bits as u16), identifier, &der, Raw::Rsa { n, e })
    }

    fn build(
        algorithm: KeyAlgorithm,
        identifier: AlgorithmIdentifierRef<'_>,
        bits: &[u8],
        raw: Raw,
    ) -> Result<PublicKey, KeyError> {
        let subject_public_key = BitStringRef::from_bytes(bits).map_err(|_| KeyError::Malformed)?;
        let spki = SubjectPublicKeyInfoRef { algorithm: identifier, subject_public_key }
            .to_der()
            .map_err(|_| KeyError::Malformed)?;
        let id = KeyId(RustCrypto.digest(&raw.cose_key()));
        Ok(PublicKey { algorithm, spki, raw, id })
    }

    /// The key's algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The SubjectPublicKeyInfo as PEM (RFC 7468 §13).
    pub fn to_pem(&self) -> Result<String, KeyError> {
        SubjectPublicKeyInfoRef::from_der(&self.spki)
            .and_then(|info| info.to_pem(LineEnding::LF))
            .map_err(|_| KeyError::Malformed)
    }

    /// The content of the SPKI's bit string: the point, the raw Ed25519,
    /// HSS or ML-DSA key, or the DER RSAPublicKey.
    pub fn bits(&self) -> Vec<u8> {
        SubjectPublicKeyInfoRef::from_der(&self.spki)
            .ok()
            .and_then(|info| info.subject_public_key.as_bytes().map(<[u8]>::to_vec))
            .unwrap_or_default()
    }

    /// The COSE key thumbprint (RFC 9679) with SHA-256.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key as a COSE_Key (RFC 9052 §7) with the members that its id
    /// covers and no others.
    pub fn cose_key(&self) -> Vec<u8> {
        self.raw.cose_key()
    }

    /// Modulus and exponent of an RSA key, big endian.
    pub fn rsa(&self) -> Option<(&[u8], &[u8])> {
        match &self.raw {
            Raw::Rsa { n, e } => Some((n, e)),
            _ => None,
        }
    }

    /// The key as devices hold it, if devices can verify with it.
    pub fn as_core(&self) -> Option<firmseal_core::PublicKey<'_>> {
        match (&self.raw, self.algorithm) {
            (Raw::Ed25519(x), _) => Some(firmseal_core::PublicKey::Ed25519(x)),
            (Raw::MlDsa(set, encoded), _) => {
                mldsa::Key::decode(*set, encoded).map(firmseal_core::PublicKey::MlDsa)
            }
            (Raw::Lms(encoded), _) => lms::Key::decode(encoded).map(firmseal_core::PublicKey::Lms),
            (Raw::Rsa { n, e }, _) => rsa::Key::decode(n, e).map(firmseal_core::PublicKey::Rsa),
            (Raw::Ec { x, y }, KeyAlgorithm::P256) => Some(firmseal_core::PublicKey::P256 {
                x: x.as_slice().try_into().ok()?,
                y: y.as_slice().try_into().ok()?,
            }),
            _ => None,
        }
    }
}

impl Raw {
    /// The deterministic COSE_Key of the required members (RFC 9679 §4).
    fn cose_key(&self) -> Vec<u8> {
        let mut key = Writer::new();
        match self {
            Raw::Ec { x, y } => {
                let curve = if x.len() == 32 { 1 } else { 2 };
                key.map(4).uint(1).uint(2).int(-1).uint(curve).int(-2).bytes(x).int(-3).bytes(y);
            }
            Raw::Ed25519(x) => {
                key.map(3).uint(1).uint(1).int(-1).uint(6).int(-2).bytes(x);
            }
            Raw::Rsa { n, e } => {
                key.map(3).uint(1).uint(3).int(-1).bytes(n).int(-2).bytes(e);
            }
            Raw::MlDsa(set, encoded) => {
                let algorithm = match set {
                    Set::MlDsa44 => -48,
                    Set::MlDsa65 => -49,
                    Set::MlDsa87 => -50,
                };
                key.map(3).uint(1).uint(7).uint(3).int(algorithm).int(-1).bytes(encoded);
            }
            Raw::Lms(encoded) => {
                key.map(2).uint(1).uint(5).int(-1).bytes(encoded);
            }
        }
        key.finish()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_device_compute_the_same_id() -> Result<(), KeyError> {
        let ed25519 = PublicKey::from_ed25519([7; 32])?;
        let p256 = PublicKey::from_point(KeyAlgorithm::P256, &[4; 65])?;
        let lms = |tree: u8, chains: u8, hash: usize| {
            PublicKey::from_lms(
                &[&[0, 0, 0, 1, 0, 0, 0, tree, 0, 0, 0, chains], &vec![7; 16 + hash][..]].concat(),
            )
        };
        let ml_dsa = |set: Set| PublicKey::from_ml_dsa(set, &vec![7; set.key_len()]);
        let [small, middle, large] = [Set::MlDsa44, Set::MlDsa65, Set::MlDsa87].map(ml_dsa);
        let rsa = |length| PublicKey::from_rsa(&vec![0xff; length], &[1, 0, 1]);
        let rsa = [rsa(384)?, rsa(512)?];
        for key in
            [ed25519, p256, lms(6, 4, 32)?, lms(14, 5, 24)?, small?, middle?, large?].into_iter().chain(rsa)
        {
            assert_eq!(key.as_core().map(|core| core.id(&RustCrypto)), Some(key.id()));
            let kind = key.as_core().map(|core| core.is_post_quantum());
            assert_eq!(kind, Some(key.algorithm().is_post_quantum()));
            assert_eq!(PublicKey::from_spki(key.spki())?, key);
        }
        Ok(())
    }

    #[test]
    fn an_algorithm_is_read_as_it_is_written() {
        for text in ["p256", "p384", "ed25519", "rsa2048", "rsa4096", "ml-dsa-65", "lms-sha256-h10-w8"] {
            assert_eq!(
                text.parse().map(|algorithm: KeyAlgorithm| algorithm.to_string()),
                Ok(text.to_owned())
            );
        }
        for bad in ["", "P256", "rsa", "rsa1024", "ml-dsa-45", "lms"] {
            assert!(bad.parse::<KeyAlgorithm>().is_err(), "{bad}");
        }
    }

    #[test]
    fn weak_keys_are_refused() {
        let e = [1, 0, 1];
        assert!(PublicKey::from_rsa(&[0xff; 128], &e).is_err(), "1024 bits");
        assert!(PublicKey::from_rsa(&[0xff; 384], &[3]).is_err(), "exponent 3");
        assert!(PublicKey::from_rsa(&[], &e).is_err());
        for key in [PublicKey::from_rsa(&[0xff; 256], &e), PublicKey::from_rsa(&[0xff; 384], &[1, 0, 3])] {
            assert_eq!(key.map(|key| key.as_core().is_some()), Ok(false), "for images, not for devices");
        }
        let good = PublicKey::from_rsa(&[0xff; 384], &e).map(|key| key.algorithm());
        assert_eq!(good, Ok(KeyAlgorithm::Rsa(3072)));
    }
}
