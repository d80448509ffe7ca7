//! Key pairs in memory: generated or read from PKCS#8, and signing.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair,
    PqdsaSigningAlgorithm, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use firmseal_core::mldsa::Set;
use firmseal_manifest::key::{HSS_LMS, ML_DSA};
use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey, Signature, Tbs};
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};

use crate::lms::LmsKey;
use crate::signer::SignError;
use crate::verify::check_input;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key pair. The library wipes the private half when it is dropped.
pub(crate) enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    MlDsa(PqdsaKeyPair),
    /// Needs a log, to be made and to sign.
    Lms(Box<LmsKey>),
}

/// What one signature is made of.
pub(crate) struct Job {
    /// What is signed.
    pub(crate) tbs: Tbs,
    /// The leaf of an LMS key, which a log has reserved for it. A job is
    /// made from one `Logged`, done once, and has no `Clone`.
    pub(crate) leaf: Option<u32>,
}

impl Pair {
    /// Makes a new key.
    pub(crate) fn generate(algorithm: KeyAlgorithm) -> Result<Pair, Unspecified> {
        let rsa = |size| RsaKeyPair::generate(size).map(Pair::Rsa);
        match algorithm {
            KeyAlgorithm::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ec),
            KeyAlgorithm::P384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Pair::Ec),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            KeyAlgorithm::MlDsa(set) => PqdsaKeyPair::generate(scheme(set)).map(Pair::MlDsa),
            KeyAlgorithm::Rsa(2048) => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa(3072) => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa(4096) => rsa(KeySize::Rsa4096),
            // An LMS key is made for a log, which counts its signatures.
            KeyAlgorithm::Rsa(_) | KeyAlgorithm::Lms(_) => Err(Unspecified),
        }
    }

    /// Reads PKCS#8 (RFC 5958). The library checks that a public half in it
    /// belongs to the private one.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Pair, KeyError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Malformed)?;
        let ec = |scheme: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(scheme, der).map(Pair::Ec).map_err(|_| KeyError::Malformed)
        };
        match info.algorithm.oid {
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid().map_err(|_| KeyError::Malformed)? {
                SECP256R1 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
                SECP384R1 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
                other => Err(KeyError::Unsupported(format!("curve {other}"))),
            },
            // Version 1 has no public half to check; it is computed.
            ED25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Pair::Ed25519)
                .map_err(|_| KeyError::Malformed),
            RSA_ENCRYPTION => RsaKeyPair::from_pkcs8(der).map(Pair::Rsa).map_err(|_| KeyError::Malformed),
            HSS_LMS => LmsKey::decode(info.private_key.as_bytes())
                .map(|key| Pair::Lms(Box::new(key)))
                .ok_or(KeyError::Malformed),
            other => match ML_DSA.iter().find(|(_, oid)| *oid == other) {
                Some((set, _)) => PqdsaKeyPair::from_pkcs8(scheme(*set), der)
                    .map(Pair::MlDsa)
                    .map_err(|_| KeyError::Malformed),
                None => Err(KeyError::Unsupported(format!("algorithm {other}"))),
            },
        }
    }

    /// Writes PKCS#8 version 1, which every tool reads; OpenSSL 3 refuses
    /// the second version's public half.
    pub(crate) fn to_pkcs8(&self) -> Result<SecretDocument, Unspecified> {
        let document = match self {
            Pair::Ec(pair) => SecretDocument::try_from(pair.to_pkcs8v1()?.as_ref()),
            Pair::Ed25519(pair) => SecretDocument::try_from(pair.to_pkcs8v1()?.as_ref()),
            Pair::MlDsa(pair) => SecretDocument::try_from(pair.to_pkcs8v1()?.as_ref()),
            // No specification says what a private LMS key looks like; the
            // frame is that of PKCS#8, the content is ours.
            Pair::Lms(key) => {
                let encoded = key.encode();
                let algorithm = AlgorithmIdentifierRef { oid: HSS_LMS, parameters: None };
                let private = OctetStringRef::new(&encoded).map_err(|_| Unspecified)?;
                SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, private))
            }
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                SecretDocument::try_from(der.as_ref())
            }
        };
        document.map_err(|_| Unspecified)
    }

    /// The public half; sizes that are not used here are refused.
    pub(crate) fn public_key(&self) -> Result<PublicKey, KeyError> {
        let spki: Result<PublicKeyX509Der<'_>, Unspecified> = match self {
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::MlDsa(pair) => pair.public_key().as_der(),
            Pair::Lms(key) => return key.public_key(),
        };
        PublicKey::from_spki(spki.map_err(|_| KeyError::Malformed)?.as_ref())
    }

    /// Signs. The caller has asked [`crate::signer::check`].
    pub(crate) fn sign(&self, algorithm: KeyAlgorithm, job: &Job) -> Result<Signature, SignError> {
        let tbs = &job.tbs;
        check_input(algorithm, tbs).map_err(|input| SignError::Unsupported { algorithm, input })?;
        if let (Pair::Lms(_), None) = (self, job.leaf) {
            return Err(SignError::NoLeaf("none was asked for".to_owned()));
        }
        self.sign_input(job).map_err(|_| SignError::Refused("the signature could not be computed".to_owned()))
    }

    fn sign_input(&self, Job { tbs, leaf }: &Job) -> Result<Signature, Unspecified> {
        // The library draws its own randomness; the parameter is ignored.
        let rng = SystemRandom::new();
        let bytes = match (self, tbs) {
            (Pair::Ec(pair), Tbs::Message(message)) => pair.sign(&rng, message)?.as_ref().to_vec(),
            (Pair::Ec(pair), digest) => pair.sign_digest(&import(digest)?)?.as_ref().to_vec(),
            (Pair::Ed25519(pair), Tbs::Message(message)) => pair.try_sign(message)?.as_ref().to_vec(),
            (Pair::Ed25519(_), _) => return Err(Unspecified),
            (Pair::MlDsa(pair), Tbs::Message(message)) => {
                let mut bytes = vec![0; pair.algorithm().signature_len()];
                let length = pair.sign(message, &mut bytes)?;
                bytes.truncate(length);
                bytes
            }
            (Pair::Lms(key), Tbs::Message(message)) => {
                leaf.and_then(|leaf| key.sign(leaf, message)).ok_or(Unspecified)?
            }
            (Pair::MlDsa(_) | Pair::Lms(_), _) => return Err(Unspecified),
            (Pair::Rsa(pair), tbs) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                match tbs {
                    Tbs::Message(message) => pair.sign(&RSA_PSS_SHA256, &rng, message, &mut bytes)?,
                    Tbs::Pkcs1(value) => {
                        let digest = Digest::import_less_safe(value, &digest::SHA256)?;
                        pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut bytes)?;
                    }
                    digest => pair.sign_digest(&RSA_PSS_SHA256, &import(digest)?, &mut bytes)?,
                }
                bytes
            }
        };
        Ok(Signature(bytes))
    }
}

fn scheme(set: Set) -> &'static PqdsaSigningAlgorithm {
    match set {
        Set::MlDsa44 => &ML_DSA_44_SIGNING,
        Set::MlDsa65 => &ML_DSA_65_SIGNING,
        Set::MlDsa87 => &ML_DSA_87_SIGNING,
    }
}

fn import(tbs: &Tbs) -> Result<Digest, Unspecified> {
    match tbs {
        Tbs::Sha256(value) => Digest::import_less_safe(value, &digest::SHA256),
        Tbs::Sha384(value) => Digest::import_less_safe(value, &digest::SHA384),
        Tbs::Message(_) | Tbs::Pkcs1(_) | Tbs::PssMax(_) => Err(Unspecified),
    }
}
