//! Signing: a raw binary is wrapped as `imgtool sign` wraps it, an image
//! gets new TLVs behind its unchanged signed part.

use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs, ecdsa};

use super::NAME;
use super::header::{
    COMPRESSED, ENCRYPTED_AES128, ENCRYPTED_AES256, HEADER_LEN, Header, Magic, NON_BOOTABLE, RAM_LOAD,
    ROM_FIXED, Version,
};
use super::image::{Image, Trailer};
use super::inspect::{self, describe};
use super::options::Options;
use super::tlv::{self, Tlv};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::inspection::KeyClaim;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::source::{Source, for_each_piece, head};

pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    let options = Options::parse(wanted.parameters)?;
    let scheme = Scheme::of(wanted.key)?;
    let version = Version::of(&wanted.version)?;
    let epoch = u32::try_from(wanted.epoch).map_err(|_| FormatError::DoesNotFit {
        format: NAME,
        field: "security epoch",
        value: wanted.epoch.to_string(),
        why: "the security counter goes up to 4294967295",
    })?;
    // Nothing is read through, let alone hashed, that could not be installed
    // (THREATS 9); the exact bound follows when the layout is known.
    options.fits_bare(source.len()?)?;
    let (image, signed) = match head::<4>(source)?.and_then(Magic::of) {
        Some(_) => existing(source, wanted, &options, version, epoch)?,
        None => wrap(source, &options, version, epoch)?,
    };
    // Before hashing: the largest file this can become must fit.
    options.fits(signed.output_len() + scheme.area_max() as u64)?;
    let digest = scheme.hash.of_range(&signed.over(source)?, 0..signed.output_len())?;
    let tbs = scheme.tbs(&digest)?;
    let key_hash = KeyClaim::hash_of(wanted.key, scheme.hash);
    let attach = move |signature: &Signature| {
        let area = [
            Tlv::new(scheme.hash_tlv, digest.as_slice()),
            Tlv::new(tlv::KEYHASH, key_hash.as_slice()),
            Tlv::new(scheme.signature_tlv, scheme.encode(signature)?),
        ];
        let area = tlv::encode(tlv::INFO_MAGIC, &area)
            .ok_or_else(|| FormatError::malformed(NAME, "the TLVs are longer than 65535 bytes"))?;
        Ok(signed.clone().bytes(area))
    };
    Ok(Unsigned::new(tbs, describe(&image), Box::new(attach)))
}

/// The image of a raw binary, and its signed part.
fn wrap(
    source: &dyn Source,
    options: &Options,
    version: Version,
    epoch: u32,
) -> Result<(Image, Plan), FormatError> {
    let have = source.len()?;
    refuse_containers(source)?;
    let needed = |name| bad(name, "needed to wrap a raw binary".to_owned());
    let header_size = options.header_size.ok_or_else(|| needed("header-size"))?;
    options.slot_size.ok_or_else(|| needed("slot-size"))?;
    let payload_at = if options.pad_header { 0 } else { u64::from(header_size) };
    if have <= payload_at {
        return Err(FormatError::Truncated { format: NAME, what: "the image", need: payload_at + 1, have });
    }
    let image_size = u32::try_from(have - payload_at).map_err(|_| FormatError::DoesNotFit {
        format: NAME,
        field: "image size",
        value: (have - payload_at).to_string(),
        why: "the header has 32 bits for it",
    })?;
    // What the header would overwrite must be room that was left for it:
    // imgtool refuses code there, too.
    let mut used = false;
    for_each_piece(source, 0..payload_at, |piece| {
        used |= piece.iter().any(|byte| *byte != 0);
        Ok(())
    })?;
    if used {
        return Err(bad(
            "pad-header",
            "the binary does not begin with zeros for the header; use true".to_owned(),
        ));
    }

    let mut protected = vec![Tlv::new(tlv::SECURITY_COUNTER, epoch.to_le_bytes())];
    let ids = [(tlv::VENDOR_ID, options.vendor_id), (tlv::CLASS_ID, options.class_id)];
    protected.extend(ids.into_iter().filter_map(|(kind, id)| id.map(|id| Tlv::new(kind, *id.as_bytes()))));
    let area = tlv::encode(tlv::PROTECTED_MAGIC, &protected)
        .ok_or_else(|| FormatError::malformed(NAME, "the protected TLVs are longer than 65535 bytes"))?;
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let header = Header {
        load_address: options.load_address.or(options.rom_fixed).unwrap_or(0),
        header_size,
        protected_size: area.len() as u16,
        image_size,
        flags: flag(options.load_address.is_some(), RAM_LOAD)
            | flag(options.rom_fixed.is_some(), ROM_FIXED)
            | flag(options.non_bootable, NON_BOOTABLE),
        version,
        pad: 0,
    };
    let mut head = vec![if options.pad_header { options.erased } else { 0 }; usize::from(header_size)];
    head[..HEADER_LEN].copy_from_slice(&header.encode());
    let signed = Plan::new(have).bytes(head).source(payload_at..have).bytes(area);
    Ok((Image { header, protected, unprotected: Vec::new(), trailer: Trailer::None }, signed))
}

