//! TLV areas: an info header, then entries that fill it to the byte.

use super::NAME;
use super::endian::Endian;
use crate::error::FormatError;
use crate::source::Source;

pub(super) const INFO_MAGIC: u16 = 0x6907;
pub(super) const PROTECTED_MAGIC: u16 = 0x6908;
/// Length of an area's info header, and of an entry's head.
pub(super) const HEAD_LEN: usize = 4;

pub(super) const KEYHASH: u16 = 0x01;
pub(super) const PUBKEY: u16 = 0x02;
pub(super) const SHA256: u16 = 0x10;
pub(super) const SHA384: u16 = 0x11;
pub(super) const SHA512: u16 = 0x12;
pub(super) const RSA2048: u16 = 0x20;
pub(super) const ECDSA: u16 = 0x22;
pub(super) const RSA3072: u16 = 0x23;
pub(super) const ED25519: u16 = 0x24;
pub(super) const SIG_PURE: u16 = 0x25;
/// Content keys, each wrapped in its own way: RSA-OAEP, AES key wrap, ECIES.
pub(super) const ENC_RSA2048: u16 = 0x30;
pub(super) const ENC_KW: u16 = 0x31;
pub(super) const ENC_P256: u16 = 0x32;
pub(super) const ENC_X25519: u16 = 0x33;
pub(super) const ENC_X25519_SHA512: u16 = 0x34;
pub(super) const DEPENDENCY: u16 = 0x40;
pub(super) const SECURITY_COUNTER: u16 = 0x50;
pub(super) const BOOT_RECORD: u16 = 0x60;
pub(super) const DECOMP_SIZE: u16 = 0x70;
pub(super) const DECOMP_HASH: u16 = 0x71;
pub(super) const DECOMP_SIGNATURE: u16 = 0x72;
pub(super) const COMP_SIZE: u16 = 0x73;
pub(super) const VENDOR_ID: u16 = 0x74;
pub(super) const CLASS_ID: u16 = 0x75;
/// First and last of the types that anybody may give a meaning.
pub(super) const CUSTOM_FIRST: u16 = 0xa0;
pub(super) const CUSTOM_LAST: u16 = 0xfffe;

/// Whether an entry of this type holds a content key.
pub(super) fn is_content_key(kind: u16) -> bool {
    (ENC_RSA2048..=ENC_X25519_SHA512).contains(&kind)
}

/// How an entry of `len` bytes holds a content key of `key_len`, if it can.
pub(super) fn wrapping(kind: u16, key_len: usize, len: usize) -> Option<&'static str> {
    let (how, need) = match (kind, len) {
        // imgtool's entry for RSA-3072 has the same name.
        (ENC_RSA2048, 384) => ("rsa3072-oaep", 384),
        (ENC_RSA2048, _) => ("rsa2048-oaep", 256),
        (ENC_KW, _) => ("aes key wrap", key_len + 8),
        (ENC_P256, _) => ("ecies p256", 65 + 32 + key_len),
        (ENC_X25519, _) => ("ecies x25519", 32 + 32 + key_len),
        (ENC_X25519_SHA512, _) => ("ecies x25519 with sha512", 32 + 64 + key_len),
        _ => return None,
    };
    (len == need).then_some(how)
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tlv {
    pub(super) kind: u16,
    pub(super) value: Vec<u8>,
}

impl Tlv {
    pub(super) fn new(kind: u16, value: impl Into<Vec<u8>>) -> Tlv {
        Tlv { kind, value: value.into() }
    }
}

