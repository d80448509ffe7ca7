//! Authentication blocks: COSE_Sign1, Sign, Mac0 and Mac over the encoded
//! SUIT_Digest as detached payload (RFC 9052 §4.4; draft-ietf-suit-manifest-37
//! §8.3).

use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

use super::Bad;
use super::cbor::Reader;
use super::headers::Headers;
use crate::hash::{Hash, array};
use crate::inspection::{Covered, ExistingSignature, KeyClaim};
use crate::signature::raw_len;

/// Tag of a COSE_Sign1.
pub(super) const SIGN1: u64 = 18;
const SIGN: u64 = 98;
const MAC0: u64 = 17;
const MAC: u64 = 97;
/// Most signers of one block.
const SIGNERS_MAX: usize = 16;

/// An authentication block.
pub(super) struct Block<'a> {
    /// As it stands in the wrapper, without the byte string's head.
    pub(super) encoded: &'a [u8],
    kind: &'static str,
    body: Headers<'a>,
    payload: Option<&'a [u8]>,
    /// Who signed: of a COSE_Sign1 one, with the headers of the block.
    signers: Vec<(Headers<'a>, &'a [u8])>,
}

impl<'a> Block<'a> {
    pub(super) fn decode(encoded: &'a [u8]) -> Result<Block<'a>, Bad> {
        let mut reader = Reader::new(encoded);
        let (kind, items) = match reader.tag()? {
            SIGN1 => ("COSE_Sign1", 4),
            SIGN => ("COSE_Sign", 4),
            MAC0 => ("COSE_Mac0", 4),
            MAC => ("COSE_Mac", 5),
            _ => return Err("a block that is no COSE_Sign1, Sign, Mac0 or Mac"),
        };
        if reader.array()? != items {
            return Err("a block with another number of items than its kind has");
        }
        let body = Headers::read(&mut reader)?;
        let payload = if reader.null() { None } else { Some(reader.bytes()?) };
        let mut signers = Vec::new();
        match kind {
            "COSE_Sign1" => signers.push((body.clone(), reader.bytes()?)),
            "COSE_Sign" => {
                let count = reader.array()?;
                if !(1..=SIGNERS_MAX).contains(&count) {
                    return Err("a COSE_Sign of no signers, or more than 16");
                }
                for _ in 0..count {
                    if reader.array()? != 3 {
                        return Err("a signer with another number of items than three");
                    }
                    signers.push((Headers::read(&mut reader)?, reader.bytes()?));
                }
            }
            // A code that only the holders of a key can check; behind it its
            // recipients.
            _ => {
                reader.bytes()?;
                for _ in 4..items {
                    reader.item()?;
                }
            }
        }
        reader.end()?;
        Ok(Block { encoded, kind, body, payload, signers })
    }

    /// Whether it is a COSE_Sign1 that names this key.
    pub(super) fn is_of(&self, key_id: &[u8]) -> bool {
        self.kind == "COSE_Sign1" && self.body.key_id == Some(key_id)
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let mut out = format!("{}: {}", self.kind, self.body.shown);
        if self.kind == "COSE_Sign" {
            for (headers, _) in &self.signers {
                out += &format!("; by {}", headers.shown);
            }
        }
        out
    }

    /// Its signatures that a key of ours could have made, over the encoded
    /// SUIT_Digest.
    pub(super) fn signatures(&self, digest: &[u8]) -> Vec<ExistingSignature> {
        let each = self.signers.iter().filter_map(|(headers, signature)| {
            let id = headers.algorithm?;
            let algorithm = key_algorithm(id, signature.len())?;
            let structure = match self.kind {
                "COSE_Sign1" => sign1_structure(headers.protected, digest),
                _ => sign_structure(self.body.protected, headers.protected, digest),
            };
            let covered = match () {
                () if self.payload.is_some() => {
                    Covered::Unknown("its payload is attached, which SUIT does not allow")
                }
                () if self.body.critical || headers.critical => {
                    Covered::Unknown("it has parameters that it calls critical, which are not known here")
                }
                () => Covered::Tbs(tbs(algorithm, structure)),
            };
            // A key id is a hint that whoever wrote it chose.
            let signature = Signature(signature.to_vec());
            Some(ExistingSignature { algorithm, claim: KeyClaim::None, covered, signature })
        });
        each.collect()
    }
}

/// What a COSE_Sign1 signs. The external_aad is empty, as SUIT has it.
pub(super) fn sign1_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(4).text("Signature1").bytes(protected).bytes(b"").bytes(payload);
    out.finish()
}

fn sign_structure(body: &[u8], signer: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(5).text("Signature").bytes(body).bytes(signer).bytes(b"").bytes(payload);
    out.finish()
}

/// What a key signs of a structure.
pub(super) fn tbs(algorithm: KeyAlgorithm, structure: Vec<u8>) -> Tbs {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_) => Tbs::Sha256(array(&Hash::Sha256.of(&structure))),
        KeyAlgorithm::P384 => Tbs::Sha384(array(&Hash::Sha384.of(&structure))),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => Tbs::Message(structure),
    }
}

/// Identifiers of a key's algorithm: the one that names its curve (RFC 9864), and
/// the older one (RFC 9053), which are the same where there is but one.
pub(super) fn identifiers(algorithm: KeyAlgorithm) -> Option<(i64, i64)> {
    Some(match algorithm {
        KeyAlgorithm::P256 => (-9, -7),
        KeyAlgorithm::P384 => (-51, -35),
        KeyAlgorithm::Ed25519 => (-19, -8),
        // RFC 8230; RFC 9964, in the order of their sizes.
        KeyAlgorithm::Rsa(_) => (-37, -37),
        KeyAlgorithm::MlDsa(set) => match set.signature_len() {
            2420 => (-48, -48),
            3309 => (-49, -49),
            _ => (-50, -50),
        },
        KeyAlgorithm::Lms(_) => return None,
    })
}

/// The algorithm of keys that sign so. The older identifiers name no curve: the
/// signature's length does.
fn key_algorithm(id: i64, len: usize) -> Option<KeyAlgorithm> {
    const SETS: [&str; 3] = ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"];
    let all = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519]
        .into_iter()
        .chain([2048, 3072, 4096].map(KeyAlgorithm::Rsa))
        .chain(SETS.iter().filter_map(|name| name.parse().ok()));
    let fits = |algorithm: &KeyAlgorithm| {
        let named = identifiers(*algorithm).is_some_and(|(new, old)| id == new || id == old);
        named && raw_len(*algorithm) == len
    };
    { all }.find(fits)
}

/// Whether a file begins as what COSE signs or authenticates: an array whose
/// first item says what the rest is (RFC 9052 §4.4 and §6.3, RFC 9338 §3.3).
pub(super) fn is_sig_structure(head: &[u8]) -> bool {
    let [0x83..=0x86, text, context @ ..] = head else { return false };
    // Their verifiers build it themselves, deterministically.
    let context = match text {
        0x60..=0x77 => context.get(..usize::from(text & 31)),
        _ => None,
    };
    context.is_some_and(|context| {
        let named =
            [&b"Signature"[..], b"CounterSignature", b"MAC"].iter().any(|name| context.starts_with(name));
        named && context.iter().all(u8::is_ascii_alphanumeric)
    })
}
