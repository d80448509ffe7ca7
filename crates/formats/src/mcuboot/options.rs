//! Parameters of MCUboot images, under imgtool's names.

use uuid::Uuid;

use super::boot_record::{self, ROLE_MAX};
use super::ecies::Encryption;
use super::extras;
use super::header::{HEADER_LEN, Version};
use super::scheme::Scheme;
use super::tlv::{self, Tlv};
use crate::agreement::Recipient;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::hkdf::MacHash;
use crate::parameters::{Parameter, Parameters, bad};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter { name: "slot-size", about: "size of the slot in bytes; needed to wrap a raw binary" },
    Parameter {
        name: "header-size",
        about: "size of the header with its padding; needed to wrap a raw binary",
    },
    Parameter {
        name: "pad-header",
        about: "true puts the header before a raw binary; false (default) overwrites zeros at its start",
    },
    Parameter { name: "load-addr", about: "address in RAM that the image is copied to and run from" },
    Parameter { name: "rom-fixed", about: "address in flash that the image is built for" },
    Parameter { name: "non-bootable", about: "true marks an image that is not run; default false" },
    Parameter {
        name: "vid",
        about: "vendor id that devices compare: a UUID, or the domain that stands for one",
    },
    Parameter { name: "cid", about: "class id that devices compare: a UUID, or a name within vid's" },
    Parameter {
        name: "dependencies",
        about: "images that must be there, with their lowest versions: (1, 2.3.4), (2, 0.0.1)",
    },
    Parameter {
        name: "boot-record",
        about: "role of the image in attestation, up to 12 characters, like SPE",
    },
    Parameter {
        name: "custom-tlv",
        about: "protected TLVs of your own, TYPE:VALUE with hexadecimal after 0x or text: 0x00a1:0x0102,0x0100:text",
    },
    Parameter {
        name: "sha",
        about: "256, 384 or 512: the digest, where the key leaves a choice (Ed25519: 256 or 512)",
    },
    Parameter {
        name: "pure",
        about: "true has an Ed25519 key sign the image itself (up to 64 KiB), not its digest; default false",
    },
    Parameter { name: "public-key-format", about: "hash (default) or full: how the image names its signer" },
    Parameter {
        name: "append",
        about: "true adds a signature to those that an image has; false (default) replaces them",
    },
    Parameter {
        name: "pad-sig",
        about: "true gives ECDSA signatures one length, for MCUboot before 1.5; default false",
    },
    Parameter {
        name: "encrypt",
        about: "the device's public key, P-256 or X25519 in PEM: the image is encrypted for it after it is signed",
    },
    Parameter { name: "encrypt-keylen", about: "128 (default) or 256: length of the AES key" },
    Parameter {
        name: "hmac-sha",
        about: "256 (default) or, with X25519, 512: how the content key is authenticated",
    },
    Parameter {
        name: "clear",
        about: "true leaves the image unencrypted, with the key to encrypt it when it is swapped out",
    },
    Parameter {
        name: "save-enctlv",
        about: "true if the bootloader saves encrypted keys: for the size of the trailer",
    },
    Parameter { name: "align", about: "write alignment of the flash: 1 (default), 2, 4, 8, 16 or 32" },
    Parameter {
        name: "max-align",
        about: "largest alignment of both slots: 8, 16 or 32; default from align",
    },
    Parameter { name: "max-sectors", about: "sectors of the slot, for the size of the trailer; default 128" },
    Parameter {
        name: "overwrite-only",
        about: "true if upgrades overwrite instead of swapping; default false",
    },
    Parameter {
        name: "erased-val",
        about: "value of erased flash, 0 or 0xff (default): fills the padded header",
    },
];

/// Parsed parameters.
pub(super) struct Options {
    pub(super) slot_size: Option<u64>,
    pub(super) header_size: Option<u16>,
    pub(super) pad_header: bool,
    pub(super) load_address: Option<u32>,
    pub(super) rom_fixed: Option<u32>,
    pub(super) non_bootable: bool,
    pub(super) erased: u8,
    /// The digest that is asked for.
    pub(super) hash: Option<Hash>,
    pub(super) pure: bool,
    pub(super) full_key: bool,
    pub(super) append: bool,
    pub(super) pad_signature: bool,
    pub(super) encryption: Option<Encryption>,
    vendor_id: Option<Uuid>,
    class_id: Option<Uuid>,
    dependencies: Vec<Tlv>,
    boot_record: Option<String>,
    custom: Vec<Tlv>,
    trailer: u64,
}

