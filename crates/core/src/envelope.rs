//! SUIT envelopes (draft-ietf-suit-manifest-37 §8.2): the outer form.
//!
//! Decoding an envelope looks only at its outer map, the digest and the
//! signatures. The manifest stays an opaque byte string until
//! [`authenticate`](crate::authenticate) has verified it.

use minicbor::data::Type;

use crate::cbor::{Bstr, Key, Reader};
use crate::cose::{Algorithm, Context, Protected};
use crate::crypto::Crypto;
use crate::digest::{DIGEST_LEN, Digest, SHA_256};
use crate::key::PublicKey;
use crate::limits::{ENVELOPE_MAX, INTEGRATED_MAX, Limit, SIGNATURES_MAX};
use crate::refusal::Refusal;

/// CBOR tag of a SUIT envelope.
pub const ENVELOPE_TAG: u64 = 107;
const SIGN1_TAG: u64 = 18;

/// Label of the delegation chains.
pub const DELEGATION: i64 = 1;
/// Label of the evidence: Intent, Statements and birth proof. Labels below
/// -256 are private.
pub const EVIDENCE: i64 = -258;
/// Label of the severable payload-fetch sequence.
pub const PAYLOAD_FETCH: i64 = 16;
/// Label of the severable install sequence.
pub const INSTALL: i64 = 20;
/// Label of the severable text.
pub const TEXT: i64 = 23;

/// A decoded envelope. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    bytes: &'a [u8],
    signatures: &'a [u8],
    signature_count: usize,
    manifest_digest: Digest,
    manifest: Bstr<'a>,
    severed: [Option<Bstr<'a>>; 3],
    delegation: Option<&'a [u8]>,
    evidence: Option<&'a [u8]>,
}

/// The severable members in the order of their labels.
const SEVERABLE: [i64; 3] = [PAYLOAD_FETCH, INSTALL, TEXT];

impl<'a> Envelope<'a> {
    /// Decodes the outer form. The bytes must already be where nobody else
    /// can change them.
    pub fn decode(bytes: &'a [u8]) -> Result<Envelope<'a>, Refusal> {
        if bytes.len() > ENVELOPE_MAX {
            return Err(Refusal::Limit(Limit::EnvelopeMax));
        }
        let mut reader = Reader::new(bytes);
        if reader.tag()? != ENVELOPE_TAG {
            return Err(Refusal::Malformed("not a SUIT envelope (tag 107)"));
        }
        let mut keys = reader.map()?;
        let (mut wrapper, mut manifest, mut severed, mut integrated) = (None, None, [None; 3], 0);
        let (mut delegation, mut evidence) = (None, None);
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                Key::Int(2) => wrapper = Some(reader.bytes()?),
                Key::Int(3) => manifest = Some(reader.bstr()?),
                Key::Int(DELEGATION) => delegation = Some(reader.bytes()?),
                Key::Int(EVIDENCE) => evidence = Some(reader.bytes()?),
                Key::Int(label) => match SEVERABLE.iter().position(|known| *known == label) {
                    Some(slot) => severed[slot] = Some(reader.bstr()?),
                    None => return Err(Refusal::UnsignedMember(label)),
                },
                Key::Text(name) if name.starts_with('#') => {
                    reader.bytes()?;
                    integrated += 1;
                    if integrated > INTEGRATED_MAX {
                        return Err(Refusal::Limit(Limit::IntegratedMax));
                    }
                }
                Key::Text(_) => {
                    return Err(Refusal::Malformed("an integrated payload's name begins with `#`"));
                }
            }
        }
        reader.end()?;
        let wrapper = wrapper.ok_or(Refusal::Malformed("no authentication wrapper"))?;
        let manifest = manifest.ok_or(Refusal::Malformed("no manifest"))?;