/// An image that is one already, and its signed part.
fn existing(
    source: &dyn Source,
    wanted: &Wanted<'_>,
    options: &Options,
    version: Version,
    epoch: u32,
) -> Result<(Image, Plan), FormatError> {
    // What contradicts itself is not signed, a stale digest included: this
    // hashes a file that will be hashed again, and finds damage before a
    // signature hides it.
    inspect::inspect(source)?;
    let image = Image::parse(source)?;
    let header = &image.header;
    let disagrees = |field, inside: String, wanted: String| {
        if inside == wanted { Ok(()) } else { Err(FormatError::Disagrees { field, inside, wanted }) }
    };
    disagrees("version", header.version.to_string(), version.to_string())?;
    // No counter is what a bootloader takes for none asked.
    disagrees("security epoch", image.security_counter().unwrap_or(0).to_string(), epoch.to_string())?;
    if let Some(size) = options.header_size {
        disagrees("header size", header.header_size.to_string(), size.to_string())?;
    }
    for (address, flag, name) in
        [(options.load_address, RAM_LOAD, "load address"), (options.rom_fixed, ROM_FIXED, "flash address")]
    {
        if let Some(address) = address {
            let inside =
                if header.has(flag) { format!("{:#x}", header.load_address) } else { "none".to_owned() };
            disagrees(name, inside, format!("{address:#x}"))?;
        }
    }
    for (id, kind, name) in
        [(options.vendor_id, tlv::VENDOR_ID, "vendor id"), (options.class_id, tlv::CLASS_ID, "class id")]
    {
        if let Some(id) = id {
            let inside = image.value(kind).and_then(|value| uuid::Uuid::from_slice(value).ok());
            disagrees(name, inside.map_or("none".to_owned(), |id| id.to_string()), id.to_string())?;
        }
    }
    if options.non_bootable {
        disagrees("bootable", (!header.has(NON_BOOTABLE)).to_string(), "false".to_owned())?;
    }
    if options.pad_header {
        return Err(bad(
            "pad-header",
            "the file has a header already; a second one would hide it".to_owned(),
        ));
    }
    let refuse = |what: &str| Err(FormatError::unsupported(NAME, what));
    // Its digest is of a plaintext that cannot be seen: signing it would be
    // signing blind.
    if header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256) {
        return refuse("the image is encrypted; sign it before it is encrypted");
    }
    // The signature over the decompressed image is inside what is signed.
    if header.has(COMPRESSED) {
        return refuse("the image is compressed; sign it before it is compressed");
    }
    if image.trailer != Trailer::None {
        return refuse("the image is padded to its slot, outside of the signature; make it without --pad");
    }
    // A boot record names its signer inside what is signed.
    let signer = KeyClaim::hash_of(wanted.key, Scheme::of(wanted.key)?.hash);
    if image
        .value(tlv::BOOT_RECORD)
        .is_some_and(|record| !record.windows(signer.len()).any(|at| at == signer))
    {
        return refuse("the boot record names another signer; rebuild the image with this key");
    }
    let signed = Plan::new(source.len()?).source(0..header.signed_end());
    Ok((image, signed))
}