impl Options {
    pub(super) fn parse(given: &Parameters) -> Result<Options, FormatError> {
        given.check(PARAMETERS)?;
        let u32_of =
            |name| Ok::<_, FormatError>(given.number(name, u32::MAX.into())?.map(|value| value as u32));
        let one_of = |name, allowed: &[u64]| match given.number(name, u64::MAX)? {
            Some(value) if !allowed.contains(&value) => Err(bad(name, format!("use one of {allowed:?}"))),
            value => Ok(value),
        };
        let list_of = |name, parse: fn(&str, &str) -> Result<Vec<Tlv>, FormatError>| {
            given.get(name).map_or(Ok(Vec::new()), |text| parse(name, text))
        };
        let vendor_id =
            given.get("vid").map(|text| extras::id("vid", text, Some(Uuid::NAMESPACE_DNS))).transpose()?;
        let class_id = given.get("cid").map(|text| extras::id("cid", text, vendor_id)).transpose()?;
        let role = given.get("boot-record");
        if role.is_some_and(|role| role.len() > ROLE_MAX || !role.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(bad("boot-record", "use up to 12 characters of ASCII".to_owned()));
        }
        let encryption = encryption(given)?;
        let enc_tlv = match &encryption {
            None => None,
            Some(encryption) if given.flag("save-enctlv")? => Some(encryption.wrapped_len() as u64),
            Some(_) => Some(16),
        };
        let header_size = given.number("header-size", u16::MAX.into())?.map(|size| size as u16);
        if header_size.is_some_and(|size| usize::from(size) < HEADER_LEN) {
            return Err(bad("header-size", "use at least 32".to_owned()));
        }
        let options = Options {
            slot_size: given.number("slot-size", u64::MAX)?,
            header_size,
            pad_header: given.flag("pad-header")?,
            load_address: u32_of("load-addr")?.filter(|address| *address != 0),
            rom_fixed: u32_of("rom-fixed")?.filter(|address| *address != 0),
            non_bootable: given.flag("non-bootable")?,
            hash: one_of("sha", &[256, 384, 512])?.and_then(|bits| Hash::of_len(bits as usize / 8)),
            pure: given.flag("pure")?,
            full_key: match given.get("public-key-format") {
                None | Some("hash") => false,
                Some("full") => true,
                Some(_) => return Err(bad("public-key-format", "use hash or full".to_owned())),
            },
            append: given.flag("append")?,
            pad_signature: given.flag("pad-sig")?,
            encryption,
            vendor_id,
            class_id,
            dependencies: list_of("dependencies", extras::dependencies)?,
            boot_record: role.map(str::to_owned),
            custom: list_of("custom-tlv", extras::custom)?,
            erased: one_of("erased-val", &[0, 0xff])?.unwrap_or(0xff) as u8,
            trailer: trailer_size(
                one_of("align", &[1, 2, 4, 8, 16, 32])?.unwrap_or(1),
                one_of("max-align", &[8, 16, 32])?,
                given.number("max-sectors", 1 << 20)?.unwrap_or(128),
                given.flag("overwrite-only")?,
                enc_tlv,
            ),
        };
        if options.load_address.is_some() && options.rom_fixed.is_some() {
            return Err(bad("rom-fixed", "an image runs from RAM or from flash; leave one out".to_owned()));
        }
        Ok(options)
    }

