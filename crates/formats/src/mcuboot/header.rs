//! The image header: `struct image_header` of MCUboot's image.h.

use std::fmt;

use super::NAME;
use super::endian::Endian;
use crate::error::FormatError;

/// Length of the fields; the header itself may be padded to more.
pub(super) const HEADER_LEN: usize = 32;

/// What the first four bytes can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Magic {
    /// An image of today's format.
    Current,
    /// An image of today's format for a big-endian machine.
    BigEndian,
    /// The format before MCUboot 1.0, without protected TLVs.
    Old,
}

impl Magic {
    pub(super) fn of(bytes: [u8; 4]) -> Option<Magic> {
        match (u32::from_le_bytes(bytes), u32::from_be_bytes(bytes)) {
            (MAGIC, _) => Some(Magic::Current),
            (_, MAGIC) => Some(Magic::BigEndian),
            (0x96f3_b83c, _) => Some(Magic::Old),
            _ => None,
        }
    }
}

const MAGIC: u32 = 0x96f3_b83d;

/// Header flags with a name.
pub(super) const FLAGS: [(u32, &str); 9] = [
    (0x001, "pic"),
    (ENCRYPTED_AES128, "encrypted-aes128"),
    (ENCRYPTED_AES256, "encrypted-aes256"),
    (NON_BOOTABLE, "non-bootable"),
    (RAM_LOAD, "ram-load"),
    (ROM_FIXED, "rom-fixed"),
    (LZMA1, "compressed-lzma1"),
    (LZMA2, "compressed-lzma2"),
    (ARM_THUMB, "compressed-arm-thumb"),
];
pub(super) const ENCRYPTED_AES128: u32 = 0x004;
pub(super) const ENCRYPTED_AES256: u32 = 0x008;
pub(super) const NON_BOOTABLE: u32 = 0x010;
pub(super) const RAM_LOAD: u32 = 0x020;
pub(super) const ROM_FIXED: u32 = 0x100;
const LZMA1: u32 = 0x200;
const LZMA2: u32 = 0x400;
/// A filter before the compression (XZ's BCJ).
const ARM_THUMB: u32 = 0x800;
/// Any of the compressions.
pub(super) const COMPRESSED: u32 = LZMA1 | LZMA2;

/// `struct image_version`: `major.minor.revision+build`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub(super) major: u8,
    pub(super) minor: u8,
    pub(super) revision: u16,
    pub(super) build: u32,
}

impl Version {
    /// The image version of a semver. What has no place in it is refused:
    /// a pre-release would compare as its release, a commit id as nothing.
    pub(super) fn of(version: &semver::Version) -> Result<Version, FormatError> {
        let fail =
            |why| FormatError::DoesNotFit { format: NAME, field: "version", value: version.to_string(), why };
        if !version.pre.is_empty() {
            return Err(fail("the header has no place for a pre-release"));
        }
        let build = version.build.as_str();
        let plain =
            build.bytes().all(|byte| byte.is_ascii_digit()) && (build == "0" || !build.starts_with('0'));
        let build = match build {
            "" => Some(0),
            number if plain => number.parse().ok(),
            _ => None,
        };
        Ok(Version {
            major: version.major.try_into().map_err(|_| fail("major goes up to 255"))?,
            minor: version.minor.try_into().map_err(|_| fail("minor goes up to 255"))?,
            revision: version.patch.try_into().map_err(|_| fail("patch goes up to 65535"))?,
            build: build.ok_or_else(|| fail("build must be a number up to 4294967295"))?,
        })
    }

    /// Reads `major[.minor[.revision[+build]]]`, as imgtool's arguments and
    /// our parameters have it (imgtool `decode_version`).
    pub(super) fn parse(text: &str) -> Option<Version> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse::<u32>().ok()).flatten()
        };
        let (numbers, build) = match text.split_once('+') {
            Some((numbers, build)) => (numbers, Some(number(build)?)),
            None => (text, None),
        };
        let numbers: Vec<u32> = numbers.split('.').map(number).collect::<Option<_>>()?;
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        if numbers.len() > 3 || (build.is_some() && numbers.len() < 3) {
            return None;
        }
        Some(Version {
            major: at(0).try_into().ok()?,
            minor: at(1).try_into().ok()?,
            revision: at(2).try_into().ok()?,
            build: build.unwrap_or(0),
        })
    }

    pub(super) fn from_bytes(bytes: [u8; 8], endian: Endian) -> Version {
        let [major, minor, r0, r1, b0, b1, b2, b3] = bytes;
        Version { major, minor, revision: endian.u16([r0, r1]), build: endian.u32([b0, b1, b2, b3]) }
    }

    pub(super) fn to_bytes(self, endian: Endian) -> [u8; 8] {
        let ([r0, r1], [b0, b1, b2, b3]) = (endian.u16_bytes(self.revision), endian.u32_bytes(self.build));
        [self.major, self.minor, r0, r1, b0, b1, b2, b3]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}+{}", self.major, self.minor, self.revision, self.build)
    }
}

