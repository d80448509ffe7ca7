//! Tokens as a provider signs them, and as a thief would like to.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

/// What is wrong with a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trick {
    /// It names another issuer.
    WrongIssuer,
    /// It is for another audience.
    WrongAudience,
    /// It is for this audience and for another one.
    TwoAudiences,
    /// It is not signed (`alg` is `none`).
    AlgNone,
    /// Its MAC is made with the public key (`HS256`), which everybody knows.
    Hs256WithPublicKey,
    /// It has expired.
    Expired,
    /// It is made for later.
    Early,
    /// It is valid for a year.
    Lasting,
    /// Another key signed it, under the name of the good one.
    OtherKeySameKid,
    /// Another key signed it, and it says where to fetch that one.
    Jku,
    /// Another key signed it, and it brings that one along.
    Jwk,
    /// It names a key that is not published.
    UnknownKid,
    /// Its header demands what nobody knows.
    Crit,
    /// It says `sub` twice.
    SubTwice,
    /// It is a logout token.
    Logout,
    /// Its payload was changed after it was signed.
    Changed,
}

impl Trick {
    /// Every one of them.
    pub const ALL: [Trick; 16] = [
        Trick::WrongIssuer,
        Trick::WrongAudience,
        Trick::TwoAudiences,
        Trick::AlgNone,
        Trick::Hs256WithPublicKey,
        Trick::Expired,
        Trick::Early,
        Trick::Lasting,
        Trick::OtherKeySameKid,
        Trick::Jku,
        Trick::Jwk,
        Trick::UnknownKid,
        Trick::Crit,
        Trick::SubTwice,
        Trick::Logout,
        Trick::Changed,
    ];
}

/// A key that signs tokens.
pub struct Mint {
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

impl Mint {
    /// A fresh key for `RS256`, `ES256` or `EdDSA`.
    pub fn new(kid: &str, algorithm: &str) -> Mint {
        let pair = match algorithm {
            "RS256" => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa),
            "ES256" => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::P256),
            _ => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Mint { kid: kid.to_owned(), pair: pair.unwrap() }
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its public half as a JWK.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                // RSAPublicKey (RFC 8017 §A.1.1) of 2048 bits: a header of 9
                // bytes, the modulus, and 65537 at the end.
                let der = pair.public_key().as_ref();
                let (n, e) = (encode(&der[9..265]), encode(&der[der.len() - 3..]));
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e })
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": x, "y": y })
            }
            Pair::Ed25519(pair) => {
                let x = encode(pair.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": self.kid, "x": x })
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.kid });
        self.signed(&header, &claims.to_string())
    }

    /// A token with this header and payload, as they stand.
    pub fn signed(&self, header: &Value, payload: &str) -> String {
        let text = format!("{}.{}", encode(header.to_string()), encode(payload));
        let signature = encode(self.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    /// A token with these claims and something wrong. `elsewhere` is where a
    /// thief publishes keys.
    pub fn trick(&self, claims: &Value, trick: Trick, elsewhere: &str) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.kid });
        let thief = Mint::new(&self.kid, self.algorithm());
        let set = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            self.token(&claims)
        };
        let with = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            header
        };
        let (now, claims_text) = (claims["iat"].as_u64().unwrap(), claims.to_string());
        match trick {
            Trick::WrongIssuer => set("iss", json!("https://elsewhere.example")),
            Trick::WrongAudience => set("aud", json!("somebody-else")),
            Trick::TwoAudiences => set("aud", json!([claims["aud"], "somebody-else"])),
            Trick::AlgNone => {
                let header = json!({ "alg": "none", "typ": "JWT" });
                format!("{}.{}.", encode(header.to_string()), encode(&claims_text))
            }
            Trick::Hs256WithPublicKey => {
                let header = with("alg", json!("HS256"));
                let text = format!("{}.{}", encode(header.to_string()), encode(&claims_text));
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.jwk().to_string().as_bytes());
                let mac = hmac::sign(&key, text.as_bytes());
                format!("{text}.{}", encode(mac.as_ref()))
            }
            Trick::Expired => {
                let mut claims = claims.clone();
                (claims["iat"], claims["nbf"]) = (json!(now - 1000), json!(now - 1000));
                claims["exp"] = json!(now - 700);
                self.token(&claims)
            }
            Trick::Early => set("nbf", json!(now + 200)),
            Trick::Lasting => set("exp", json!(now + 365 * 24 * 3600)),
            Trick::OtherKeySameKid => thief.token(claims),
            Trick::Jku => {
                let mut header = with("jku", json!(elsewhere));
                header["x5u"] = json!(elsewhere);
                header["kid"] = json!("thief");
                thief.signed(&header, &claims_text)
            }
            Trick::Jwk => thief.signed(&with("jwk", thief.jwk()), &claims_text),
            Trick::UnknownKid => self.signed(&with("kid", json!("nobody")), &claims_text),
            Trick::Crit => {
                let mut header = with("crit", json!(["exp"]));
                header["exp"] = json!(1);
                self.signed(&header, &claims_text)
            }
            Trick::SubTwice => {
                let twice = claims_text.replacen('{', "{\"sub\":\"admin\",", 1);
                self.signed(&header, &twice)
            }
            Trick::Logout => {
                set("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} }))
            }
            Trick::Changed => {
                let token = self.token(claims);
                let signature = token.rsplit('.').next().unwrap().to_owned();
                let mut claims = claims.clone();
                claims["sub"] = json!("admin");
                format!("{}.{}.{signature}", encode(header.to_string()), encode(claims.to_string()))
            }
        }
    }
}
