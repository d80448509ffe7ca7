//! Parameters of MCUboot images, under imgtool's names.

use uuid::Uuid;

use super::boot_record::{self, ROLE_MAX};
use super::encryption::Encryption;
use super::endian::Endian;
use super::extras::{self, Dependency};
use super::header::{HEADER_LEN, Version};
use super::scheme::Scheme;
use super::tlv::{self, Tlv};
use super::trailer::Slot;
use crate::error::FormatError;
use crate::hash::Hash;
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
        about: "true has an Ed25519 key sign the image itself (up to 2 MiB), not its digest; default false",
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
        about: "the device's public key, P-256, X25519 or RSA in PEM: the image is encrypted for it after it is signed",
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
        name: "pad",
        about: "true pads the image to its slot, with a trailer that asks for a trial boot; default false",
    },
    Parameter {
        name: "confirm",
        about: "true pads it so, and has the trailer say that the image is confirmed; default false",
    },
    Parameter { name: "endian", about: "little (default) or big: byte order of the machine that boots it" },
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
    /// The order of bytes that is asked for.
    pub(super) endian: Option<Endian>,
    pub(super) slot: Slot,
    dependencies: Vec<Dependency>,
    boot_record: Option<String>,
    custom: Vec<Tlv>,
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
        let vendor_id =
            given.get("vid").map(|text| extras::id("vid", text, Some(Uuid::NAMESPACE_DNS))).transpose()?;
        let class_id = given.get("cid").map(|text| extras::id("cid", text, vendor_id)).transpose()?;
        let role = given.get("boot-record");
        if role.is_some_and(|role| role.len() > ROLE_MAX || !role.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(bad("boot-record", "use up to 12 characters of ASCII".to_owned()));
        }
        let encryption = Encryption::parse(given)?;
        let kept_key = match &encryption {
            None => None,
            Some(encryption) if given.flag("save-enctlv")? => Some(encryption.wrapped_len() as u64),
            Some(_) => Some(16),
        };
        let header_size = given.number("header-size", u16::MAX.into())?.map(|size| size as u16);
        if header_size.is_some_and(|size| usize::from(size) < HEADER_LEN) {
            return Err(bad("header-size", "use at least 32".to_owned()));
        }
        let erased = one_of("erased-val", &[0, 0xff])?.unwrap_or(0xff) as u8;
        let endian = match given.get("endian") {
            None => None,
            Some("little") => Some(Endian::Little),
            Some("big") => Some(Endian::Big),
            Some(_) => return Err(bad("endian", "use little or big".to_owned())),
        };
        let options = Options {
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
            endian,
            slot: Slot::parse(given, kept_key, erased)?,
            dependencies: list_of(given, "dependencies", extras::dependencies)?,
            boot_record: role.map(str::to_owned),
            custom: list_of(given, "custom-tlv", extras::custom)?,
            erased,
        };
        if options.load_address.is_some() && options.rom_fixed.is_some() {
            return Err(bad("rom-fixed", "an image runs from RAM or from flash; leave one out".to_owned()));
        }
        Ok(options)
    }

    /// The protected TLVs that are asked for, in imgtool's order; before them
    /// stands the security counter.
    pub(super) fn protected(&self, version: &Version, scheme: &Scheme, endian: Endian) -> Vec<Tlv> {
        let record = |role: &String| {
            Tlv::new(tlv::BOOT_RECORD, boot_record::encode(role, version, scheme.hash, &scheme.key_hash))
        };
        let id = |kind, id: Option<Uuid>| id.map(|id| Tlv::new(kind, *id.as_bytes()));
        let mut out: Vec<Tlv> = self.boot_record.iter().map(record).collect();
        out.extend(self.dependencies.iter().map(|own| own.tlv(endian)));
        out.extend(id(tlv::VENDOR_ID, self.vendor_id));
        out.extend(id(tlv::CLASS_ID, self.class_id));
        out.extend(self.custom.iter().cloned());
        out
    }

    /// Refuses types of one's own that readers would take for MCUboot's.
    pub(super) fn readable(&self, endian: Endian) -> Result<(), FormatError> {
        match self.custom.iter().find(|tlv| tlv::misread(tlv.kind, endian)) {
            None => Ok(()),
            Some(tlv) => Err(bad(
                "custom-tlv",
                format!(
                    "{:#06x} reads as another type in a big-endian image; use one that ends otherwise",
                    tlv.kind
                ),
            )),
        }
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
}

/// A parameter that is a list, if it is given.
fn list_of<T>(
    given: &Parameters,
    name: &str,
    parse: fn(&str, &str) -> Result<Vec<T>, FormatError>,
) -> Result<Vec<T>, FormatError> {
    given.get(name).map_or(Ok(Vec::new()), |text| parse(name, text))
}
