//! A capsule with a signature: a payload is wrapped as mkeficapsule wraps it, a
//! capsule keeps its headers and gets its authentication, or another one.

use std::ops::Range;

use firmseal_manifest::{KeyAlgorithm, Signature};

use super::NAME;
use super::authentication::{self, Authentication};
use super::frame::{self, AUTHENTICATION, Capsule, DEPENDENCY, Header, ItemHeader};
use super::inspect::{authentication as existing, describe, unsigned_parts};
use super::options::Options;
use super::payload_header::PayloadHeader;
use crate::cms::certificate::Chain;
use crate::cms::scheme::Scheme;
use crate::cms::signed_data::Draft;
use crate::cms::{self, attributes};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::inner;
use crate::laid_out::Padding;
use crate::plan::Plan;
use crate::source::{Source, head};

/// A capsule that lacks its authentication.
struct Draught {
    header: Header,
    item: ItemHeader,
    /// What is put before the payload, and signed with it.
    prefix: Vec<u8>,
    /// The payload, in the source.
    payload: Range<u64>,
}

/// Lays out the signed capsule, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    let options = Options::parse(wanted.parameters)?;
    let algorithm = wanted.key.algorithm();
    // edk2 verifies what OpenSSL in it was built with, RSA with PKCS #1 v1.5
    // everywhere; U-Boot that alone.
    if !matches!(algorithm, KeyAlgorithm::Rsa(_) | KeyAlgorithm::P256) {
        let use_instead = "an RSA or a P-256 key";
        return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead });
    }
    let chain = Chain::given(wanted.parameters, wanted.key)?;
    let scheme = Scheme::of(NAME, wanted.key, Padding::Pkcs1)?;
    let Draught { header, item, prefix, payload } = match head::<16>(source)? {
        Some(guid) if frame::is_capsule(&guid) => in_capsule(source, &options, wanted.epoch)?,
        _ => wrapped(source, &options)?,
    };
    let len = source.len()?;
    let behind = Plan::new(len).bytes(prefix.clone()).source(payload.clone());
    // Before hashing: 4 GiB is what the headers can tell.
    frame::write(&header, &item, authentication::SIGNATURE_MAX.saturating_add(behind.output_len()))?;
    let inspection = describe(&behind.over(source)?, Some(wanted.epoch))?;
    let size = behind.output_len();
    let signed = behind.bytes(wanted.epoch.to_le_bytes());
    let content = signed.over(source)?;
    // An epoch can be chosen: payload and count together could be the content
    // of an Authenticode signature, which firmware takes from CMS of any kind.
    inner::refuse_others(&content, NAME)?;
    let digest = scheme.hash().of_range(&content, 0..content.len()?)?;
    let attributes = attributes::write(cms::DATA, &digest, chain.der(), wanted.parameters)?;
    let draft = Draft { format: NAME, scheme, chain, attributes, content_type: cms::DATA, content: None };
    let tbs = draft.tbs();
    let count = wanted.epoch;
    let attach = move |signature: &Signature| {
        let own = authentication::write(count, &draft.seal(signature)?);
        let before = frame::write(&header, &item, own.len() as u64 + size)?;
        Ok(Plan::new(len).bytes([&before[..], &own, &prefix].concat()).source(payload.clone()))
    };
    Ok(Unsigned::new(tbs, inspection, Box::new(attach)))
}

/// A payload that becomes a capsule.
fn wrapped(source: &dyn Source, options: &Options) -> Result<Draught, FormatError> {
    let len = source.len()?;
    // As one with an authentication of its own it would have two.
    if len == 0 || authentication::begins(source, &(0..len))? {
        return Err(FormatError::malformed(
            NAME,
            "it is no payload: it is empty, or has an authentication already",
        ));
    }
    inner::refuse(source)?;
    let (header, item) = options.frame()?;
    let prefix = options.payload_header().map(PayloadHeader::bytes).unwrap_or_default();
    Ok(Draught { header, item, prefix, payload: 0..len })
}

/// A capsule that is one already, signed or not.
fn in_capsule(source: &dyn Source, options: &Options, epoch: u64) -> Result<Draught, FormatError> {
    let unsupported = |what: &str| FormatError::unsupported(NAME, what);
    let capsule = Capsule::read(source)?;
    let ([item], None) = (capsule.items.as_slice(), unsigned_parts(&capsule)) else {
        return Err(unsupported(
            "capsules with exactly one payload are signed, without drivers and vendor code: no signature covers these",
        ));
    };
    if item.header.support & DEPENDENCY != 0 {
        return Err(unsupported(
            "its payload has dependencies, and the flag that says so no signature covers",
        ));
    }
    if item.header.support & !AUTHENTICATION != 0 {
        return Err(unsupported("its payload has sections that are not known here"));
    }
    let payload = match existing(source, item)? {
        None => item.image.clone(),
        Some(own) => counted(own, epoch)?,
    };
    let versions = PayloadHeader::read(&Plan::new(source.len()?).source(payload.clone()).over(source)?)?;
    options.agree(&capsule, item, versions)?;
    // Before version 3 nothing announces an authentication.
    let support = if item.header.version == 3 { AUTHENTICATION } else { 0 };
    let item = ItemHeader { support, ..item.header.clone() };
    Ok(Draught { header: capsule.header, item, prefix: Vec::new(), payload })
}

/// The payload behind an authentication that is replaced; its count is what was
/// approved once, and is not replaced with it.
fn counted(own: Authentication, epoch: u64) -> Result<Range<u64>, FormatError> {
    match own.count == epoch {
        true => Ok(own.payload),
        false => Err(FormatError::Disagrees {
            field: "monotonic count",
            inside: own.count.to_string(),
            wanted: epoch.to_string(),
        }),
    }
}
