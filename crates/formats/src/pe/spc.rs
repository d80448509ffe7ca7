//! SpcIndirectDataContent (*Windows Authenticode Portable Executable Signature
//! Format*, "SpcIndirectDataContent"): what an Authenticode signature is over.

use crate::cms::scheme::{hash_identifier, hash_named};
use crate::der::{self, BIT_STRING, Bad, Element, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::hash::Hash;
use crate::inner::header;

/// SPC_INDIRECT_DATA_OBJID.
pub(crate) const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// 1.3.6.1.4.1.311.2.1, without the last number: what contents begin with.
const SPC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01];
/// SPC_PE_IMAGE_DATAOBJ.
const PE_IMAGE_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f];
/// What pesign writes in its place: Debian's fwupd has it.
const INDIVIDUAL_CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x15];
/// "SpcLink ... should be ... the Unicode string `<<<Obsolete>>>`".
const OBSOLETE: &str = "<<<Obsolete>>>";

/// The content for an image with this SHA-256, with its tag.
pub(crate) fn write(digest: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = OBSOLETE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    // [0] IMPLICIT BMPString in [2] EXPLICIT of SpcLink, in [0] EXPLICIT.
    let link = der::tlv(der::context(0), &[&der::tlv(der::context(2), &[&der::tlv(0x80, &[&text])])]);
    let image = der::tlv(SEQUENCE, &[&der::tlv(BIT_STRING, &[&[0]]), &link]);
    let data = der::tlv(SEQUENCE, &[&der::tlv(OID, &[PE_IMAGE_DATA]), &image]);
    let digest =
        der::tlv(SEQUENCE, &[&hash_identifier(Hash::Sha256, true), &der::tlv(OCTET_STRING, &[digest])]);
    der::tlv(SEQUENCE, &[&data, &digest])
}

/// What is hashed of a content: without tag and length.
pub(crate) fn hashed(content: &[u8]) -> Result<&[u8], Bad> {
    Ok(Reader::only(content, SEQUENCE)?.rest())
}

/// The image's digest in a content; `None` for one with another hash than
/// those of SHA-2.
pub(crate) fn read<'a>(content: Element<'a>) -> Result<Option<(Hash, &'a [u8])>, Bad> {
    let mut content = Reader::only(content.whole, SEQUENCE)?;
    let mut data = Reader::new(content.take(SEQUENCE)?);
    if ![PE_IMAGE_DATA, INDIVIDUAL_CODE_SIGNING].contains(&data.take(OID)?) {
        return Err("what is signed is no PE image");
    }
    data.next()?;
    data.end()?;
    let mut info = Reader::new(content.take(SEQUENCE)?);
    content.end()?;
    let hash = hash_named(info.element(SEQUENCE)?.whole)?;
    let digest = info.take(OCTET_STRING)?;
    info.end()?;
    Ok(hash.map(|hash| (hash, digest)))
}

/// Whether a file begins as SpcIndirectDataContent, with its tag or without:
/// what is hashed of it is without.
pub(super) fn is_content(head: &[u8]) -> bool {
    let mut rest = head;
    for _ in 0..2 {
        let Some((0x30, size, _)) = header(rest) else { return false };
        rest = rest.get(size as usize..).unwrap_or_default();
        if let Some((0x06, size, _)) = header(rest) {
            return rest.get(size as usize..).is_some_and(|oid| oid.starts_with(SPC));
        }
    }
    false
}
