//! The bundle itself: JSON in which every member is known, stands once, and
//! has one spelling.
//!
//! "Unknown fields" are refused as protobuf's own JSON parsers refuse them,
//! names in the other spelling (`media_type`) with them: readers that take
//! both and readers that take one would see two bundles.

use base64ct::{Base64, Encoding};
use firmseal_evidence::{dsse, json};
use serde_json::Value;

use crate::der::Bad;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::source::Source;

/// Longest bundle that is read: statements about large images included.
pub(super) const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of logs, or timestamps.
const ENTRIES_MAX: usize = 32;

pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How 0.3 was spelled before.
const MEDIA_TYPE_BEFORE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
const SHA256: &str = "SHA2_256";
const SHA384: &str = "SHA2_384";

/// A bundle whose signature nobody has verified yet.
pub(super) struct Bundle {
    pub(super) content: Content,
    /// What stands outside of what is signed.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// What is signed, and the signature as it stands there.
pub(super) enum Content {
    Message { hash: Hash, digest: Vec<u8>, signature: Vec<u8> },
    Statement { payload: Vec<u8>, signature: Vec<u8> },
}

/// What is signed of a statement.
pub(super) fn pae(payload: &[u8]) -> Vec<u8> {
    dsse::pae(dsse::STATEMENT, payload)
}

/// A bundle around a statement and its signature.
pub(super) fn with_statement(payload: &[u8], signature: &[u8], key: &[u8; 32]) -> String {
    let (payload, sig) = (Base64::encode_string(payload), Base64::encode_string(signature));
    let kind = dsse::STATEMENT;
    around(
        key,
        &format!(
            "\"dsseEnvelope\":{{\"payload\":\"{payload}\",\"payloadType\":\"{kind}\",\"signatures\":[{{\"sig\":\"{sig}\"}}]}}"
        ),
    )
}

/// A bundle around a signature over bytes with this digest.
pub(super) fn with_message(hash: Hash, digest: &[u8], signature: &[u8], key: &[u8; 32]) -> String {
    let (digest, signature) = (Base64::encode_string(digest), Base64::encode_string(signature));
    let name = if hash == Hash::Sha384 { SHA384 } else { SHA256 };
    around(
        key,
        &format!(
            "\"messageSignature\":{{\"messageDigest\":{{\"algorithm\":\"{name}\",\"digest\":\"{digest}\"}},\
             \"signature\":\"{signature}\"}}"
        ),
    )
}

fn around(key: &[u8; 32], content: &str) -> String {
    let hint = Base64::encode_string(key);
    format!(
        "{{\"mediaType\":\"{MEDIA_TYPE}\",\"verificationMaterial\":{{\"publicKey\":{{\"hint\":\"{hint}\"}}}},{content}}}"
    )
}

impl Bundle {
    pub(super) fn read(format: &'static str, source: &dyn Source) -> Result<Bundle, FormatError> {
        let malformed = |what: Bad| FormatError::malformed(format, what);
        let len = source.len()?;
        if len > FILE_MAX {
            return Err(malformed("its bundle is longer than 4 MiB"));
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(0, &mut bytes)?;
        let document = json::parse(&bytes)
            .map_err(|error| FormatError::malformed(format, format!("its bundle {error}")))?;
        read(&document).map_err(malformed)
    }
}

fn read(document: &Value) -> Result<Bundle, Bad> {
    only(document, &["mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"])?;
    if !matches!(text(document, "mediaType"), Some(MEDIA_TYPE | MEDIA_TYPE_BEFORE)) {
        return Err("it is no Sigstore bundle of version 0.3");
    }
    let material = document.get("verificationMaterial").ok_or("its bundle has no verificationMaterial")?;
    let notes = material_notes(material)?;
    let content = match (document.get("messageSignature"), document.get("dsseEnvelope")) {
        (Some(message), None) => read_message(message)?,
        (None, Some(envelope)) => read_envelope(envelope)?,
        _ => return Err("its bundle has not just one of messageSignature and dsseEnvelope"),
    };
    Ok(Bundle { content, notes })
}

/// What helps others to verify. None of it is believed here.
fn material_notes(material: &Value) -> Result<Vec<(&'static str, String)>, Bad> {
    if material.get("certificate").is_some() || material.get("x509CertificateChain").is_some() {
        return Err("its bundle is of a certificate; bundles of one's own keys are read here");
    }
    only(material, &["publicKey", "tlogEntries", "timestampVerificationData"])?;
    let key = material.get("publicKey").ok_or("its bundle names no publicKey")?;
    only(key, &["hint"])?;
    let mut notes = Vec::new();
    match key.get("hint") {
        None => {}
        Some(Value::String(hint)) if hint.is_empty() || is_plain(hint, 512) => {
            notes.push(("key hint", hint.clone()));
        }
        Some(_) => return Err("the hint of its bundle is no plain text"),
    }
    let mut count = |list: Option<&Value>, name| {
        let all = match list {
            None => return Ok(()),
            Some(Value::Array(all)) if all.len() <= ENTRIES_MAX && all.iter().all(Value::is_object) => all,
            Some(_) => return Err("its bundle has log entries or timestamps that are none, or more than 32"),
        };
        if !all.is_empty() {
            notes.push((name, format!("{}, not verified here", all.len())));
        }
        Ok(())
    };
    count(material.get("tlogEntries"), "transparency log entries")?;
    if let Some(data) = material.get("timestampVerificationData") {
        only(data, &["rfc3161Timestamps"])?;
        count(data.get("rfc3161Timestamps"), "timestamps")?;
    }
    Ok(notes)
}

fn read_message(message: &Value) -> Result<Content, Bad> {
    only(message, &["messageDigest", "signature"])?;
    let digest = message.get("messageDigest").ok_or("its bundle has no messageDigest")?;
    only(digest, &["algorithm", "digest"])?;
    let hash = match text(digest, "algorithm") {
        Some(SHA256) => Hash::Sha256,
        Some(SHA384) => Hash::Sha384,
        _ => return Err("the messageDigest of its bundle is neither SHA2_256 nor SHA2_384"),
    };
    let digest = bytes(digest, "digest")?;
    if digest.len() != hash.len() {
        return Err("the messageDigest of its bundle is of another length than its algorithm's");
    }
    Ok(Content::Message { hash, digest, signature: bytes(message, "signature")? })
}

fn read_envelope(envelope: &Value) -> Result<Content, Bad> {
    only(envelope, &["payload", "payloadType", "signatures"])?;
    if text(envelope, "payloadType") != Some(dsse::STATEMENT) {
        return Err("the envelope in its bundle holds no in-toto statement");
    }
    // "The DSSE envelope ... MUST contain exactly one signature."
    let [signature] = envelope.get("signatures").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
    else {
        return Err("the envelope in its bundle has not just one signature");
    };
    only(signature, &["sig", "keyid"])?;
    if signature.get("keyid").is_some_and(|own| !own.is_string()) {
        return Err("the keyid in its bundle is no text");
    }
    Ok(Content::Statement { payload: bytes(envelope, "payload")?, signature: bytes(signature, "sig")? })
}

/// Refuses other members, and what is no object.
pub(super) fn only(object: &Value, names: &[&str]) -> Result<(), Bad> {
    let members = object.as_object().ok_or("its bundle has something else where an object belongs")?;
    match members.keys().all(|name| names.contains(&name.as_str())) {
        true => Ok(()),
        false => Err("its bundle has members that no bundle of version 0.3 has"),
    }
}

pub(super) fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// Bytes in the one spelling that protobuf's mapping writes.
fn bytes(object: &Value, name: &str) -> Result<Vec<u8>, Bad> {
    let bytes = text(object, name).and_then(|text| Base64::decode_vec(text).ok());
    bytes
        .filter(|bytes| !bytes.is_empty())
        .ok_or("its bundle has bytes that are missing or no standard base64")
}

/// Whether a text may be shown as it stands: nothing in it steers a terminal
/// or a reader's eye.
pub(crate) fn is_plain(text: &str, max: usize) -> bool {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    !text.is_empty() && text.len() <= max && !text.contains(odd)
}