    /// The protected TLVs that are asked for, in imgtool's order; before them
    /// stands the security counter.
    pub(super) fn protected(&self, version: &Version, scheme: &Scheme) -> Vec<Tlv> {
        let record = |role: &String| {
            Tlv::new(tlv::BOOT_RECORD, boot_record::encode(role, version, scheme.hash, &scheme.key_hash))
        };
        let id = |kind, id: Option<Uuid>| id.map(|id| Tlv::new(kind, *id.as_bytes()));
        let mut out: Vec<Tlv> = self.boot_record.iter().map(record).collect();
        out.extend(self.dependencies.iter().cloned());
        out.extend(id(tlv::VENDOR_ID, self.vendor_id));
        out.extend(id(tlv::CLASS_ID, self.class_id));
        out.extend(self.custom.iter().cloned());
        out
    }

    /// The kinds of protected TLVs that are asked for, each once.
    pub(super) fn kinds(&self) -> Vec<u16> {
        let fixed = [
            (tlv::BOOT_RECORD, self.boot_record.is_some()),
            (tlv::DEPENDENCY, !self.dependencies.is_empty()),
            (tlv::VENDOR_ID, self.vendor_id.is_some()),
            (tlv::CLASS_ID, self.class_id.is_some()),
        ];
        let fixed = fixed.into_iter().filter(|(_, asked)| *asked).map(|(kind, _)| kind);
        fixed.chain(self.custom.iter().map(|tlv| tlv.kind)).collect()
    }

    /// Refuses a file that is longer than the slot by itself.
    pub(super) fn fits_bare(&self, size: u64) -> Result<(), FormatError> {
        match self.slot_size {
            Some(slot) if size > slot => Err(FormatError::SlotTooSmall { need: size, slot }),
            _ => Ok(()),
        }
    }

    /// Refuses an image of `size` bytes that leaves no room for the trailer
    /// (imgtool `check_trailer`).
    pub(super) fn fits(&self, size: u64) -> Result<(), FormatError> {
        let need = size.saturating_add(self.trailer);
        match self.slot_size {
            Some(slot) if need > slot => Err(FormatError::SlotTooSmall { need, slot }),
            _ => Ok(()),
        }
    }
}

/// What the bootloader keeps at the end of a slot (imgtool `_trailer_size`):
/// the status of each sector's swap, four flags, and a magic of 16 bytes.
///
/// Of encrypted images it keeps the content keys of both slots, or what holds
/// them, each in `key` bytes.
fn trailer_size(
    align: u64,
    max_align: Option<u64>,
    sectors: u64,
    overwrite_only: bool,
    key: Option<u64>,
) -> u64 {
    let max_align = max_align.unwrap_or(align.max(8));
    let magic = 16u64.next_multiple_of(max_align);
    let keys = key.map_or(0, |key| 2 * key.next_multiple_of(max_align));
    if overwrite_only { max_align * 2 + magic } else { sectors * 3 * align + keys + max_align * 4 + magic }
}

/// How the image is to be encrypted, if it is.
fn encryption(given: &Parameters) -> Result<Option<Encryption>, FormatError> {
    let Some(text) = given.get("encrypt") else {
        // Asked for without a key, a file would stay readable unnoticed.
        let lost = ["encrypt-keylen", "hmac-sha", "clear", "save-enctlv"];
        return match lost.into_iter().find(|name| given.get(name).is_some()) {
            Some(name) => Err(bad(name, "needs encrypt, the public key of the device".to_owned())),
            None => Ok(None),
        };
    };
    let recipient = Recipient::parse(text).ok_or_else(|| {
        bad("encrypt", "not a public key of P-256 or X25519: PEM, or the base64 between its lines".to_owned())
    })?;
    let key_len = match given.get("encrypt-keylen") {
        None | Some("128") => 16,
        Some("256") => 32,
        Some(_) => return Err(bad("encrypt-keylen", "use 128 or 256".to_owned())),
    };
    let mac = match (given.get("hmac-sha"), &recipient) {
        (None | Some("256"), _) => MacHash::Sha256,
        (Some("512"), Recipient::X25519(_)) => MacHash::Sha512,
        (Some("512"), _) => return Err(bad("hmac-sha", "512 goes with X25519 keys alone".to_owned())),
        (Some(_), _) => return Err(bad("hmac-sha", "use 256 or 512".to_owned())),
    };
    Ok(Some(Encryption { recipient, key_len, mac, clear: given.flag("clear")? }))
}
