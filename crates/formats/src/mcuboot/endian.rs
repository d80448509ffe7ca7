//! Byte order: of the machine that boots the image.
//!
//! MCUboot reads header and TLVs as the structs of its own machine; imgtool
//! writes them in the order of `--endian`.

/// An order of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Endian {
    /// The least significant first.
    Little,
    /// The most significant first.
    Big,
}

impl Endian {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }
}
