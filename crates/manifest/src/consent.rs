//! Consent: what is added to an envelope that is signed already.
//!
//! Evidence is covered by no signature of ours, so that an owner can agree
//! to what the vendor has signed. What is added is a signed Statement;
//! everything else stays as it came, byte for byte.

use firmseal_core::envelope::{ENVELOPE_TAG, EVIDENCE};
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{Digest, Envelope, Refusal};
use minicbor::Decoder;

use crate::cbor::Writer;
use crate::evidence::SignedStatement;
use crate::key::KeyError;

/// Labels of evidence: the Intent, and Statements.
const INTENT: i64 = 1;
const STATEMENTS: i64 = 2;

/// Why nothing is added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The envelope is none, or would be none.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A key that devices cannot verify with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No room is left.
    #[error("with this Statement the envelope has {0} bytes, devices accept {ENVELOPE_MAX}")]
    TooLarge(usize),
}

/// What an envelope's Intent says of who asked, and by which rules. Nobody
/// believes it here: a Statement repeats it, and devices compare.
pub fn announced(envelope: &Envelope<'_>) -> Option<(Digest, Digest)> {
    let intent = member(envelope.evidence()?, INTENT)?;
    let intent = Decoder::new(intent).bytes().ok()?;
    let digest = |label| -> Option<Digest> {
        Some(Digest(Decoder::new(member(intent, label)?).bytes().ok()?.try_into().ok()?))
    };
    // 6 is the requester, 7 the policy.
    Some((digest(6)?, digest(7)?))
}

/// Adds a signed Statement to the evidence of an envelope.
pub fn add_statement(envelope: &[u8], signed: &SignedStatement) -> Result<Vec<u8>, ConsentError> {
    let decoded = Envelope::decode(envelope)?;
    const MALFORMED: Refusal = Refusal::Malformed("evidence");
    let before = match decoded.evidence() {
        Some(bytes) => pairs(bytes).ok_or(MALFORMED)?,
        None => Vec::new(),
    };
    let mut statements: Vec<&[u8]> = Vec::new();
    if let Some((_, value)) = before.iter().find(|(label, _)| *label == STATEMENTS) {
        statements = items(value).ok_or(MALFORMED)?;
    }
    let own = signed.encode()?;
    statements.push(&own);
    let mut list = Writer::new();
    list.array(statements.len());
    statements.iter().for_each(|statement| {
        list.raw(statement);
    });
    let list = list.finish();
    let evidence = replaced(&before, STATEMENTS, &list);

    let mut wrapped = Writer::new();
    wrapped.bytes(&evidence);
    let wrapped = wrapped.finish();
    let mut reader = Decoder::new(envelope);
    let tagged = reader.tag().ok().filter(|tag| u64::from(*tag) == ENVELOPE_TAG);
    let body = tagged.and_then(|_| pairs(&envelope[reader.position()..]));
    let members = body.ok_or(Refusal::Malformed("an envelope"))?;
    let mut out = Writer::new();
    out.tag(ENVELOPE_TAG).raw(&replaced(&members, EVIDENCE, &wrapped));
    let out = out.finish();
    if out.len() > ENVELOPE_MAX {
        return Err(ConsentError::TooLarge(out.len()));
    }
    Envelope::decode(&out)?;
    Ok(out)
}

/// A map with one member replaced, or put where it belongs: labels stand in
/// the order of their encodings (RFC 8949 §4.2.1).
fn replaced(members: &[(i64, &[u8])], label: i64, value: &[u8]) -> Vec<u8> {
    let mut all: Vec<(i64, &[u8])> = members.iter().copied().filter(|(own, _)| *own != label).collect();
    all.push((label, value));
    let encoded = |label: i64| {
        let mut out = Writer::new();
        out.int(label);
        out.finish()
    };
    all.sort_by_key(|(label, _)| encoded(*label));
    let mut out = Writer::new();
    out.map(all.len());
    for (label, value) in all {
        out.int(label).raw(value);
    }
    out.finish()
}

/// The members of a map with integer labels, values as they are encoded.
fn pairs(map: &[u8]) -> Option<Vec<(i64, &[u8])>> {
    let mut reader = Decoder::new(map);
    let mut found = Vec::new();
    for _ in 0..reader.map().ok()?? {
        let label = reader.i64().ok()?;
        let start = reader.position();
        reader.skip().ok()?;
        found.push((label, map.get(start..reader.position())?));
    }
    Some(found)
}

fn items(array: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Decoder::new(array);
    let mut found = Vec::new();
    for _ in 0..reader.array().ok()?? {
        let start = reader.position();
        reader.skip().ok()?;
        found.push(array.get(start..reader.position())?);
    }
    Some(found)
}

fn member(map: &[u8], label: i64) -> Option<&[u8]> {
    pairs(map)?.into_iter().find(|(own, _)| *own == label).map(|(_, value)| value)
}