/// The header's fields. Whatever is in `pad` is signed with the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) endian: Endian,
    pub(super) load_address: u32,
    pub(super) header_size: u16,
    pub(super) protected_size: u16,
    pub(super) image_size: u32,
    pub(super) flags: u32,
    pub(super) version: Version,
    pub(super) pad: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], endian: Endian) -> Result<Header, FormatError> {
        let u16_at = |at: usize| endian.u16([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| endian.u32([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut version = [0; 8];
        version.copy_from_slice(&bytes[20..28]);
        let header = Header {
            endian,
            load_address: u32_at(4),
            header_size: u16_at(8),
            protected_size: u16_at(10),
            image_size: u32_at(12),
            flags: u32_at(16),
            version: Version::from_bytes(version, endian),
            pad: u32_at(28),
        };
        header.check().map(|()| header)
    }

    /// Refuses headers that contradict themselves.
    fn check(&self) -> Result<(), FormatError> {
        let fail = |what| Err(FormatError::malformed(NAME, what));
        let both = |pair| self.flags & pair == pair;
        match self {
            // MCUboot #2025, #2659: the header's size went unchecked.
            _ if usize::from(self.header_size) < HEADER_LEN => {
                fail(format!("the header says it has {} bytes, at least 32 are needed", self.header_size))
            }
            _ if self.image_size == 0 => fail("the image is empty".to_owned()),
            _ if both(RAM_LOAD | ROM_FIXED) => fail("both ram-load and rom-fixed".to_owned()),
            _ if both(ENCRYPTED_AES128 | ENCRYPTED_AES256) => fail("encrypted with two ciphers".to_owned()),
            _ if both(0x600) => fail("compressed with two methods".to_owned()),
            _ if self.has(ARM_THUMB) && !self.has(LZMA1 | LZMA2) => {
                fail("filtered for a compression that is none".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The header of an image that is made here.
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let endian = self.endian;
        let mut out = [0; HEADER_LEN];
        out[0..4].copy_from_slice(&endian.u32_bytes(MAGIC));
        out[4..8].copy_from_slice(&endian.u32_bytes(self.load_address));
        out[8..10].copy_from_slice(&endian.u16_bytes(self.header_size));
        out[10..12].copy_from_slice(&endian.u16_bytes(self.protected_size));
        out[12..16].copy_from_slice(&endian.u32_bytes(self.image_size));
        out[16..20].copy_from_slice(&endian.u32_bytes(self.flags));
        out[20..28].copy_from_slice(&self.version.to_bytes(endian));
        out[28..32].copy_from_slice(&endian.u32_bytes(self.pad));
        out
    }

    pub(super) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// Where the image ends.
    pub(super) fn image_end(&self) -> u64 {
        u64::from(self.header_size) + u64::from(self.image_size)
    }

    /// Where the signed bytes end.
    pub(super) fn signed_end(&self) -> u64 {
        self.image_end() + u64::from(self.protected_size)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_read_as_imgtool_reads_them() {
        let good = [("1", "1.0.0+0"), ("1.2", "1.2.0+0"), ("1.2.3", "1.2.3+0"), ("0.0.1+9", "0.0.1+9")];
        for (text, expected) in good {
            assert_eq!(Version::parse(text).unwrap().to_string(), expected);
        }
        for bad in
            ["", ".", "1.", "1+2", "1.2+3", "01", "1.2.3+04", "1.2.3.4", "256", "1.2.65536", "-1", "1.2.3+"]
        {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn versions_fit_or_are_refused() {
        let cases = [
            ("1.2.3", Some("1.2.3+0")),
            ("1.2.3+4", Some("1.2.3+4")),
            ("1.2.3+0", Some("1.2.3+0")),
            ("255.255.65535+4294967295", Some("255.255.65535+4294967295")),
            ("256.0.0", None),
            ("0.256.0", None),
            ("0.0.65536", None),
            ("0.0.0+4294967296", None),
            ("1.2.3-rc.1", None),
            ("1.2.3+04", None),
            ("1.2.3+g1234", None),
            ("1.2.3+1.2", None),
        ];
        for (text, expected) in cases {
            let version = Version::of(&semver::Version::parse(text).unwrap());
            assert_eq!(version.ok().map(|version| version.to_string()).as_deref(), expected, "{text}");
        }
    }
}
