//! Requests (RFC 3161 §2.4.1).

use der::asn1::{Int, ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use firmseal_manifest::Digest;

use crate::asn1::{MessageImprint, TimeStampReq, sha256};
use crate::error::TimestampError;
use crate::hash::Hash;

/// A number that nobody foresaw: an answer with it is an answer to this
/// request, and no recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(u64);

impl Nonce {
    /// Of random bytes.
    pub fn new(random: [u8; 8]) -> Nonce {
        // Positive, and eight bytes long in every encoding.
        Nonce(u64::from_be_bytes(random) >> 1 | 1 << 62)
    }

    pub(crate) fn is(self, other: &Int) -> bool {
        other.as_bytes() == self.0.to_be_bytes()
    }
}

/// What an authority is asked to confirm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// SHA-256 of what existed.
    pub digest: Digest,
    /// The nonce.
    pub nonce: Option<Nonce>,
    /// The policy under which it should stand, as dotted numbers.
    pub policy: Option<String>,
}

impl Query {
    /// The request as it is sent. The authority's certificates are asked
    /// for: a token should be judged without a search for them.
    pub fn encode(&self) -> Result<Vec<u8>, TimestampError> {
        let malformed = |_| TimestampError::Malformed("the request");
        let policy = self.policy.as_deref().map(ObjectIdentifier::new).transpose();
        let request = TimeStampReq {
            version: 1,
            message_imprint: MessageImprint {
                hash_algorithm: sha256(),
                hashed_message: OctetString::new(self.digest.0.as_slice()).map_err(malformed)?,
            },
            req_policy: policy
                .map_err(|_| TimestampError::Malformed("the policy is no object identifier"))?,
            nonce: self.nonce.map(|nonce| Int::new(&nonce.0.to_be_bytes())).transpose().map_err(malformed)?,
            cert_req: true,
            extensions: None,
        };
        request.to_der().map_err(malformed)
    }
}

/// Why an authority does not answer with a token (RFC 3161 §2.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    Algorithm = 0,
    Request = 2,
    Format = 5,
    Policy = 15,
    Extension = 16,
}

/// Reads a stranger's request.
pub(crate) fn read(bytes: &[u8]) -> Result<TimeStampReq, Failure> {
    if bytes.len() > crate::TOKEN_MAX {
        return Err(Failure::Format);
    }
    let request = TimeStampReq::from_der(bytes).map_err(|_| Failure::Format)?;
    if request.version != 1 {
        return Err(Failure::Request);
    }
    let imprint = &request.message_imprint;
    match Hash::of(&imprint.hash_algorithm.oid) {
        None => return Err(Failure::Algorithm),
        Some(hash) if hash.length() != imprint.hashed_message.as_bytes().len() => {
            return Err(Failure::Format);
        }
        Some(_) => {}
    }
    if request.nonce.as_ref().is_some_and(|nonce| nonce.as_bytes().len() > 64) {
        return Err(Failure::Request);
    }
    match request.extensions.as_ref().is_some_and(|extensions| !extensions.is_empty()) {
        true => Err(Failure::Extension),
        false => Ok(request),
    }
}
