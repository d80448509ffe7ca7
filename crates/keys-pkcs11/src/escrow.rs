//! Escrow of keys that live in tokens: one token wraps a key, another one
//! unwraps it. In between it is encrypted; no memory but the tokens' ever
//! holds it in the clear.
//!
//! The wrapping key is an object of one session, gone when that ends. A key
//! that may be wrapped may be wrapped by whoever has the PIN, under a key
//! that they choose. So an escrowable key is one for as long as it takes:
//! when its shares are safe, [`confine`] ends it for good.

use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use firmseal_keys::Secret;
use firmseal_keys::wrapped::{Wrapped, WrappingKey};
use firmseal_manifest::{KeyAlgorithm, PublicKey};
use zeroize::Zeroize;

use crate::error::Pkcs11Error;
use crate::manage::{TokenKey, describe, free_id, label};
use crate::object::{ED25519, P256, P384, private_key};
use crate::token::{Access, Connection, with_deadline};
use crate::uri::Pkcs11Uri;

/// Longest time for one of these. They are a few calls each.
const DEADLINE: Duration = Duration::from_secs(60);
/// AES Key Wrap with Padding (RFC 5649; PKCS #11 v3.1 §6.13.3): private keys
/// are no multiples of 8 bytes.
const WRAP: Mechanism<'static> = Mechanism::AesKeyWrapPad;

/// Has the token wrap the key that the URI names, and unwrap it again to see
/// that it can be done.
pub fn wrap(uri: &Pkcs11Uri, pin: Option<Secret>, wrapping: &WrappingKey) -> Result<Wrapped, Pkcs11Error> {
    let (uri, wrapping) = (uri.clone(), wrapping.clone());
    with_deadline(DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        let session = connection.session()?;
        let key = private_key(session, &uri, &connection.token_uri())?;
        if !key.protection.extractable {
            return Err(Pkcs11Error::CannotLeave);
        }
        let public = key.public_key(session)?;
        let under = wrapping_key(session, &wrapping)?;
        let wrapped = session.wrap_key(&WRAP, under, key.handle).and_then(|bytes| {
            let again = session.unwrap_key(&WRAP, under, &bytes, &private(&public, false))?;
            session.destroy_object(again)?;
            Ok(bytes)
        });
        // Otherwise the end of the session does it.
        let _ = session.destroy_object(under);
        Ok(Wrapped { bytes: wrapped.map_err(cannot)?, public })
    })
}

/// Takes away for good what made the key escrowable. Asks the token whether
/// it did.
pub fn confine(uri: &Pkcs11Uri, pin: Option<Secret>) -> Result<(), Pkcs11Error> {
    let uri = uri.clone();
    with_deadline(DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        let (session, token) = (connection.session()?, connection.token_uri());
        let key = private_key(session, &uri, &token)?;
        // PKCS #11 v3.1 §4.9: it may be changed to false, and never back.
        session.update_attributes(key.handle, &[Attribute::Extractable(false)])?;
        match private_key(session, &uri, &token)?.protection.extractable {
            true => Err(Pkcs11Error::StillExtractable),
            false => Ok(()),
        }
    })
}

/// Unwraps a key into the token that the URI names, under the URI's `object`
/// label: sensitive, not extractable, for signing only. Whether it is the
/// private half of `wrapped.public` shows when it has signed;
/// [`discard`] takes it away again.
pub fn unwrap(
    uri: &Pkcs11Uri,
    pin: Option<Secret>,
    wrapping: &WrappingKey,
    wrapped: &Wrapped,
) -> Result<TokenKey, Pkcs11Error> {
    let (uri, wrapping, wrapped) = (uri.clone(), wrapping.clone(), wrapped.clone());
    with_deadline(DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        let (session, token) = (connection.session()?, connection.token_uri());
        let name = label(&uri)?;
        let id = free_id(session, &name, uri.id.clone())?;
        let names = [Attribute::Label(name.as_bytes().to_vec()), Attribute::Id(id.clone())];
        let beside = [&public(&wrapped.public)?[..], &names].concat();
        let under = wrapping_key(session, &wrapping)?;
        let template = [&private(&wrapped.public, true)[..], &names].concat();
        let made = session.unwrap_key(&WRAP, under, &wrapped.bytes, &template);
        let _ = session.destroy_object(under);
        // A broken link looks like a wrong key to some modules, which say
        // "general error" to it; nothing was made in either case.
        let made = made.map_err(|error| match Pkcs11Error::from(error) {
            Pkcs11Error::Refused(why) | Pkcs11Error::Lost(why) => Pkcs11Error::CannotUnwrap(why),
            error => error,
        })?;

        let found = Pkcs11Uri { object: Some(name), id: Some(id), ..Pkcs11Uri::default() };
        let (beside, answer) = match session.create_object(&beside) {
            Ok(beside) => (Some(beside), look(session, &found, &token)),
            Err(error) => (None, Err(error.into())),
        };
        if answer.is_err() {
            // A key that is not as it should be must not stay. If that fails
            // too, the first error is the one to read.
            for object in [Some(made), beside].into_iter().flatten() {
                let _ = session.destroy_object(object);
            }
        }
        answer
    })
}

