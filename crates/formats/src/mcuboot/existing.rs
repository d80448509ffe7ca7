//! Images that are images already: they keep what they say of themselves.

use firmseal_manifest::PublicKey;
use uuid::Uuid;

use super::NAME;
use super::endian::Endian;
use super::header::{
    COMPRESSED, ENCRYPTED_AES128, ENCRYPTED_AES256, NON_BOOTABLE, RAM_LOAD, ROM_FIXED, Version,
};
use super::image::Image;
use super::inspect::{self, Attestation, SIGNATURES_MAX};
use super::options::Options;
use super::scheme::Scheme;
use super::tlv;
use super::trailer::Trailer;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::inspection::KeyClaim;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::source::Source;

/// An image that is one already, and its signed part.
pub(super) fn existing(
    source: &dyn Source,
    key: &PublicKey,
    scheme: &Scheme,
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
    if let Some(endian) = options.endian {
        disagrees("byte order", header.endian.to_string(), endian.to_string())?;
    }
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
    for kind in options.kinds() {
        let told = |values: &mut dyn Iterator<Item = &[u8]>| {
            let all: Vec<_> = values.map(|value| told(kind, value, header.endian)).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        let asked = options.protected(&version, scheme, header.endian);
        let mut asked = asked.iter().filter(|tlv| tlv.kind == kind).map(|tlv| tlv.value.as_slice());
        disagrees(named(kind), told(&mut image.values(kind)), told(&mut asked))?;
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
    match &options.encryption {
        // Its digest is of a plaintext that cannot be seen: signing it would
        // be signing blind.
        _ if header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256) && !inspect::is_clear(source, &image)? => {
            return refuse("the image is encrypted; sign it before it is encrypted");
        }
        None if header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256) => {
            return refuse("the image is made to be encrypted; say for whom with the parameter `encrypt`");
        }
        // The flag is in the header, which is signed as it is.
        Some(encryption) if !header.has(encryption.flag()) => {
            return Err(bad(
                "encrypt",
                "the image's header does not say so; hand in the raw binary, or an image made with --clear"
                    .to_owned(),
            ));
        }
        _ => {}
    }
    // The signature over the decompressed image is inside what is signed.
    if header.has(COMPRESSED) {
        return refuse("the image is compressed; sign it before it is compressed");
    }
    // What stands there is the slot's; the order says what stands there next.
    if image.trailer != Trailer::None && !options.slot.padded() {
        return refuse(
            "the image is padded to its slot, outside of the signature; say `pad` or `confirm`, or make it without",
        );
    }
    if options.append {
        appendable(&image, key, scheme)?;
    } else {
        // A boot record names its signer inside what is signed; where others
        // sign as well it is the first.
        let signer = KeyClaim::hash_of(key, scheme.hash);
        let names = |record: &[u8]| record.windows(signer.len()).any(|at| at == signer);
        if image.value(tlv::BOOT_RECORD).is_some_and(|record| !names(record)) {
            return refuse("the boot record names another signer; rebuild the image with this key");
        }
    }
    let signed = Plan::new(source.len()?).source(0..header.signed_end());
    Ok((image, signed))
}

/// Refuses images that another signature of this key cannot follow.
fn appendable(image: &Image, key: &PublicKey, scheme: &Scheme) -> Result<(), FormatError> {
    let fail = |why: String| Err(bad("append", why));
    let Some(there) = Attestation::read(image)? else {
        return fail("the image has no signature yet that another one could follow".to_owned());
    };
    // One digest for all: readers take the first that they find.
    if (there.hash, there.pure) != (scheme.hash, scheme.pure) {
        let kind = |hash: Hash, pure| format!("{}{}", hash.name(), if pure { " (pure)" } else { "" });
        return fail(format!(
            "its signatures are over {}, the key's would be over {}",
            kind(there.hash, there.pure),
            kind(scheme.hash, scheme.pure)
        ));
    }
    let mine = |claim: &KeyClaim| !matches!(claim, KeyClaim::None) && claim.admits(key);
    if there.signatures.iter().any(|(claim, _)| mine(claim)) {
        return fail("the image has a signature of this key already".to_owned());
    }
    if there.signatures.len() == SIGNATURES_MAX {
        return fail(format!("the image has {SIGNATURES_MAX} signatures already"));
    }
    Ok(())
}

/// What a protected TLV is called.
fn named(kind: u16) -> &'static str {
    match kind {
        tlv::VENDOR_ID => "vendor id",
        tlv::CLASS_ID => "class id",
        tlv::DEPENDENCY => "dependencies",
        tlv::BOOT_RECORD => "boot record",
        _ => "custom tlv",
    }
}

/// What a protected TLV says.
fn told(kind: u16, value: &[u8], endian: Endian) -> String {
    match kind {
        tlv::VENDOR_ID | tlv::CLASS_ID => {
            Uuid::from_slice(value).map_or_else(|_| inspect::shorten(value), |id| id.to_string())
        }
        tlv::DEPENDENCY => inspect::dependency(value, endian),
        tlv::BOOT_RECORD => inspect::shorten(value),
        _ => format!("{kind:#06x}:{}", inspect::shorten(value)),
    }
}
