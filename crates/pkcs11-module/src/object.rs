//! Objects: a private key, its public half and its certificate, as templates
//! find them.

use cryptoki_sys::*;
use firmseal_manifest::{KeyAlgorithm, KeyName, PublicKey};
use pkcs1::RsaPublicKeyRef;

use crate::config::Blind;
use crate::fault::{Fault, Result};

/// A key of the service.
#[derive(Clone)]
pub struct Key {
    /// Its name there.
    pub name: KeyName,
    /// Its public half.
    pub public: PublicKey,
    /// For what it signs digests that nobody derived, if it may.
    pub blind: Option<Blind>,
}

/// What a caller sees: attributes by type.
pub struct Object {
    attributes: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
    /// The key, of a private key.
    pub key: Option<Key>,
}

/// What a caller gets of an attribute.
pub enum Seen<'a> {
    /// Its value.
    Value(&'a [u8]),
    /// It is there, and stays where it is.
    Sensitive,
    /// The object has none.
    Absent,
}

impl Object {
    /// Whether every attribute of a template is as it says. An empty one
    /// finds everything.
    pub fn fits(&self, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> bool {
        template.iter().all(|wanted| self.attributes.contains(wanted))
    }

    /// An attribute.
    pub fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Seen<'_> {
        const PRIVATE: [CK_ATTRIBUTE_TYPE; 7] = [
            CKA_VALUE,
            CKA_PRIVATE_EXPONENT,
            CKA_PRIME_1,
            CKA_PRIME_2,
            CKA_EXPONENT_1,
            CKA_EXPONENT_2,
            CKA_COEFFICIENT,
        ];
        if self.key.is_some() && PRIVATE.contains(&kind) {
            return Seen::Sensitive;
        }
        let found = self.attributes.iter().find(|(own, _)| *own == kind);
        found.map_or(Seen::Absent, |(_, value)| Seen::Value(value))
    }
}

fn number(value: CK_ULONG) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn yes(value: bool) -> Vec<u8> {
    vec![CK_BBOOL::from(value)]
}

/// DER: a value with its tag and length, of up to 65535 bytes.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len @ 0x80..=0xff => out.extend([0x81, len as u8]),
        len => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(value);
    out
}

/// The objects of a key: private, public, and a certificate if there is one.
pub fn objects(key: Key, certificate: Option<&[u8]>) -> Result<Vec<Object>> {
    let shared = |class| {
        vec![
            (CKA_CLASS, number(class)),
            (CKA_TOKEN, yes(true)),
            (CKA_MODIFIABLE, yes(false)),
            (CKA_LABEL, key.name.as_str().as_bytes().to_vec()),
            (CKA_ID, key.public.id().0.as_bytes().to_vec()),
        ]
    };
    let half = half(&key.public)?;
    let mut public = shared(CKO_PUBLIC_KEY);
    public.extend([
        (CKA_PRIVATE, yes(false)),
        (CKA_VERIFY, yes(true)),
        (CKA_ENCRYPT, yes(false)),
        (CKA_WRAP, yes(false)),
    ]);
    public.extend(half.clone());
    let mut private = shared(CKO_PRIVATE_KEY);
    private.extend([
        // Whoever has the token's file is in: there is nothing to log in to.
        (CKA_PRIVATE, yes(false)),
        (CKA_SIGN, yes(true)),
        (CKA_SIGN_RECOVER, yes(false)),
        (CKA_DECRYPT, yes(false)),
        (CKA_UNWRAP, yes(false)),
        (CKA_DERIVE, yes(false)),
        (CKA_SENSITIVE, yes(true)),
        (CKA_ALWAYS_SENSITIVE, yes(true)),
        (CKA_EXTRACTABLE, yes(false)),
        (CKA_NEVER_EXTRACTABLE, yes(true)),
        (CKA_ALWAYS_AUTHENTICATE, yes(false)),
    ]);
    private.extend(half);
    let mut all = Vec::new();
    if let Some(certificate) = certificate {
        all.push(Object {
            attributes: of_certificate(shared(CKO_CERTIFICATE), certificate, &key)?,
            key: None,
        });
    }
    all.push(Object { attributes: public, key: None });
    all.push(Object { attributes: private, key: Some(key) });
    Ok(all)
}

/// What both halves say of the key.
fn half(public: &PublicKey) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>> {
    let curve = |kind, params: &[u8]| {
        vec![
            (CKA_KEY_TYPE, number(kind)),
            (CKA_EC_PARAMS, params.to_vec()),
            (CKA_EC_POINT, der(0x04, &public.bits())),
        ]
    };
    let mut half = match public.algorithm() {
        // The curves' object identifiers (RFC 5480 §2.1.1.1, RFC 8410 §3).
        KeyAlgorithm::P256 => curve(CKK_EC, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
        KeyAlgorithm::P384 => curve(CKK_EC, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
        KeyAlgorithm::Ed25519 => curve(CKK_EC_EDWARDS, &[6, 3, 0x2b, 0x65, 0x70]),
        KeyAlgorithm::Rsa(bits) => {
            let spelt = public.bits();
            let key = RsaPublicKeyRef::try_from(&spelt[..])
                .map_err(|error| Fault::failed(format_args!("key {}: {error}", public.id())))?;
            vec![
                (CKA_KEY_TYPE, number(CKK_RSA)),
                (CKA_MODULUS, key.modulus.as_bytes().to_vec()),
                (CKA_PUBLIC_EXPONENT, key.public_exponent.as_bytes().to_vec()),
                (CKA_MODULUS_BITS, number(bits.into())),
            ]
        }
        KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => Vec::new(),
    };
    half.push((CKA_PUBLIC_KEY_INFO, public.spki().to_vec()));
    Ok(half)
}

fn of_certificate(
    mut attributes: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
    certificate: &[u8],
    key: &Key,
) -> Result<Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| Fault::failed(format_args!("the certificate of key {}: {error}", key.name)))?;
    if parsed.public_key().raw != key.public.spki() {
        return Err(Fault::failed(format_args!("the certificate of key {} is another key's", key.name)));
    }
    attributes.extend([
        (CKA_PRIVATE, yes(false)),
        (CKA_CERTIFICATE_TYPE, number(CKC_X_509)),
        (CKA_SUBJECT, parsed.subject().as_raw().to_vec()),
        (CKA_ISSUER, parsed.issuer().as_raw().to_vec()),
        (CKA_SERIAL_NUMBER, der(0x02, parsed.raw_serial())),
        (CKA_VALUE, certificate.to_vec()),
    ]);
    Ok(attributes)
}
