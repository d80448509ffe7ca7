//! Schemes: how a key signs an image, and what stands behind the image.

use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

use super::NAME;
use super::encryption::Device;
use super::options::Options;
use super::tlv::{self, Tlv};
use crate::agreement::Recipient;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::inspection::KeyClaim;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::signature::encoded;
use crate::source::Source;

/// How a key signs (imgtool `ALLOWED_KEY_SHA`, the first of each unless
/// another is asked for).
#[derive(Clone)]
pub(super) struct Scheme {
    algorithm: KeyAlgorithm,
    pub(super) hash: Hash,
    hash_tlv: u16,
    signature_tlv: u16,
    /// Length of the longest encoded signature.
    longest: usize,
    /// Whether the key signs the image itself, and not its digest.
    pub(super) pure: bool,
    /// Whether ECDSA signatures are filled up to `longest`.
    padded: bool,
    /// The key's hash, by the image's hash function.
    pub(super) key_hash: Vec<u8>,
    /// The entry that names the key.
    claim: Tlv,
}

impl Scheme {
    pub(super) fn of(key: &PublicKey, options: &Options) -> Result<Scheme, FormatError> {
        let algorithm = key.algorithm();
        // imgtool `ALLOWED_PURE_KEY_SHA`: pure signatures stand beside a
        // SHA-512.
        let ed25519 = if options.pure { Hash::Sha512 } else { options.hash.unwrap_or(Hash::Sha256) };
        let (hash, signature_tlv, longest) = match algorithm {
            KeyAlgorithm::P256 => (Hash::Sha256, tlv::ECDSA, 72),
            KeyAlgorithm::P384 => (Hash::Sha384, tlv::ECDSA, if options.pad_signature { 103 } else { 104 }),
            KeyAlgorithm::Ed25519 if ed25519 == Hash::Sha384 => {
                return Err(bad("sha", "Ed25519 keys take 256 or 512".to_owned()));
            }
            KeyAlgorithm::Ed25519 => (ed25519, tlv::ED25519, 64),
            KeyAlgorithm::Rsa(2048) => (Hash::Sha256, tlv::RSA2048, 256),
            KeyAlgorithm::Rsa(3072) => (Hash::Sha256, tlv::RSA3072, 384),
            KeyAlgorithm::Rsa(_) | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
                let use_instead = "P-256, P-384, Ed25519, RSA-2048 or RSA-3072";
                return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead });
            }
        };
        if options.pure && algorithm != KeyAlgorithm::Ed25519 {
            return Err(bad("pure", format!("only Ed25519 keys sign so, and not {algorithm}")));
        }
        if options.hash.is_some_and(|asked| asked != hash) {
            return Err(bad("sha", format!("{algorithm} keys sign beside a {}", hash.name())));
        }
        let padded = options.pad_signature;
        if padded && signature_tlv != tlv::ECDSA {
            return Err(bad("pad-sig", format!("signatures of {algorithm} keys have one length")));
        }
        // imgtool has bootloaders take both from one family of keys.
        let device = options.encryption.as_ref().map(|encryption| &encryption.device);
        match (algorithm, device) {
            (_, None) | (KeyAlgorithm::Ed25519, _) => {}
            (KeyAlgorithm::P256, Some(Device::Agreed(Recipient::P256(_), _))) => {}
            (KeyAlgorithm::Rsa(_), Some(Device::Rsa(_))) => {}
            _ => {
                let why = format!(
                    "images that {algorithm} keys sign are not encrypted so; use P-256 or RSA for both, or Ed25519"
                );
                return Err(bad("encrypt", why));
            }
        }
        let key_hash = KeyClaim::hash_of(key, hash);
        let claim = match (options.full_key, algorithm) {
            (false, _) => Tlv::new(tlv::KEYHASH, key_hash.as_slice()),
            (true, KeyAlgorithm::Rsa(_)) => Tlv::new(tlv::PUBKEY, key.bits()),
            (true, _) => Tlv::new(tlv::PUBKEY, key.spki()),
        };
        let hash_tlv = match hash {
            Hash::Sha256 => tlv::SHA256,
            Hash::Sha384 => tlv::SHA384,
            Hash::Sha512 => tlv::SHA512,
        };
        Ok(Scheme {
            algorithm,
            hash,
            hash_tlv,
            signature_tlv,
            longest,
            pure: options.pure,
            padded,
            key_hash,
            claim,
        })
    }

    /// Length of the longest area, with `kept` before the signature.
    pub(super) fn area_max(&self, kept: &[Tlv]) -> usize {
        let before = if kept.is_empty() { &self.digest(&vec![0; self.hash.len()])[..] } else { kept };
        let before: usize = before.iter().map(|tlv| tlv::HEAD_LEN + tlv.value.len()).sum();
        3 * tlv::HEAD_LEN + before + self.claim.value.len() + self.longest
    }

    /// What the key signs.
    pub(super) fn tbs(&self, signed: &Plan, source: &dyn Source, digest: &[u8]) -> Result<Tbs, FormatError> {
        let wrong = || FormatError::malformed(NAME, "a digest of the wrong length");
        Ok(match self.algorithm {
            KeyAlgorithm::Ed25519 if self.pure => {
                let len = signed.output_len();
                if len > MESSAGE_MAX as u64 {
                    return Err(FormatError::DoesNotFit {
                        format: NAME,
                        field: "image of bytes",
                        value: len.to_string(),
                        why: "a pure signature has the whole image as its message, which goes up to 2097152 bytes",
                    });
                }
                let mut message = vec![0; len as usize];
                signed.over(source)?.read_at(0, &mut message)?;
                Tbs::Message(message)
            }
            // Not the image: MCUboot's Ed25519 signs the digest as message.
            KeyAlgorithm::Ed25519 => Tbs::Message(digest.to_vec()),
            KeyAlgorithm::P384 => Tbs::Sha384(digest.try_into().map_err(|_| wrong())?),
            _ => Tbs::Sha256(digest.try_into().map_err(|_| wrong())?),
        })
    }

    /// The entries that say what is signed: imgtool reads signatures against
    /// the digest that stands before them.
    pub(super) fn digest(&self, digest: &[u8]) -> Vec<Tlv> {
        let mut out = vec![Tlv::new(self.hash_tlv, digest)];
        if self.pure {
            out.push(Tlv::new(tlv::SIG_PURE, [1]));
        }
        out
    }

    /// The entries that say who signed it.
    pub(super) fn signature(&self, signature: &Signature) -> Result<[Tlv; 2], FormatError> {
        Ok([self.claim.clone(), Tlv::new(self.signature_tlv, self.encode(signature)?)])
    }

    /// The signature as its TLV holds it.
    fn encode(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        let mut value = encoded(self.algorithm, signature)?;
        if self.padded && matches!(self.algorithm, KeyAlgorithm::P256 | KeyAlgorithm::P384) {
            value.resize(self.longest.max(value.len()), 0);
        }
        Ok(value)
    }
}
