//! COSE_Sign1: the signature form of everything that we define.
//!
//! SUIT signs the encoded `SUIT_Digest` of the manifest with a detached
//! payload (draft-ietf-suit-manifest-37 §8.3, RFC 9052 §4.4). Root documents
//! are signed the same way with another external_aad, so a signature made
//! for one purpose cannot be presented for another.

use crate::cbor::Reader;
use crate::crypto::Crypto;
use crate::digest::{DIGEST_LEN, Digest};
use crate::key::PublicKey;
use crate::limits::CWT_MAX;
use crate::mldsa;
use crate::refusal::Refusal;

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
    /// A Statement: an approval or an owner's consent.
    Statement,
    /// A revocation document.
    Revocation,
    /// Which revocation document is the newest at a checkpoint.
    Freshness,
}

impl Context {
    const fn external_aad(self) -> &'static [u8] {
        match self {
            Context::Manifest => b"",
            Context::Root => b"firmseal/root",
            Context::Statement => b"firmseal/statement",
            Context::Revocation => b"firmseal/revocation",
            Context::Freshness => b"firmseal/freshness",
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
    /// RSASSA-PSS with SHA-256 (RFC 8230).
    Ps256 = -37,
    /// HSS-LMS (RFC 8778); here with one level.
    HssLms = -46,
    /// ML-DSA-44 (RFC 9964).
    MlDsa44 = -48,
    /// ML-DSA-65.
    MlDsa65 = -49,
    /// ML-DSA-87.
    MlDsa87 = -50,
}

impl Algorithm {
    /// The algorithm of a COSE identifier, if it is one of ours.
    pub const fn from_id(id: i64) -> Option<Algorithm> {
        match id {
            -7 => Some(Algorithm::Es256),
            -8 => Some(Algorithm::EdDsa),
            -9 => Some(Algorithm::Esp256),
            -19 => Some(Algorithm::Ed25519),
            -37 => Some(Algorithm::Ps256),
            -46 => Some(Algorithm::HssLms),
            -48 => Some(Algorithm::MlDsa44),
            -49 => Some(Algorithm::MlDsa65),
            -50 => Some(Algorithm::MlDsa87),
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
            PublicKey::Lms(_) => Algorithm::HssLms,
            PublicKey::MlDsa(key) => Algorithm::of_set(key.set()),
            PublicKey::Rsa(_) => Algorithm::Ps256,
        }
    }

    const fn of_set(set: mldsa::Set) -> Algorithm {
        match set {
            mldsa::Set::MlDsa44 => Algorithm::MlDsa44,
            mldsa::Set::MlDsa65 => Algorithm::MlDsa65,
            mldsa::Set::MlDsa87 => Algorithm::MlDsa87,
        }
    }

    /// Whether a key may be used with this algorithm.
    pub const fn fits(self, key: &PublicKey<'_>) -> bool {
        match key {
            PublicKey::P256 { .. } => matches!(self, Algorithm::Es256 | Algorithm::Esp256),
            PublicKey::Ed25519(_) => matches!(self, Algorithm::EdDsa | Algorithm::Ed25519),
            PublicKey::Lms(_) => matches!(self, Algorithm::HssLms),
            PublicKey::Rsa(_) => matches!(self, Algorithm::Ps256),
            PublicKey::MlDsa(key) => self as i8 == Algorithm::of_set(key.set()) as i8,
        }
    }

    /// The protected header `{1: alg}`.
    pub const fn protected(self) -> Header {
        // A negative integer -1 - n with n below 24 is one byte, 0x20 + n;
        // from there it takes a second one.
        match (-1 - self as i8) as u8 {
            short @ 0..24 => Header { bytes: [0xa1, 0x01, 0x20 + short, 0], len: 3 },
            long => Header { bytes: [0xa1, 0x01, 0x38, long], len: 4 },
        }
    }
}

/// An encoded protected header that names an algorithm and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    bytes: [u8; 4],
    len: usize,
}

impl core::ops::Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Encoded `SUIT_Digest` of a SHA-256 value: `[-16, h'…']`.
pub fn suit_digest(digest: &Digest) -> [u8; 4 + DIGEST_LEN] {
    let mut out = [0; 4 + DIGEST_LEN];
    out[..4].copy_from_slice(&[0x82, 0x2f, 0x58, 0x20]);
    out[4..].copy_from_slice(digest.as_bytes());
    out
}

