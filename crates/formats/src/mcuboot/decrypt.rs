//! Opening an encrypted image, to look at what its device would run.

use super::NAME;
use super::encryption;
use super::header::{ENCRYPTED_AES128, ENCRYPTED_AES256};
use super::image::Image;
use super::inspect;
use super::tlv;
use crate::decryption_key::DecryptionKey;
use crate::error::FormatError;
use crate::keystream::Keystream;
use crate::plan::Plan;
use crate::source::Source;

/// The image with its payload in the clear and all else as it is: what its
/// digest and signatures are over.
pub(super) fn decrypt(source: &dyn Source, key: &DecryptionKey) -> Result<Plan, FormatError> {
    let image = Image::parse(source)?;
    let header = &image.header;
    let key_len = match (header.has(ENCRYPTED_AES128), header.has(ENCRYPTED_AES256)) {
        (true, false) => 16,
        (false, true) => 32,
        _ => return Err(FormatError::unsupported(NAME, "the image is not encrypted")),
    };
    let wrapped = image.unprotected.iter().find(|tlv| tlv::is_content_key(tlv.kind));
    let Some(wrapped) = wrapped else {
        return Err(FormatError::unsupported(NAME, "the image holds no content key; it was never signed"));
    };
    let content_key = encryption::unwrap(wrapped, key_len, key).ok_or(FormatError::NotForThisKey)?;
    let plan = Plan::new(source.len()?).source(0..source.len()?);
    if inspect::is_clear(source, &image)? {
        return Ok(plan);
    }
    let stream = Keystream::new(&content_key).ok_or(FormatError::NotForThisKey)?;
    Ok(plan.under(u64::from(header.header_size)..header.image_end(), stream))
}
