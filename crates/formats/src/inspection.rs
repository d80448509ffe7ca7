//! Inspections: what a file says of itself.
//!
//! What stands inside the format's own signature is kept apart from what
//! does not: only the former is in [`Inspection::digest`], so a digest that
//! was approved before signing is still the file's digest after.

use firmseal_manifest::{Digest, KeyAlgorithm, PublicKey, Signature, Tbs};
use minicbor::Encoder;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::hash::{Hash, hex};

/// One more thing a format knows, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A piece of memory that a file fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Load {
    /// Its first address.
    pub address: u64,
    /// Its bytes, where the format says how many: what is packed in the file
    /// is larger in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What a file says of itself. Nothing here is verified unless a signature
/// in `signatures` is: see [`ExistingSignature`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Inspection {
    /// Name of the format.
    pub format: String,
    /// Version, as the format's own tools print it.
    pub version: Option<String>,
    /// Security epoch: the number that must not go back.
    pub epoch: Option<u64>,
    /// Where it is loaded or must lie.
    pub load_addresses: Vec<u64>,
    /// What lies at these addresses; several pieces may share one. No part of
    /// the digest: the file decides them, with what is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<Load>,
    /// Size of the payload in bytes, without headers and signatures.
    pub image_size: u64,
    /// What it is made for.
    pub target: Option<String>,
    /// Whether it is a debug build, where the format says so.
    pub debug: Option<bool>,
    /// Whether the payload is encrypted.
    pub encrypted: bool,
    /// More of what stands inside the format's own signature, in order.
    pub fields: Vec<Field>,
    /// What stands outside of it, in order: true today, whoever carries
    /// the file may change it.
    pub notes: Vec<Field>,
    /// The signatures in the file.
    pub signatures: Vec<ExistingSignature>,
}

impl Inspection {
    pub(crate) fn new(format: &'static str, image_size: u64) -> Inspection {
        Inspection {
            format: format.to_owned(),
            version: None,
            epoch: None,
            load_addresses: Vec::new(),
            loads: Vec::new(),
            image_size,
            target: None,
            debug: None,
            encrypted: false,
            fields: Vec::new(),
            notes: Vec::new(),
            signatures: Vec::new(),
        }
    }

    /// One more piece, at an address that counts once.
    pub(crate) fn load(&mut self, address: u64, size: Option<u64>) {
        if !self.load_addresses.contains(&address) {
            self.load_addresses.push(address);
        }
        self.loads.push(Load { address, size });
    }

    pub(crate) fn field(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.fields.push(Field { name: name.into(), value: value.into() });
    }

    pub(crate) fn note(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.notes.push(Field { name: name.into(), value: value.into() });
    }

    /// The version as semver, if it is one. A build number of zero is no
    /// build number: MCUboot prints `1.2.3` as `1.2.3+0`.
    pub fn semver(&self) -> Option<semver::Version> {
        let mut version = semver::Version::parse(self.version.as_deref()?).ok()?;
        if version.build.as_str() == "0" {
            version.build = semver::BuildMetadata::EMPTY;
        }
        Some(version)
    }

    /// Digest of the parsed header: SHA-256 over deterministic CBOR
    /// (RFC 8949 §4.2) of everything but `loads`, `notes` and
    /// `signatures`.
    pub fn digest(&self) -> Digest {
        let mut out = Vec::with_capacity(256);
        let mut encoder = Encoder::new(&mut out);
        // Writing to a Vec cannot fail; the error type is Infallible.
        let infallible: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            encoder.array(9)?.str(&self.format)?;
            match &self.version {
                Some(version) => encoder.str(version)?,
                None => encoder.null()?,
            };
            match self.epoch {
                Some(epoch) => encoder.u64(epoch)?,
                None => encoder.null()?,
            };
            encoder.array(self.load_addresses.len() as u64)?;
            for address in &self.load_addresses {
                encoder.u64(*address)?;
            }
            encoder.u64(self.image_size)?;
            match &self.target {
                Some(target) => encoder.str(target)?,
                None => encoder.null()?,
            };
            match self.debug {
                Some(debug) => encoder.bool(debug)?,
                None => encoder.null()?,
            };
            encoder.bool(self.encrypted)?;
            encoder.array(self.fields.len() as u64)?;
            for field in &self.fields {
                encoder.array(2)?.str(&field.name)?.str(&field.value)?;
            }
            Ok(())
        })();
        debug_assert!(infallible.is_ok());
        let mut digest = [0; 32];
        digest.copy_from_slice(&Hash::Sha256.of(&out));
        Digest(digest)
    }
}

/// A signature that a file carries, with what it takes to verify it.
///
/// To verify: the key must be one that is trusted for the purpose,
/// `claim.admits(key)`, `key.algorithm() == algorithm`, and `signature`
/// must be valid under that key for the bytes in `covered`. A claim by
/// itself proves nothing: whoever writes the file writes the claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExistingSignature {
    /// The algorithm.
    pub algorithm: KeyAlgorithm,
    /// Which key the file says made it.
    pub claim: KeyClaim,
    /// What was signed.
    pub covered: Covered,
    /// The signature; ECDSA as r || s.
    pub signature: Signature,
}

impl Serialize for ExistingSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ExistingSignature", 4)?;
        out.serialize_field("algorithm", &self.algorithm.to_string())?;
        out.serialize_field("claim", &self.claim)?;
        out.serialize_field("covered", &self.covered)?;
        out.serialize_field("signature", &hex(&self.signature.0))?;
        out.end()
    }
}

/// Which key a file says made a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyClaim {
    /// It does not say.
    None,
    /// SHA-2, told by its length, over the key's encoding: RSAPublicKey
    /// (RFC 8017 §A.1.1) for RSA, SubjectPublicKeyInfo for the others.
    KeyHash(Vec<u8>),
    /// This key itself.
    Key(Box<PublicKey>),
}

impl KeyClaim {
    /// The claim that names `key` by hash.
    pub(crate) fn hash_of(key: &PublicKey, hash: Hash) -> Vec<u8> {
        match key.algorithm() {
            KeyAlgorithm::Rsa(_) => hash.of(&key.bits()),
            _ => hash.of(key.spki()),
        }
    }

    /// Whether `key` may be the key that is meant.
    pub fn admits(&self, key: &PublicKey) -> bool {
        match self {
            KeyClaim::None => true,
            KeyClaim::KeyHash(value) => {
                Hash::of_len(value.len()).is_some_and(|hash| KeyClaim::hash_of(key, hash) == *value)
            }
            KeyClaim::Key(claimed) => **claimed == *key,
        }
    }
}

impl Serialize for KeyClaim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            KeyClaim::None => serializer.serialize_none(),
            KeyClaim::KeyHash(value) => serializer.collect_str(&format_args!("hash:{}", hex(value))),
            KeyClaim::Key(key) => serializer.collect_str(&format_args!("key:{}", key.id())),
        }
    }
}

/// What an existing signature covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Covered {
    /// Exactly this, computed from the file's content.
    Tbs(Tbs),
    /// It cannot be computed from this file, for this reason; the signature
    /// cannot be verified.
    Unknown(&'static str),
}

impl Serialize for Covered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Covered::Tbs(tbs) => serializer.collect_str(&format_args!("tbs:{}", tbs.fingerprint())),
            Covered::Unknown(why) => serializer.collect_str(&format_args!("unknown: {why}")),
        }
    }
}