/// What stands around a payload: "Signature1", the protected header, the
/// longest external_aad, and heads.
const AROUND: usize = 12 + 2 + PROTECTED_MAX + 24 + 3;

/// Room for a signature over a digest.
const OVER_DIGEST: usize = AROUND + 4 + DIGEST_LEN;
/// Room for a signature over claims: only delegations pay for it in stack.
const OVER_CLAIMS: usize = AROUND + CWT_MAX;

/// The exact bytes that a COSE_Sign1 signature covers (`Sig_structure`,
/// RFC 9052 §4.4), built in place.
pub struct SigStructure<const N: usize> {
    buffer: [u8; N],
    len: usize,
}

impl SigStructure<OVER_DIGEST> {
    /// Builds the structure over a digest. `None` if `protected` is longer
    /// than [`PROTECTED_MAX`].
    pub fn new(protected: &[u8], context: Context, digest: &Digest) -> Option<Self> {
        SigStructure::over(protected, context.external_aad(), &suit_digest(digest))
    }
}

impl SigStructure<OVER_CLAIMS> {
    /// Builds the structure over the claims of a CWT (RFC 8392 §7.1), whose
    /// external_aad is empty. What it says cannot be taken for a manifest's
    /// signature: claims are a map and a SUIT digest is an array. `None` if
    /// either part is longer than [`PROTECTED_MAX`] or [`CWT_MAX`].
    pub fn claims(protected: &[u8], payload: &[u8]) -> Option<Self> {
        SigStructure::over(protected, b"", payload)
    }
}

impl<const N: usize> SigStructure<N> {
    fn over(protected: &[u8], external_aad: &[u8], payload: &[u8]) -> Option<SigStructure<N>> {
        if protected.len() > PROTECTED_MAX || payload.len() > N - AROUND {
            return None;
        }
        let mut this = SigStructure { buffer: [0; N], len: 0 };
        this.push(b"\x84\x6aSignature1");
        this.push_bstr(protected);
        this.push_bstr(external_aad);
        this.push_bstr(payload);
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
        match bytes.len() {
            short @ 0..24 => self.push(&[0x40 + short as u8]),
            medium @ 24..256 => self.push(&[0x58, medium as u8]),
            long => self.push(&[0x59, (long >> 8) as u8, long as u8]),
        }
        self.push(bytes);
    }
}

/// Both headers of a COSE_Sign1: the algorithm, and the key id, which may
/// stand in either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected<'a> {
    bytes: &'a [u8],
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<&'a [u8]>,
}

impl<'a> Protected<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Protected<'a>, Refusal> {
        let bytes = reader.bytes()?;
        let (mut algorithm, mut key_id) = (None, None);
        let mut header = Reader::new(bytes);
        let mut keys = header.map()?;
        while let Some(label) = keys.next_int(&mut header)? {
            match label {
                1 => algorithm = Algorithm::from_id(header.int()?),
                4 => key_id = Some(header.bytes()?),
                // `crit` (2) is refused with everything else: a header we
                // do not know may change what the signature means.
                _ => return Err(Refusal::Unsupported("a protected header parameter")),
            }
        }
        header.end()?;
        let mut keys = reader.map()?;
        while let Some(label) = keys.next_int(reader)? {
            match label {
                4 if key_id.is_none() => key_id = Some(reader.bytes()?),
                _ => return Err(Refusal::Unsupported("an unprotected header parameter")),
            }
        }
        let algorithm = algorithm.ok_or(Refusal::Unsupported("a signature algorithm"))?;
        Ok(Protected { bytes, algorithm, key_id })
    }

    /// Whether `signature` is one of `key` over a detached digest.
    pub(crate) fn verifies(
        &self,
        key: &PublicKey<'_>,
        context: Context,
        digest: &Digest,
        signature: &[u8],
        crypto: &impl Crypto,
    ) -> bool {
        self.algorithm.fits(key)
            && SigStructure::new(self.bytes, context, digest)
                .is_some_and(|tbs| crypto.verify(key, tbs.as_bytes(), signature).is_ok())
    }

    /// Whether `signature` is one of `key` over the claims beside it.
    pub(crate) fn verifies_attached(
        &self,
        key: &PublicKey<'_>,
        payload: &[u8],
        signature: &[u8],
        crypto: &impl Crypto,
    ) -> bool {
        self.algorithm.fits(key)
            && SigStructure::claims(self.bytes, payload)
                .is_some_and(|tbs| crypto.verify(key, tbs.as_bytes(), signature).is_ok())
    }
}
