//! Verifier keys: the text form `<name>+<id>+<base64>` and what it is for.

use firmseal_core::PublicKey;
use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};
use firmseal_core::mldsa::{self, Set};

use crate::base64;
use crate::checkpoint::Checkpoint;
use crate::cosignature::{Subtree, cosignature_message};
use crate::error::Error;

/// What kind of signature a key makes (signed-note, signature types).
///
/// Only kinds that are verified here. A key of another kind cannot be
/// configured, so its signatures are those of a stranger and are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Type 0x01: Ed25519 over the text.
    Ed25519,
    /// Type 0x04: an Ed25519 cosignature with a time (tlog-cosignature).
    Cosignature,
    /// Type 0x06: an ML-DSA-44 cosignature (tlog-cosignature); with it "logs
    /// SHOULD [...] sign the checkpoint" (tlog-checkpoint).
    MlDsa44,
    /// The same with ML-DSA-87. No type is assigned to it; it is one of our
    /// own, under 0xff.
    MlDsa87,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Ed25519, Kind::Cosignature, Kind::MlDsa44, Kind::MlDsa87];

    /// What stands before the public key, in a key and under its id: "it is
    /// RECOMMENDED that \[0xff\] be followed by a longer identifier that is
    /// unlikely to collide".
    pub fn identifier(self) -> &'static [u8] {
        match self {
            Kind::Ed25519 => &[0x01],
            Kind::Cosignature => &[0x04],
            Kind::MlDsa44 => &[0x06],
            Kind::MlDsa87 => b"\xfffirmseal/ml-dsa-87-subtree/v1\n",
        }
    }

    /// The parameter set, of ML-DSA.
    pub fn ml_dsa(self) -> Option<Set> {
        match self {
            Kind::Ed25519 | Kind::Cosignature => None,
            Kind::MlDsa44 => Some(Set::MlDsa44),
            Kind::MlDsa87 => Some(Set::MlDsa87),
        }
    }

    fn key_len(self) -> usize {
        self.ml_dsa().map_or(32, Set::key_len)
    }
}

/// A key that notes are verified with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    /// As long as its kind says.
    public: Vec<u8>,
    id: u32,
}

/// The id under which a signature stands: the first four bytes of
/// SHA-256(name || 0x0A || type || public key).
pub fn key_id(name: &str, kind: Kind, public: &[u8]) -> u32 {
    let mut hasher = RustCrypto.sha256();
    for part in [name.as_bytes(), b"\n", kind.identifier(), public] {
        hasher.update(part);
    }
    let [a, b, c, d, ..] = hasher.finish().0;
    u32::from_be_bytes([a, b, c, d])
}

/// Whether this may be a key's name: "Key names MUST be non-empty and MUST
/// NOT contain any Unicode spaces or plus (U+002B) characters" (signed-note,
/// Format). Control characters cannot stand in a note at all.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl VerifierKey {
    /// A key from its parts.
    pub fn new(name: &str, kind: Kind, public: impl Into<Vec<u8>>) -> Result<VerifierKey, Error> {
        let (bad, public) = (Error::malformed("verifier key"), public.into());
        if !is_name(name) {
            return Err(bad("its name is empty or has a space or a plus"));
        }
        if public.len() != kind.key_len() {
            return Err(bad("its public key has not the length of its kind"));
        }
        let id = key_id(name, kind, &public);
        Ok(VerifierKey { name: name.to_owned(), kind, public, id })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<VerifierKey, Error> {
        let bad = Error::malformed("verifier key");
        // Base64 has plus signs, names and ids have none.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it has no name, id and key between plus signs"));
        };
        let key = base64::decode(key).ok_or(bad("its key is not base64"))?;
        let own = |kind: &Kind| key.strip_prefix(kind.identifier()).map(|public| (*kind, public));
        let (kind, public) = Kind::ALL
            .iter()
            .find_map(own)
            .ok_or(bad("its type is not one of those verified here (1, 4, 6 and our own)"))?;
        let key = VerifierKey::new(name, kind, public)?;
        match id == format!("{:08x}", key.id) {
            true => Ok(key),
            false => Err(bad("its id is not the id of its name and key")),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The public key.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The public key, if it is one of Ed25519.
    pub fn ed25519(&self) -> Option<&[u8; 32]> {
        self.public.as_slice().try_into().ok()
    }

    /// What this key signs of a note: its text, or the tree that the text
    /// names, at a time. Extension lines are no part of what ML-DSA signs.
    pub fn message(&self, time: u64, text: &str) -> Result<Vec<u8>, Error> {
        match self.kind {
            Kind::Ed25519 => Ok(text.as_bytes().to_vec()),
            Kind::Cosignature => Ok(cosignature_message(time, text)),
            Kind::MlDsa44 | Kind::MlDsa87 => {
                let Checkpoint { origin, size, root, .. } = Checkpoint::parse(text)?;
                let (cosigner, origin) = (self.name.as_str(), origin.as_str());
                Subtree { cosigner, time, origin, start: 0, end: size, hash: root }.message()
            }
        }
    }

    /// Whether a signature of this key is over these bytes.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = match self.kind.ml_dsa() {
            Some(set) => mldsa::Key::decode(set, &self.public).map(PublicKey::MlDsa),
            None => self.ed25519().map(PublicKey::Ed25519),
        };
        key.is_some_and(|key| RustCrypto.verify(&key, message, signature).is_ok())
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = [self.kind.identifier(), &self.public].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64::encode(&key))
    }
}
