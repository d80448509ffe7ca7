//! To-be-signed input of a key: a message, or the digest of one.

use firmseal_core::{Crypto, Digest, Hasher, crypto::RustCrypto};

/// Longest message that is passed to a key whole, in bytes.
///
/// What needs it are pure Ed25519 signatures over an image (MCUboot), which
/// cannot be made of a digest: 2 MiB are the flash of the microcontrollers
/// that verify them. A request holds the message a few times while it is
/// signed, so it is not longer than that.
pub const MESSAGE_MAX: usize = 2 * 1024 * 1024;

/// What a key signs.
///
/// A key hashes a [`Tbs::Message`] itself where its algorithm hashes
/// (ECDSA, RSA-PSS); it signs a digest as it stands. Ed25519 takes messages
/// only: a digest that is signed with Ed25519, as MCUboot does, is a
/// message of 32 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tbs {
    /// The message itself, at most [`MESSAGE_MAX`] bytes.
    Message(Vec<u8>),
    /// SHA-256 of the message, for ECDSA P-256 and RSA-PSS.
    Sha256([u8; 32]),
    /// SHA-384 of the message, for ECDSA P-384.
    Sha384([u8; 48]),
    /// SHA-256 of the message, for RSASSA-PKCS1-v1_5 (RFC 8017 §8.2): what
    /// bootloaders, UEFI and CMS verified before PSS. Asked for by name, in
    /// files alone; nothing that devices of this system verify is signed so.
    Pkcs1([u8; 32]),
    /// SHA-256 of the message, for RSASSA-PSS with a salt as long as the key
    /// has room for: what tools that say "maximal" make and take. For files
    /// alone, as the one before.
    PssMax([u8; 32]),
}

impl Tbs {
    /// A digest that names this input: what the intent of an artifact's own
    /// signing commits to. The first byte keeps a message apart from a
    /// digest with the same bytes.
    pub fn fingerprint(&self) -> Digest {
        let (kind, bytes): (u8, &[u8]) = match self {
            Tbs::Message(message) => (0, message),
            Tbs::Sha256(digest) => (1, digest),
            Tbs::Sha384(digest) => (2, digest),
            Tbs::Pkcs1(digest) => (3, digest),
            Tbs::PssMax(digest) => (4, digest),
        };
        let mut hasher = RustCrypto.sha256();
        hasher.update(&[kind]);
        hasher.update(bytes);
        hasher.finish()
    }
}
