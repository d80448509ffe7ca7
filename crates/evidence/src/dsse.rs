//! DSSE envelopes 1.0.2 (github.com/secure-systems-lab/dsse).

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, ecdsa};
use serde_json::{Value, json};

use crate::builder::{Builder, Verify};
use crate::error::EvidenceError;
use crate::member::Format;

/// Most signatures of one envelope.
pub const SIGNATURES_MAX: usize = 16;
/// The payload type of in-toto statements.
pub const STATEMENT: &str = "application/vnd.in-toto+json";

const FORMAT: Format = Format("DSSE");

/// An envelope whose signatures nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

/// What is signed (protocol.md, PAE): every length is said before the bytes,
/// so that no two pairs of type and payload are one message.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Writes an envelope around a payload that one key has signed.
pub fn encode(payload_type: &str, payload: &[u8], key: &PublicKey, signature: &Signature) -> Vec<u8> {
    let wire = match key.algorithm() {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => ecdsa::to_der(&signature.0).unwrap_or_default(),
        _ => signature.0.clone(),
    };
    let envelope = json!({
        "payload": Base64::encode_string(payload),
        "payloadType": payload_type,
        "signatures": [{ "keyid": key.id().to_string(), "sig": Base64::encode_string(&wire) }],
    });
    let mut text = envelope.to_string().into_bytes();
    text.push(b'\n');
    text
}

impl Envelope {
    /// Whether a document says that it is one.
    pub(crate) fn claims(document: &Value) -> bool {
        document.get("payloadType").is_some() || document.get("signatures").is_some()
    }

    /// Reads an envelope. "Consumers MUST ignore unrecognized fields"
    /// (envelope.md); `keyid` is one of them here: it is not signed, and
    /// says nothing.
    pub(crate) fn read(document: &Value) -> Result<Envelope, EvidenceError> {
        let bytes = |object: &Value, name: &'static str| {
            let text = object.get(name).and_then(Value::as_str).ok_or(FORMAT.malformed(name))?;
            decode(text).ok_or(FORMAT.malformed(name))
        };
        let listed = FORMAT.list(document, "signatures")?;
        if listed.is_empty() {
            return Err(FORMAT.malformed("signatures"));
        }
        if listed.len() > SIGNATURES_MAX {
            return Err(EvidenceError::Many("16 signatures of an envelope"));
        }
        Ok(Envelope {
            payload_type: FORMAT.text(document, "payloadType")?.to_owned(),
            payload: bytes(document, "payload")?,
            signatures: listed.iter().map(|one| bytes(one, "sig")).collect::<Result<_, _>>()?,
        })
    }

    /// The payload's type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload, whoever signed it.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// How much work it is to try every signature under so many keys, where
    /// so many bytes of payload count as one try.
    pub(crate) fn work(&self, keys: usize, bytes: usize) -> usize {
        self.signatures.len().saturating_mul(keys).saturating_mul(1 + self.payload.len() / bytes)
    }

    /// Those builders of whom a signature under the envelope holds.
    pub fn signers<'a>(
        &self,
        builders: impl Iterator<Item = &'a Builder>,
        verify: Verify<'_>,
    ) -> Vec<&'a Builder> {
        let message = pae(&self.payload_type, &self.payload);
        let holds = |builder: &&Builder| {
            self.signatures.iter().any(|wire| {
                let signature = match builder.key.algorithm() {
                    KeyAlgorithm::P256 => ecdsa::from_der(wire, 32),
                    KeyAlgorithm::P384 => ecdsa::from_der(wire, 48),
                    _ => Some(wire.clone()),
                };
                signature.is_some_and(|signature| verify(&builder.key, &message, &Signature(signature)))
            })
        };
        builders.filter(holds).collect()
    }
}

/// "Either standard or URL-safe encoding is allowed" (envelope.md); writers
/// differ over padding too. What is signed are the bytes, so no spelling of
/// them is a second meaning.
fn decode(text: &str) -> Option<Vec<u8>> {
    let read = match (text.contains(['-', '_']), text.ends_with('=')) {
        (false, true) => Base64::decode_vec(text),
        (false, false) => Base64Unpadded::decode_vec(text),
        (true, true) => Base64Url::decode_vec(text),
        (true, false) => Base64UrlUnpadded::decode_vec(text),
    };
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_that_of_the_specification() {
        // protocol.md, "Test Vectors".
        let pae = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn base64_of_all_writers() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(decode(text).as_deref(), Some(&[0xfb, 0xff][..]), "{text}");
        }
        for text in ["+_8=", "+/8==", "+/9=", " +/8=", "+/8=\n"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