        let mut auth = Reader::new(wrapper);
        let count = auth.array(SIGNATURES_MAX + 1, Limit::SignaturesMax)?;
        if count == 0 {
            return Err(Refusal::Malformed("an empty authentication wrapper"));
        }
        let manifest_digest = digest(auth.bytes()?)?;
        let start = auth.clone();
        let mut signatures = start.clone();
        for _ in 1..count {
            Sign1::decode(signatures.bytes()?)?;
        }
        signatures.end()?;
        Ok(Envelope {
            bytes,
            signatures: start.rest(),
            signature_count: count - 1,
            manifest_digest,
            manifest,
            severed,
            delegation,
            evidence,
        })
    }

    /// The digest that the signatures cover.
    pub fn manifest_digest(&self) -> &Digest {
        &self.manifest_digest
    }

    /// The envelope's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The manifest as a byte string. Unverified.
    pub fn manifest(&self) -> Bstr<'a> {
        self.manifest
    }

    /// A severable member, if the envelope carries it. Unverified.
    pub fn severed(&self, label: i64) -> Option<Bstr<'a>> {
        SEVERABLE.iter().position(|known| *known == label).and_then(|slot| self.severed[slot])
    }

    /// The delegation chains. Unverified.
    pub fn delegation(&self) -> Option<&'a [u8]> {
        self.delegation
    }

    /// Intent, Statements and birth proof. Unverified.
    pub fn evidence(&self) -> Option<&'a [u8]> {
        self.evidence
    }

    /// The signatures, in order.
    pub fn signatures(&self) -> impl Iterator<Item = Sign1<'a>> + use<'a> {
        decode_signatures(self.signatures, self.signature_count)
    }

    /// An integrated payload by its name, `#` included. Unverified: it is
    /// checked like any other payload when it is fetched.
    pub fn integrated(&self, name: &str) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.bytes);
        reader.tag().ok()?;
        let mut keys = reader.map().ok()?;
        while let Ok(Some(key)) = keys.next(&mut reader) {
            let content = reader.bytes().ok()?;
            if key == Key::Text(name) {
                return Some(content);
            }
        }
        None
    }

    /// Checks that the manifest has the signed digest: SHA-256 over the
    /// byte string with its head, as SUIT computes it.
    pub(crate) fn check_digest(&self, crypto: &impl Crypto) -> Result<(), Refusal> {
        if crypto.digest(self.manifest.wrapped) == self.manifest_digest {
            Ok(())
        } else {
            Err(Refusal::ManifestDigest)
        }
    }
}

/// Iterates over `count` byte strings, each a COSE_Sign1 that was decoded
/// once already.
pub(crate) fn decode_signatures<'a>(
    bytes: &'a [u8],
    count: usize,
) -> impl Iterator<Item = Sign1<'a>> + use<'a> {
    let mut reader = Reader::new(bytes);
    (0..count).map_while(move |_| Sign1::decode(reader.bytes().ok()?).ok())
}

/// Reads a `SUIT_Digest`; SHA-256 is the only algorithm.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Refusal> {
    let mut reader = Reader::new(bytes);
    let digest = read_digest(&mut reader)?;
    reader.end()?;
    Ok(digest)
}

/// Reads a `SUIT_Digest` in place.
pub(crate) fn read_digest(reader: &mut Reader<'_>) -> Result<Digest, Refusal> {
    reader.array_exact(2)?;
    if reader.int()? != SHA_256 {
        return Err(Refusal::Unsupported("a digest other than SHA-256"));
    }
    reader.array_of::<DIGEST_LEN>().map(|bytes| Digest(*bytes))
}

/// A COSE_Sign1 with detached payload.
#[derive(Clone, Copy, Debug)]
pub struct Sign1<'a> {
    protected: Protected<'a>,
    signature: &'a [u8],
}

impl<'a> Sign1<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Sign1<'a>, Refusal> {
        let mut reader = Reader::new(bytes);
        if reader.tag()? != SIGN1_TAG {
            return Err(Refusal::Unsupported("an authentication block other than COSE_Sign1"));
        }
        reader.array_exact(4)?;
        let protected = Protected::decode(&mut reader)?;
        if reader.kind()? != Type::Null {
            return Err(Refusal::Unsupported("an attached payload"));
        }
        reader.null()?;
        let signature = reader.bytes()?;
        reader.end()?;
        Ok(Sign1 { protected, signature })
    }

    /// The algorithm that the protected header names.
    pub fn algorithm(&self) -> Algorithm {
        self.protected.algorithm
    }

    /// The key id that the signature claims: a hint, no more.
    pub fn key_id(&self) -> Option<&'a [u8]> {
        self.protected.key_id
    }

    /// Whether this is a signature of `key` over `digest`.
    pub(crate) fn verifies(
        &self,
        key: &PublicKey<'_>,
        context: Context,
        digest: &Digest,
        crypto: &impl Crypto,
    ) -> bool {
        self.protected.verifies(key, context, digest, self.signature, crypto)
    }
}