/// What the token made, not what it was asked for. That the key came from
/// elsewhere is known.
fn look(session: &Session, found: &Pkcs11Uri, token: &Pkcs11Uri) -> Result<TokenKey, Pkcs11Error> {
    let key = private_key(session, found, token)?;
    match key.protection.extractable || !key.protection.sensitive {
        true => Err(Pkcs11Error::NotConfined("it was unwrapped so that it can be read or wrapped")),
        false => Ok(describe(session, &key, token)),
    }
}

/// Destroys the one key that the URI names, with its public half: what
/// [`unwrap`] made and what then did not sign as it should.
pub fn discard(uri: &Pkcs11Uri, pin: Option<Secret>) -> Result<(), Pkcs11Error> {
    let uri = uri.clone();
    with_deadline(DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        let session = connection.session()?;
        let key = private_key(session, &uri, &connection.token_uri())?;
        session.destroy_object(key.handle)?;
        let public = [
            Attribute::Token(true),
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(key.label),
            Attribute::Id(key.id),
        ];
        for handle in session.find_objects(&public)? {
            session.destroy_object(handle)?;
        }
        Ok(())
    })
}

/// Gives the session the wrapping key.
fn wrapping_key(session: &Session, wrapping: &WrappingKey) -> Result<ObjectHandle, Pkcs11Error> {
    let mut template = [
        Attribute::Value(wrapping.expose().to_vec()),
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
    ];
    let made = session.create_object(&template);
    if let [Attribute::Value(bytes), ..] = &mut template {
        bytes.zeroize();
    }
    made.map_err(cannot)
}

/// How an unwrapped private key shall be.
fn private(public: &PublicKey, stays: bool) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(key_type(public.algorithm())),
        Attribute::Token(stays),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Derive(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ]
}

/// The public half as an object beside it, but for its names.
fn public(public: &PublicKey) -> Result<Vec<Attribute>, Pkcs11Error> {
    let algorithm = public.algorithm();
    let mut out = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(algorithm)),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
    ];
    let curve = |params: &[u8]| {
        let point = public.bits();
        // A DER OCTET STRING; none of these is longer than 127 bytes.
        [
            Attribute::EcParams(params.to_vec()),
            Attribute::EcPoint([&[4, point.len() as u8], &point[..]].concat()),
        ]
    };
    match algorithm {
        KeyAlgorithm::P256 => out.extend(curve(P256)),
        KeyAlgorithm::P384 => out.extend(curve(P384)),
        KeyAlgorithm::Ed25519 => out.extend(curve(ED25519)),
        KeyAlgorithm::Rsa(_) => {
            let (modulus, exponent) = public.rsa().ok_or(Pkcs11Error::NoPublicKey)?;
            out.push(Attribute::Modulus(modulus.to_vec()));
            out.push(Attribute::PublicExponent(exponent.to_vec()));
            // For signatures only, as when a key is made.
            out.extend([Attribute::Encrypt(false), Attribute::Wrap(false)]);
        }
        KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
            return Err(Pkcs11Error::NotForSigning("tokens hold no such keys here"));
        }
    }
    Ok(out)
}

fn key_type(algorithm: KeyAlgorithm) -> KeyType {
    match algorithm {
        KeyAlgorithm::Rsa(_) => KeyType::RSA,
        KeyAlgorithm::Ed25519 => KeyType::EC_EDWARDS,
        _ => KeyType::EC,
    }
}

/// A token that lacks the mechanism, takes no wrapping key or does not wrap
/// this type of key will not learn it: said as what it means.
fn cannot(error: cryptoki::error::Error) -> Pkcs11Error {
    match Pkcs11Error::from(error) {
        Pkcs11Error::Refused(why) => Pkcs11Error::CannotWrap(why),
        error => error,
    }
}
