//! The layout of an image file: header, areas, trailer, and the rules that
//! make it mean one thing.

use super::NAME;
use super::endian::Endian;
use super::header::{COMPRESSED, ENCRYPTED_AES128, ENCRYPTED_AES256, HEADER_LEN, Header, Magic};
use super::tlv::{self, Tlv};
use super::trailer::Trailer;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::source::{Source, head};

/// A parsed file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Image {
    pub(super) header: Header,
    pub(super) protected: Vec<Tlv>,
    /// Empty in an image that was never hashed or signed.
    pub(super) unprotected: Vec<Tlv>,
    /// End of the image with its TLVs.
    pub(super) end: u64,
    pub(super) trailer: Trailer,
}

impl Image {
    /// Parses a file. Nothing is hashed; every length is checked first
    /// (MCUboot #2025, #2659: hashing for minutes).
    pub(super) fn parse(source: &dyn Source) -> Result<Image, FormatError> {
        let have = source.len()?;
        let truncated = |what, need| FormatError::Truncated { format: NAME, what, need, have };
        let endian = match head::<4>(source)?.and_then(Magic::of) {
            Some(Magic::Current) => Endian::Little,
            Some(Magic::BigEndian) => Endian::Big,
            Some(Magic::Old) => {
                return Err(FormatError::unsupported(NAME, "the image is of the format before MCUboot 1.0"));
            }
            None => return Err(FormatError::malformed(NAME, "the file does not begin with an image header")),
        };
        let bytes = head::<HEADER_LEN>(source)?.ok_or_else(|| truncated("the header", HEADER_LEN as u64))?;
        let header = Header::parse(&bytes, endian)?;
        if header.signed_end() > have {
            return Err(truncated("the image with its protected TLVs", header.signed_end()));
        }
        let protected = Self::protected(source, &header)?;
        let (unprotected, end) = if header.signed_end() == have {
            (Vec::new(), have)
        } else {
            let (magic, total) = tlv::info(source, header.signed_end(), "the TLVs", endian)?;
            if magic != tlv::INFO_MAGIC {
                return Err(FormatError::malformed(NAME, "protected TLVs that the header does not mention"));
            }
            let entries = tlv::entries(source, header.signed_end(), total, endian)?;
            (entries, header.signed_end() + u64::from(total))
        };
        let trailer = Trailer::read(source, end, have, endian)?;
        let image = Image { header, protected, unprotected, end, trailer };
        image.check()?;
        Ok(image)
    }

    fn protected(source: &dyn Source, header: &Header) -> Result<Vec<Tlv>, FormatError> {
        if header.protected_size == 0 {
            return Ok(Vec::new());
        }
        let (magic, total) = tlv::info(source, header.image_end(), "the protected TLVs", header.endian)?;
        // imgtool goes by the magic, bootutil by the header; both must say
        // the same (bootutil_tlv_iter_begin).
        if magic != tlv::PROTECTED_MAGIC || total != header.protected_size {
            return Err(FormatError::malformed(NAME, "header and protected TLVs disagree about their size"));
        }
        tlv::entries(source, header.image_end(), total, header.endian)
    }

    /// Refuses TLVs that stand twice, in the wrong area, or against the
    /// header.
    fn check(&self) -> Result<(), FormatError> {
        let fail = |what: String| Err(FormatError::malformed(NAME, what));
        for (index, Tlv { kind, value }) in self.protected.iter().enumerate() {
            let length = match *kind {
                // Bootloaders look for these behind the signed part only.
                tlv::KEYHASH..=tlv::PUBKEY
                | tlv::SHA256..=tlv::SHA512
                | tlv::RSA2048..=tlv::ENC_X25519_SHA512 => {
                    return fail(format!("TLV {kind:#06x} must not be protected"));
                }
                0 | 0xffff => return fail(format!("TLV {kind:#06x} has no meaning")),
                tlv::SECURITY_COUNTER | tlv::DECOMP_SIZE | tlv::COMP_SIZE => Some(4),
                tlv::DECOMP_HASH if Hash::of_len(value.len()).is_none() => Some(32),
                tlv::DEPENDENCY => Some(12),
                tlv::VENDOR_ID | tlv::CLASS_ID => Some(16),
                _ => None,
            };
            if length.is_some_and(|length| length != value.len()) {
                return fail(format!("TLV {kind:#06x} has {} bytes", value.len()));
            }
            // Which of two counters counts depends on the reader.
            let again = self.protected[..index].iter().any(|tlv| tlv.kind == *kind);
            if again && *kind != tlv::DEPENDENCY {
                return fail(format!("TLV {kind:#06x} stands twice"));
            }
        }
        let mut wrapped_keys = self.unprotected.iter().filter(|tlv| tlv::is_content_key(tlv.kind));
        let (wrapped, second) = (wrapped_keys.next(), wrapped_keys.next());
        let encrypted = self.header.has(ENCRYPTED_AES128 | ENCRYPTED_AES256);
        // The unsigned image of an encrypted one has no TLVs at all yet.
        if second.is_some() || wrapped.is_some() != (encrypted && !self.unprotected.is_empty()) {
            return fail(
                "the flags for encryption and the wrapped content key do not belong together".to_owned(),
            );
        }
        if let Some(Tlv { kind, value }) = wrapped
            && tlv::wrapping(*kind, self.content_key_len(), value.len()).is_none()
        {
            return fail(format!("TLV {kind:#06x} has {} bytes", value.len()));
        }
        let compressed = self.header.has(COMPRESSED);
        let described =
            self.protected.iter().any(|tlv| (tlv::DECOMP_SIZE..=tlv::COMP_SIZE).contains(&tlv.kind));
        let whole = self.value(tlv::DECOMP_SIZE).is_some() && self.value(tlv::DECOMP_HASH).is_some();
        if compressed != described || compressed != whole {
            return fail(
                "the flags for compression and the TLVs that describe it do not belong together".to_owned(),
            );
        }
        Ok(())
    }

    /// Length of the content key that the header asks for.
    pub(super) fn content_key_len(&self) -> usize {
        if self.header.has(ENCRYPTED_AES256) { 32 } else { 16 }
    }

    pub(super) fn security_counter(&self) -> Option<u32> {
        let value = self.value(tlv::SECURITY_COUNTER)?;
        Some(self.header.endian.u32(value.try_into().ok()?))
    }

    /// The value of a protected TLV.
    pub(super) fn value(&self, kind: u16) -> Option<&[u8]> {
        self.values(kind).next()
    }

    /// The values of all protected TLVs of a kind, in order.
    pub(super) fn values(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        self.protected.iter().filter(move |tlv| tlv.kind == kind).map(|tlv| tlv.value.as_slice())
    }
}
