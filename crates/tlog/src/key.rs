//! Verifier keys: the text form `<name>+<id>+<base64>` and what it is for.

use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};

use crate::base64;
use crate::error::Error;

/// What kind of signature a key makes (signed-note, signature types).
///
/// Only kinds that are verified here. A key of another kind cannot be
/// configured, so its signatures are those of a stranger and are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Ed25519 over the text.
    Ed25519 = 0x01,
    /// An Ed25519 cosignature with a time (tlog-cosignature).
    Cosignature = 0x04,
}

/// A key that notes are verified with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    public: [u8; 32],
    id: u32,
}

/// The id under which a signature stands: the first four bytes of
/// SHA-256(name || 0x0A || type || public key).
pub fn key_id(name: &str, kind: u8, public: &[u8]) -> u32 {
    let mut hasher = RustCrypto.sha256();
    for part in [name.as_bytes(), b"\n", &[kind], public] {
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
    pub fn new(name: &str, kind: Kind, public: [u8; 32]) -> Result<VerifierKey, Error> {
        if !is_name(name) {
            return Err(Error::malformed("verifier key")("its name is empty or has a space or a plus"));
        }
        let id = key_id(name, kind as u8, &public);
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
        let (kind, public) = match key.split_first() {
            Some((0x01, public)) => (Kind::Ed25519, public),
            Some((0x04, public)) => (Kind::Cosignature, public),
            _ => return Err(bad("its type is not one of those verified here (1 and 4)")),
        };
        let public = public.try_into().map_err(|_| bad("its public key has not 32 bytes"))?;
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
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![self.kind as u8];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64::encode(&key))
    }
}