/// Refuses files that are no binary yet: wrapped, they would be signed and
/// never run.
fn refuse_containers(source: &dyn Source) -> Result<(), FormatError> {
    let refuse = |what: &str| {
        Err(FormatError::unsupported(
            NAME,
            format!("{what}, not a raw binary; use `objcopy -O binary` first"),
        ))
    };
    match head::<9>(source)? {
        Some([0x7f, b'E', b'L', b'F', ..]) => refuse("an ELF file"),
        Some([b':', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit) => refuse("an Intel HEX file"),
        Some([b'S', b'0', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit) => {
            refuse("a Motorola S-record file")
        }
        _ => Ok(()),
    }
}

/// How a key signs (imgtool ALLOWED_KEY_SHA, first of each).
#[derive(Clone, Copy)]
struct Scheme {
    algorithm: KeyAlgorithm,
    hash: Hash,
    hash_tlv: u16,
    signature_tlv: u16,
    /// Length of the longest encoded signature.
    longest: usize,
}

impl Scheme {
    fn of(key: &PublicKey) -> Result<Scheme, FormatError> {
        let algorithm = key.algorithm();
        let (hash, hash_tlv, signature_tlv, longest) = match algorithm {
            KeyAlgorithm::P256 => (Hash::Sha256, tlv::SHA256, tlv::ECDSA, 72),
            KeyAlgorithm::P384 => (Hash::Sha384, tlv::SHA384, tlv::ECDSA, 104),
            KeyAlgorithm::Ed25519 => (Hash::Sha256, tlv::SHA256, tlv::ED25519, 64),
            KeyAlgorithm::Rsa(2048) => (Hash::Sha256, tlv::SHA256, tlv::RSA2048, 256),
            KeyAlgorithm::Rsa(3072) => (Hash::Sha256, tlv::SHA256, tlv::RSA3072, 384),
            KeyAlgorithm::Rsa(_) | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
                let use_instead = "P-256, P-384, Ed25519, RSA-2048 or RSA-3072";
                return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead });
            }
        };
        Ok(Scheme { algorithm, hash, hash_tlv, signature_tlv, longest })
    }

    /// Length of the longest unprotected area.
    fn area_max(&self) -> usize {
        4 * tlv::HEAD_LEN + 2 * self.hash.len() + self.longest
    }

    fn tbs(&self, digest: &[u8]) -> Result<Tbs, FormatError> {
        let wrong = || FormatError::malformed(NAME, "a digest of the wrong length");
        Ok(match self.algorithm {
            // Not the image: MCUboot's Ed25519 signs the digest as message.
            KeyAlgorithm::Ed25519 => Tbs::Message(digest.to_vec()),
            KeyAlgorithm::P384 => Tbs::Sha384(digest.try_into().map_err(|_| wrong())?),
            _ => Tbs::Sha256(digest.try_into().map_err(|_| wrong())?),
        })
    }

    /// The signature as its TLV holds it.
    fn encode(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        let fail = |why| FormatError::SignatureShape { algorithm: self.algorithm, why };
        let need = match self.algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 64,
            KeyAlgorithm::P384 => 96,
            KeyAlgorithm::Rsa(bits) => usize::from(bits) / 8,
            KeyAlgorithm::Lms(set) => set.signature_len(),
            KeyAlgorithm::MlDsa(set) => set.signature_len(),
        };
        if signature.0.len() != need {
            return Err(fail("it has another length"));
        }
        match self.algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
                ecdsa::to_der(&signature.0).ok_or_else(|| fail("r or s is zero"))
            }
            _ => Ok(signature.0.clone()),
        }
    }
}
