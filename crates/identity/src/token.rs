//! Tokens (JWT in JWS compact serialisation: RFC 7519, RFC 7515), taken
//! apart and not yet believed.
//!
//! Written here and not taken from a library: what is refused matters more
//! than what is understood, and the few lines leave no switch that turns a
//! check off (RFC 8725). Only three signatures exist, `none` and MACs cannot
//! be spelled, and members of the header that bring or name keys (`jwk`,
//! `jku`, `x5u`, `x5c`) are never looked at: keys come from the configured
//! issuer.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::TokenError;
use crate::strict;

/// Longest token that is looked at, in bytes. Real ones have one or two
/// thousand.
pub const TOKEN_MAX: usize = 16 * 1024;

/// How tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    pub(crate) fn parse(word: &str) -> Option<Algorithm> {
        match word {
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            // RFC 9864 gives Ed25519 a name that leaves nothing open.
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// A token that nobody has checked. What it says only finds its issuer.
#[derive(Clone, Debug)]
pub struct Unverified {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Unverified {
    /// Whether a bearer's credential has the form of such a token: three
    /// parts. No secret of this server's has a dot in it.
    pub fn looks_like_one(text: &str) -> bool {
        text.contains('.')
    }

    /// Takes a token apart.
    pub fn parse(text: &str) -> Result<Unverified, TokenError> {
        if text.len() > TOKEN_MAX {
            return Err(TokenError::Malformed("it is too long"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("it has not three parts"));
        };
        let signed = text.as_bytes()[..header.len() + 1 + payload.len()].to_vec();
        let members = strict::object(&decode(header)?)
            .ok_or(TokenError::Malformed("its header is not JSON that says everything once"))?;
        let claims = strict::object(&decode(payload)?)
            .ok_or(TokenError::Malformed("its claims are not JSON that says everything once"))?;
        // "If any of the listed extension Header Parameters are not
        // understood and supported by the recipient, then the JWS is
        // invalid" (RFC 7515 §4.1.11). None are.
        if members.contains_key("crit") {
            return Err(TokenError::Malformed("its header demands extensions"));
        }
        // What is signed would not be what was decoded (RFC 7797).
        if members.contains_key("b64") || members.contains_key("zip") || members.contains_key("enc") {
            return Err(TokenError::Malformed("its payload is encoded in an unusual way"));
        }
        let algorithm = members.get("alg").and_then(Value::as_str).ok_or(TokenError::Algorithm)?;
        let algorithm = Algorithm::parse(algorithm).ok_or(TokenError::Algorithm)?;
        Ok(Unverified {
            algorithm,
            kid: text_of(&members, "kid")?,
            kind: text_of(&members, "typ")?,
            claims,
            signed,
            signature: decode(signature)?,
        })
    }

    /// The issuer that it claims to be from.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Malformed("it names no issuer"))
    }

    /// The key that it claims to be signed with.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| TokenError::Malformed("a part is not base64url"))
}

/// A member that is a text, or is not there.
fn text_of(members: &Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Malformed("its header has a member of the wrong type")),
    }
}
