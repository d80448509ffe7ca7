//! Inspection of an image: header, protected TLVs, digest, signatures.

use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs, ecdsa};
use uuid::Uuid;

use super::NAME;
use super::endian::Endian;
use super::header::{COMPRESSED, ENCRYPTED_AES128, ENCRYPTED_AES256, FLAGS, RAM_LOAD, ROM_FIXED, Version};
use super::image::Image;
use super::tlv::{self, Tlv};
use crate::der;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim};
use crate::source::Source;

pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let image = Image::parse(source)?;
    let mut out = describe(&image, image.end);
    image.trailer.tell(&mut out);
    if image.header.has(COMPRESSED) {
        out.note("decompressed image", "not made here: digest and signature of it are told, not checked");
    }
    let Some(unsigned) = Attestation::read(&image)? else {
        out.note("digest", "none: not signed");
        return Ok(out);
    };
    let Attestation { hash, digest, pure, signatures } = unsigned;
    let matches = hash.of_range(source, 0..image.header.signed_end())? == digest;
    out.note("digest", format!("{}:{}", hash.name(), hex(&digest)));
    // The digest is of the plaintext (imgtool hashes, then encrypts), so an
    // encrypted image cannot match; `imgtool sign --clear` leaves one with
    // a wrapped key unencrypted, and it does.
    let capable = image.header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256);
    if !matches && !capable {
        return Err(FormatError::DigestMismatch { format: NAME });
    }
    if matches && capable {
        out.note("encryption", "the payload is in the clear");
    }
    for tlv in &image.unprotected {
        if let Some(how) = tlv::wrapping(tlv.kind, image.content_key_len(), tlv.value.len()) {
            out.note("content key", how);
        }
    }
    for (claim, tlv) in signatures {
        let covered = if !matches {
            Covered::Unknown("the payload is encrypted and the signature covers the plaintext")
        } else if pure && image.header.signed_end() > MESSAGE_MAX as u64 {
            Covered::Unknown("the signature covers the whole image, which is too long for a key at once")
        } else if pure {
            let mut message = vec![0; image.header.signed_end() as usize];
            source.read_at(0, &mut message)?;
            Covered::Tbs(Tbs::Message(message))
        } else {
            Covered::Tbs(tbs(hash, tlv, &digest)?)
        };
        let (algorithm, signature) = signature(hash, tlv)?;
        out.signatures.push(ExistingSignature { algorithm, claim, covered, signature });
    }
    Ok(out)
}

/// Whether an image that may be encrypted is not: its digest, which is of
/// the plaintext, is that of what there is.
pub(super) fn is_clear(source: &dyn Source, image: &Image) -> Result<bool, FormatError> {
    let Some(Attestation { hash, digest, .. }) = Attestation::read(image)? else { return Ok(false) };
    Ok(hash.of_range(source, 0..image.header.signed_end())? == digest)
}

/// What the signed part says, of an image that ends there with all its TLVs.
pub(super) fn describe(image: &Image, end: u64) -> Inspection {
    let header = &image.header;
    let mut out = Inspection::new(NAME, u64::from(header.image_size));
    out.version = Some(header.version.to_string());
    out.epoch = image.security_counter().map(u64::from);
    // The bits, not whether the payload happens to be readable: this is
    // inside what is signed, and the same before and after.
    out.encrypted = header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256);
    if header.has(RAM_LOAD | ROM_FIXED) || header.load_address != 0 {
        // Loaded with its header and TLVs (bootutil, boot_load_image_to_sram).
        let plain = !header.has(COMPRESSED);
        out.load(u64::from(header.load_address), plain.then_some(end));
    }
    let id = |kind| image.value(kind).and_then(|value| Uuid::from_slice(value).ok());
    let ids: Vec<String> = [("vendor", tlv::VENDOR_ID), ("class", tlv::CLASS_ID)]
        .into_iter()
        .filter_map(|(name, kind)| id(kind).map(|id| format!("{name} {id}")))
        .collect();
    out.target = (!ids.is_empty()).then(|| ids.join(", "));

    out.field("header size", header.header_size.to_string());
    let mut flags: Vec<String> =
        FLAGS.iter().filter(|(bit, _)| header.has(*bit)).map(|(_, name)| (*name).to_owned()).collect();
    let unnamed = FLAGS.iter().fold(header.flags, |flags, (bit, _)| flags & !bit);
    if unnamed != 0 {
        flags.push(format!("{unnamed:#x}"));
    }
    if header.endian == Endian::Big {
        out.field("byte order", header.endian.to_string());
    }
    out.field("flags", if flags.is_empty() { "none".to_owned() } else { flags.join(", ") });
    if header.pad != 0 {
        out.field("reserved", format!("{:#x}", header.pad));
    }
    for Tlv { kind, value } in &image.protected {
        match *kind {
            tlv::SECURITY_COUNTER | tlv::VENDOR_ID | tlv::CLASS_ID => {}
            tlv::DEPENDENCY => out.field("needs", dependency(value, header.endian)),
            tlv::BOOT_RECORD => out.field("boot record", shorten(value)),
            tlv::DECOMP_SIZE => out.field("decompressed size", number(value, header.endian)),
            tlv::DECOMP_HASH => out.field("decompressed digest", told_hash(value)),
            tlv::DECOMP_SIGNATURE => out.field("decompressed signature", shorten(value)),
            tlv::COMP_SIZE => out.field("size before encryption", number(value, header.endian)),
            kind => out.field(format!("tlv {kind:#06x}"), shorten(value)),
        }
    }
    out
}

