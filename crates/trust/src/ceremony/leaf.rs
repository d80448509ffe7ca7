//! What documents tell about an LMS key: the highest leaf that signed one.
//!
//! A custodian's machine without a network has no witnesses, and its log
//! cannot tell that it was restored. The document that is to be followed
//! can, where the same key has signed it.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Root};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Tbs, sign1};
use minicbor::{Decoder, decode};

/// The highest leaf of an LMS key that has signed this root document. Only
/// signatures that verify count: else anybody could make a good log look
/// old.
pub(super) fn highest(document: &[u8], key: &PublicKey) -> Option<u32> {
    let KeyAlgorithm::Lms(_) = key.algorithm() else { return None };
    let digest: Digest = Root::decode(document).ok()?.digest(&RustCrypto);
    let Ok(Tbs::Message(message)) = sign1::to_be_signed(key, Context::Root, &digest) else { return None };
    let core = key.as_core()?;
    let own = |signature: &&[u8]| RustCrypto.verify(&core, &message, signature).is_ok();
    // The number of signed keys, then the leaf (RFC 8554 §6.2).
    let leaf = |signature: &[u8]| Some(u32::from_be_bytes(*signature.get(4..)?.first_chunk()?));
    signatures(document).ok()?.into_iter().filter(own).filter_map(leaf).max()
}

/// The signatures under a root document, whose form core has checked.
fn signatures(document: &[u8]) -> Result<Vec<&[u8]>, decode::Error> {
    let mut outer = Decoder::new(document);
    outer.array()?;
    outer.skip()?;
    let count = outer.array()?.unwrap_or_default();
    (0..count)
        .map(|_| {
            let mut sign1 = Decoder::new(outer.bytes()?);
            sign1.tag()?;
            sign1.array()?;
            // Protected, unprotected, and the payload that stands elsewhere.
            (0..3).try_for_each(|_| sign1.skip())?;
            sign1.bytes()
        })
        .collect()
}
