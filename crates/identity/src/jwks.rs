//! Keys of an issuer: JWK sets (RFC 7517), bounded.
//!
//! A key that is not fit is left out, so that a set with a key for
//! encryption or of a kind of tomorrow still serves; a token that was signed
//! with it finds no key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use crate::error::TokenError;
use crate::strict;
use crate::token::{Algorithm, Unverified};

/// Most keys of a set, and the longest one as text.
const KEYS_MAX: usize = 64;

/// The public keys of an issuer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Jwks {
    keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Key {
    kid: Option<String>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

impl Jwks {
    /// Longest set that is read, in bytes.
    pub const MAX: usize = 256 * 1024;

    /// Reads a set. `None` if it is none, is too long, or has no key that is
    /// fit.
    pub fn parse(bytes: &[u8]) -> Option<Jwks> {
        if bytes.len() > Jwks::MAX {
            return None;
        }
        let set = strict::object(bytes)?;
        let keys = set.get("keys")?.as_array()?;
        if keys.len() > KEYS_MAX {
            return None;
        }
        let keys: Vec<Key> = keys.iter().filter_map(|key| Key::parse(key.as_object()?)).collect();
        (!keys.is_empty()).then_some(Jwks { keys })
    }

    /// Whether a key with this id is in it. Without an id there must be one
    /// key only for each algorithm, so a set that has any will do.
    pub(crate) fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.keys.iter().any(|key| key.kid.as_deref() == Some(kid)))
    }

    /// Checks a token's signature with the key that it names, of the kind
    /// that its algorithm is for.
    pub(crate) fn verify(&self, token: &Unverified) -> Result<(), TokenError> {
        let fitting = self.keys.iter().filter(|key| key.material.algorithm() == token.algorithm);
        let mut named = fitting.filter(|key| token.kid.is_none() || key.kid == token.kid);
        // Two keys that the same words name are no name at all, and trying
        // each would let a stray one in the set sign.
        match (named.next(), named.next()) {
            (Some(key), None) => key.material.verify(&token.signed, &token.signature),
            _ => Err(TokenError::UnknownKey),
        }
    }
}

impl Key {
    fn parse(members: &Map<String, Value>) -> Option<Key> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        // A set with private keys was published by mistake: what stands in
        // it is everybody's.
        if ["d", "k", "p", "q"].iter().any(|name| members.contains_key(*name)) {
            return None;
        }
        if members.contains_key("use") && text("use") != Some("sig") {
            return None;
        }
        if let Some(operations) = members.get("key_ops") {
            operations.as_array()?.iter().find(|operation| *operation == "verify")?;
        }
        let material = match text("kty")? {
            "RSA" => Material::rsa(number(text("n")?)?, number(text("e")?)?)?,
            "EC" if text("crv") == Some("P-256") => {
                let mut point = [4; 65];
                // "The length of this octet string MUST be the full size of
                // a coordinate" (RFC 7518 §6.2.1.2).
                point[1..33].copy_from_slice(&fixed(text("x")?)?);
                point[33..].copy_from_slice(&fixed(text("y")?)?);
                Material::P256(point)
            }
            "OKP" if text("crv") == Some("Ed25519") => Material::Ed25519(fixed(text("x")?)?),
            _ => return None,
        };
        if members.contains_key("alg") && Algorithm::parse(text("alg")?) != Some(material.algorithm()) {
            return None;
        }
        let kid = match members.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        Some(Key { kid, material })
    }
}

impl Material {
    /// Of 2048 to 8192 bits, with an odd exponent from 65537 (FIPS 186-5
    /// §5.4; NIST SP 800-131A has no room for shorter ones).
    fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        let exponent = e.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()));
        let fit = (2048..=8192).contains(&bits) && odd(&n) && odd(&e) && exponent? >= 65537;
        fit.then_some(Material::Rsa { n, e })
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let checked = match self {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        checked.map_err(|_| TokenError::Signature)
    }
}

/// A number without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

fn fixed(text: &str) -> Option<[u8; 32]> {
    Base64UrlUnpadded::decode_vec(text).ok()?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_others_sign_is_verified() {
        // RFC 7515 Appendix A.3.
        let token = concat!(
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djx",
            "La8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        );
        let keys = concat!(
            r#"{"keys":[{"kty":"EC","crv":"P-256","#,
            r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#
        );
        let keys = Jwks::parse(keys.as_bytes()).unwrap();
        let good = Unverified::parse(token).unwrap();
        assert_eq!((good.issuer(), good.kid(), keys.verify(&good)), (Ok("joe"), None, Ok(())));
        for at in [30, 120, 200] {
            let mut bad = token.as_bytes().to_vec();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let refused =
                Unverified::parse(std::str::from_utf8(&bad).unwrap()).and_then(|bad| keys.verify(&bad));
            assert!(refused.is_err(), "{at}");
        }
        // RFC 8037 Appendix A.4: a payload that is no JSON, so the parts are
        // put together here.
        let key =
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let token = Unverified {
            algorithm: Algorithm::EdDsa,
            kid: None,
            kind: None,
            claims: Map::new(),
            signed: signed.as_bytes().to_vec(),
            signature: Base64UrlUnpadded::decode_vec(signature).unwrap(),
        };
        assert_eq!(Jwks::parse(key.as_bytes()).unwrap().verify(&token), Ok(()));
    }
}