/// `struct image_dependency`: image number, three bytes of padding, version.
pub(super) fn dependency(value: &[u8], endian: Endian) -> String {
    match value.split_first_chunk::<4>() {
        Some(([number, ..], version)) => match version.try_into() {
            Ok(version) => format!("image {number} at {} or later", Version::from_bytes(version, endian)),
            Err(_) => shorten(value),
        },
        None => shorten(value),
    }
}

fn number(value: &[u8], endian: Endian) -> String {
    value.try_into().map_or_else(|_| shorten(value), |bytes| endian.u32(bytes).to_string())
}

fn told_hash(value: &[u8]) -> String {
    Hash::of_len(value.len()).map_or_else(|| shorten(value), |hash| format!("{}:{}", hash.name(), hex(value)))
}

pub(super) fn shorten(value: &[u8]) -> String {
    match value.len() {
        0..=64 => hex(value),
        len => format!("{len} bytes, sha256 {}", hex(&Hash::Sha256.of(value))),
    }
}

/// Endless signatures (THREATS 22): no device holds more.
pub(super) const SIGNATURES_MAX: usize = 8;

/// The unprotected TLVs, sorted by meaning.
pub(super) struct Attestation<'a> {
    pub(super) hash: Hash,
    pub(super) digest: Vec<u8>,
    pub(super) pure: bool,
    pub(super) signatures: Vec<(KeyClaim, &'a Tlv)>,
}

impl Attestation<'_> {
    /// `None` where there are no TLVs.
    ///
    /// No signature covers these, so nothing that could mean something to a
    /// bootloader and is not an attestation may stand here (THREATS 8): a
    /// security counter or dependency behind the signature is refused.
    pub(super) fn read(image: &Image) -> Result<Option<Attestation<'_>>, FormatError> {
        let fail = |what: String| Err(FormatError::malformed(NAME, what));
        if image.unprotected.is_empty() {
            return Ok(None);
        }
        let (mut digest, mut pure, mut claim, mut signatures) = (None, false, None, Vec::new());
        for tlv in &image.unprotected {
            match tlv.kind {
                tlv::SHA256 | tlv::SHA384 | tlv::SHA512 if digest.is_some() => {
                    return fail("two digests of one image".to_owned());
                }
                tlv::SHA256 => digest = Some((Hash::Sha256, &tlv.value)),
                tlv::SHA384 => digest = Some((Hash::Sha384, &tlv.value)),
                tlv::SHA512 => digest = Some((Hash::Sha512, &tlv.value)),
                tlv::SIG_PURE if pure || tlv.value != [1] || !signatures.is_empty() => {
                    return fail("a malformed mark of pure signatures".to_owned());
                }
                tlv::SIG_PURE => pure = true,
                tlv::KEYHASH | tlv::PUBKEY if claim.is_some() => {
                    return fail("a key without a signature".to_owned());
                }
                tlv::KEYHASH => claim = Some(KeyClaim::KeyHash(tlv.value.clone())),
                tlv::PUBKEY => claim = Some(public_key(&tlv.value)?),
                // imgtool compares with the digest it has read so far.
                tlv::RSA2048 | tlv::RSA3072 | tlv::ECDSA | tlv::ED25519 if digest.is_none() => {
                    return fail("a signature before the digest".to_owned());
                }
                tlv::RSA2048 | tlv::RSA3072 | tlv::ECDSA | tlv::ED25519 => {
                    signatures.push((claim.take().unwrap_or(KeyClaim::None), tlv));
                    if signatures.len() > SIGNATURES_MAX {
                        return fail(format!("more than {SIGNATURES_MAX} signatures"));
                    }
                }
                kind if tlv::is_content_key(kind) => {}
                kind => return fail(format!("TLV {kind:#06x} stands outside the signature")),
            }
        }
        let Some((hash, digest)) = digest else { return fail("no digest".to_owned()) };
        if digest.len() != hash.len() {
            return fail("a digest of another length than its algorithm's".to_owned());
        }
        if claim.is_some() {
            return fail("a key without a signature".to_owned());
        }
        for (claim, tlv) in &signatures {
            if pure && (tlv.kind != tlv::ED25519 || hash != Hash::Sha512) {
                return fail("a pure signature that is not Ed25519 with SHA-512".to_owned());
            }
            // imgtool hashes the key with the image's hash function.
            if matches!(claim, KeyClaim::KeyHash(value) if value.len() != hash.len()) {
                return fail("a key hash of another length than the digest".to_owned());
            }
            signature(hash, tlv)?;
        }
        if pure && signatures.is_empty() {
            return fail("a mark of pure signatures without a signature".to_owned());
        }
        Ok(Some(Attestation { hash, digest: digest.clone(), pure, signatures }))
    }
}

