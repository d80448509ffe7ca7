//! COSE_Sign1 with a detached digest: the one signature form on the wire.
//!
//! SUIT signs the encoded `SUIT_Digest` of the manifest with a detached
//! payload (draft-ietf-suit-manifest-37 §8.3, RFC 9052 §4.4). Root documents
//! are signed the same way with another external_aad, so a signature made
//! for one purpose cannot be presented for another.

use crate::digest::{DIGEST_LEN, Digest};
use crate::key::PublicKey;

/// Longest protected header that is accepted, in bytes. `{1: alg}` takes
/// three; a 32-byte key id would fit as well.
pub const PROTECTED_MAX: usize = 64;

/// What a signature is for, told apart by the external_aad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// A SUIT manifest. The draft fixes an empty external_aad.
    Manifest,
    /// A root document.
    Root,
}

impl Context {
    const fn external_aad(self) -> &'static [u8] {
        match self {
            Context::Manifest => b"",
            Context::Root => b"firmseal/root",
        }
    }
}

/// COSE algorithm identifiers that name a curve we verify.
///
/// ES256 and EdDSA are the older, polymorphic names (RFC 9053); ESP256 and
/// Ed25519 are fully specified (RFC 9864) and what Firmseal writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum Algorithm {
    /// ECDSA with SHA-256, any curve by its RFC; here P-256 only.
    Es256 = -7,
    /// EdDSA, any curve by its RFC; here Ed25519 only.
    EdDsa = -8,
    /// ECDSA with SHA-256 on P-256.
    Esp256 = -9,
    /// Ed25519.
    Ed25519 = -19,
}

impl Algorithm {
    /// The algorithm of a COSE identifier, if it is one of ours.
    pub const fn from_id(id: i64) -> Option<Algorithm> {
        match id {
            -7 => Some(Algorithm::Es256),
            -8 => Some(Algorithm::EdDsa),
            -9 => Some(Algorithm::Esp256),
            -19 => Some(Algorithm::Ed25519),
            _ => None,
        }
    }

    /// The COSE identifier.
    pub const fn id(self) -> i64 {
        self as i64
    }

    /// The fully specified algorithm of a key: what new signatures say.
    pub const fn of(key: &PublicKey<'_>) -> Algorithm {
        match key {
            PublicKey::P256 { .. } => Algorithm::Esp256,
            PublicKey::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// Whether a key may be used with this algorithm.
    pub const fn fits(self, key: &PublicKey<'_>) -> bool {
        match key {
            PublicKey::P256 { .. } => matches!(self, Algorithm::Es256 | Algorithm::Esp256),
            PublicKey::Ed25519(_) => matches!(self, Algorithm::EdDsa | Algorithm::Ed25519),
        }
    }

    /// The protected header `{1: alg}`.
    pub const fn protected(self) -> [u8; 3] {
        // A negative integer -1 - n with n below 24 is one byte, 0x20 + n.
        [0xa1, 0x01, 0x20 + (-1 - self as i8) as u8]
    }
}

/// Encoded `SUIT_Digest` of a SHA-256 value: `[-16, h'…']`.
pub fn suit_digest(digest: &Digest) -> [u8; 4 + DIGEST_LEN] {
    let mut out = [0; 4 + DIGEST_LEN];
    out[..4].copy_from_slice(&[0x82, 0x2f, 0x58, 0x20]);
    out[4..].copy_from_slice(digest.as_bytes());
    out
}

const BUFFER: usize = 12 + 2 + PROTECTED_MAX + 24 + 2 + 4 + DIGEST_LEN;

/// The exact bytes that a COSE_Sign1 signature covers (`Sig_structure`,
/// RFC 9052 §4.4), built in place.
pub struct SigStructure {
    buffer: [u8; BUFFER],
    len: usize,
}

impl SigStructure {
    /// Builds the structure over a digest. `None` if `protected` is longer
    /// than [`PROTECTED_MAX`].
    pub fn new(protected: &[u8], context: Context, digest: &Digest) -> Option<SigStructure> {
        if protected.len() > PROTECTED_MAX {
            return None;
        }
        let mut this = SigStructure { buffer: [0; BUFFER], len: 0 };
        this.push(b"\x84\x6aSignature1");
        this.push_bstr(protected);
        this.push_bstr(context.external_aad());
        this.push_bstr(&suit_digest(digest));
        Some(this)
    }

    /// The encoded structure.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_bstr(&mut self, bytes: &[u8]) {
        match bytes.len() as u8 {
            short @ 0..24 => self.push(&[0x40 + short]),
            long => self.push(&[0x58, long]),
        }
        self.push(bytes);
    }
}