/// Magic and total length of the area that begins at `offset`; the area
/// lies within the file.
pub(super) fn info(
    source: &dyn Source,
    offset: u64,
    what: &'static str,
    endian: Endian,
) -> Result<(u16, u16), FormatError> {
    let have = source.len()?;
    let fits = |need: u64| {
        if need > have { Err(FormatError::Truncated { format: NAME, what, need, have }) } else { Ok(()) }
    };
    fits(offset + HEAD_LEN as u64)?;
    let mut head = [0; HEAD_LEN];
    source.read_at(offset, &mut head)?;
    let [a, b, c, d] = head;
    let (magic, total) = (endian.u16([a, b]), endian.u16([c, d]));
    if magic != INFO_MAGIC && magic != PROTECTED_MAGIC {
        return Err(FormatError::malformed(NAME, format!("{what} begin with {magic:#06x}, not with 0x6907")));
    }
    if usize::from(total) < HEAD_LEN {
        return Err(FormatError::malformed(NAME, format!("{what} say they have {total} bytes")));
    }
    fits(offset + u64::from(total))?;
    Ok((magic, total))
}

/// The entries of the area at `offset`, whose [`info`] was checked.
pub(super) fn entries(
    source: &dyn Source,
    offset: u64,
    total: u16,
    endian: Endian,
) -> Result<Vec<Tlv>, FormatError> {
    // At most 64 KiB: lengths of areas have 16 bits.
    let mut area = vec![0; usize::from(total) - HEAD_LEN];
    source.read_at(offset + HEAD_LEN as u64, &mut area)?;
    let mut rest = area.as_slice();
    let mut out = Vec::new();
    while !rest.is_empty() {
        // bootutil stops when fewer bytes than a head are left, imgtool
        // reads on into what follows: only areas that end exactly have one
        // meaning.
        let overrun = || FormatError::malformed(NAME, "a TLV reaches beyond its area");
        let (head, after) = rest.split_first_chunk::<HEAD_LEN>().ok_or_else(overrun)?;
        let [a, b, c, d] = *head;
        let kind = kind([a, b], endian)
            .ok_or_else(|| FormatError::malformed(NAME, format!("a TLV of type {a:02x} {b:02x}")))?;
        let (value, after) = after.split_at_checked(usize::from(endian.u16([c, d]))).ok_or_else(overrun)?;
        out.push(Tlv::new(kind, value));
        rest = after;
    }
    Ok(out)
}

/// The type of an entry.
///
/// In big-endian images imgtool writes the types that it has names for as
/// one byte and a zero, and others as 16 bits (imgtool `TLV.add`). A type of
/// somebody's own that ends with a zero byte reads as one with a name: it is
/// held to the rules of that one.
fn kind(bytes: [u8; 2], endian: Endian) -> Option<u16> {
    match (bytes, endian) {
        (bytes, Endian::Little) => Some(u16::from_le_bytes(bytes)),
        ([named, 0], Endian::Big) if u16::from(named) < CUSTOM_FIRST => Some(named.into()),
        (bytes, Endian::Big) => Some(u16::from_be_bytes(bytes)).filter(|kind| *kind >= CUSTOM_FIRST),
    }
}

/// Whether a type of somebody's own reads as one with a name there.
pub(super) fn misread(kind: u16, endian: Endian) -> bool {
    let [high, low] = kind.to_be_bytes();
    endian == Endian::Big && low == 0 && u16::from(high) < CUSTOM_FIRST
}

/// Encodes an area. `None` if it would be longer than its length field can
/// say.
pub(super) fn encode(magic: u16, entries: &[Tlv], endian: Endian) -> Option<Vec<u8>> {
    let total = HEAD_LEN + entries.iter().map(|tlv| HEAD_LEN + tlv.value.len()).sum::<usize>();
    let mut out = Vec::with_capacity(total);
    out.extend(endian.u16_bytes(magic));
    out.extend(endian.u16_bytes(u16::try_from(total).ok()?));
    for tlv in entries {
        let named = tlv.kind < CUSTOM_FIRST;
        out.extend(if named { tlv.kind.to_le_bytes() } else { endian.u16_bytes(tlv.kind) });
        out.extend(endian.u16_bytes(tlv.value.len() as u16));
        out.extend(&tlv.value);
    }
    Some(out)
}