/// The full key of a PUBKEY TLV (`imgtool sign --public-key-format full`):
/// SubjectPublicKeyInfo, or RSAPublicKey for RSA.
fn public_key(der: &[u8]) -> Result<KeyClaim, FormatError> {
    PublicKey::from_spki(der)
        .or_else(|_| PublicKey::from_spki(&der::spki_of_rsa(der)))
        .map(|key| KeyClaim::Key(Box::new(key)))
        .map_err(|error| FormatError::malformed(NAME, format!("a public key that cannot be used: {error}")))
}

/// What a signature TLV is a signature of. imgtool's pairs of key and hash
/// (ALLOWED_KEY_SHA) are the only ones whose meaning every reader shares.
fn tbs(hash: Hash, tlv: &Tlv, digest: &[u8]) -> Result<Tbs, FormatError> {
    let wrong = || FormatError::malformed(NAME, "a digest of the wrong length");
    Ok(match (hash, tlv.kind) {
        // Ed25519 signs the digest as a message.
        (_, tlv::ED25519) => Tbs::Message(digest.to_vec()),
        (Hash::Sha384, _) => Tbs::Sha384(digest.try_into().map_err(|_| wrong())?),
        _ => Tbs::Sha256(digest.try_into().map_err(|_| wrong())?),
    })
}

/// Algorithm and value of a signature TLV.
fn signature(hash: Hash, tlv: &Tlv) -> Result<(KeyAlgorithm, Signature), FormatError> {
    let fail = |what: String| FormatError::malformed(NAME, what);
    let algorithm = match (tlv.kind, hash) {
        (tlv::RSA2048, Hash::Sha256) => KeyAlgorithm::Rsa(2048),
        (tlv::RSA3072, Hash::Sha256) => KeyAlgorithm::Rsa(3072),
        (tlv::ECDSA, Hash::Sha256) => KeyAlgorithm::P256,
        (tlv::ECDSA, Hash::Sha384) => KeyAlgorithm::P384,
        (tlv::ED25519, Hash::Sha256 | Hash::Sha512) => KeyAlgorithm::Ed25519,
        (kind, hash) => {
            return Err(fail(format!("signature TLV {kind:#06x} beside a {} digest", hash.name())));
        }
    };
    let ecdsa = |field: usize, padded: usize| {
        // `imgtool sign --pad-sig` fills up with zeros for MCUboot below
        // 1.5; DER says where the signature ends.
        let end = usize::from(*tlv.value.get(1)?) + 2;
        let (der, padding) = tlv.value.split_at_checked(end)?;
        let zeros = padding.iter().all(|byte| *byte == 0) && tlv.value.len() <= padded;
        (padding.is_empty() || zeros).then(|| ecdsa::from_der(der, field)).flatten()
    };
    let value = match algorithm {
        KeyAlgorithm::P256 => ecdsa(32, 72),
        KeyAlgorithm::P384 => ecdsa(48, 103),
        KeyAlgorithm::Ed25519 => (tlv.value.len() == 64).then(|| tlv.value.clone()),
        // No TLV of MCUboot's names it.
        KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => None,
        KeyAlgorithm::Rsa(bits) => (tlv.value.len() == usize::from(bits) / 8).then(|| tlv.value.clone()),
    };
    match value {
        Some(value) => Ok((algorithm, Signature(value))),
        None => Err(fail(format!("a malformed {algorithm} signature"))),
    }
}
