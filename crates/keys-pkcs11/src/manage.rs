//! Managing keys in a token: list them, and make new ones.

use std::time::Duration;

use aws_lc_rs::rand;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;
use firmseal_keys::Secret;
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::Pkcs11Error;
use crate::object::{ED25519, ML_DSA, P256, P384, PrivateKey, Protection, private_key, private_keys};
use crate::token::{Access, Connection, with_deadline};
use crate::uri::Pkcs11Uri;

/// Longest time that listing may take.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time that making a key may take. RSA-4096 on a smart card is the
/// slowest of all.
const GENERATE_DEADLINE: Duration = Duration::from_secs(300);

/// A private key in a token.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// The URI that names it, without module and PIN.
    pub uri: Pkcs11Uri,
    /// Its public half, or why it cannot be used.
    pub public_key: Result<PublicKey, Pkcs11Error>,
    /// How well it is kept.
    pub protection: Protection,
}

/// Lists the private keys that match the URI in the one token that matches
/// it, usable or not.
pub fn list(uri: &Pkcs11Uri, pin: Option<Secret>) -> Result<Vec<TokenKey>, Pkcs11Error> {
    let uri = uri.clone();
    with_deadline(LIST_DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Read)?;
        let session = connection.session()?;
        let token = connection.token_uri();
        let keys = private_keys(session, &uri)?;
        Ok(keys.iter().map(|key| describe(session, key, &token)).collect())
    })
}

/// Makes a key in the token that the URI names, under the URI's `object`
/// label: sensitive, not extractable, for signing only. Such a key exists
/// nowhere else; how it is backed up is the HSM's own business.
pub fn generate(
    uri: &Pkcs11Uri,
    pin: Option<Secret>,
    algorithm: KeyAlgorithm,
) -> Result<TokenKey, Pkcs11Error> {
    make(uri, pin, algorithm, false)
}

/// The same, but for one thing: the token may wrap the key, until
/// [`confine`](crate::escrow::confine) ends that. Whoever has the PIN can
/// take it out as long.
pub fn generate_escrowable(
    uri: &Pkcs11Uri,
    pin: Option<Secret>,
    algorithm: KeyAlgorithm,
) -> Result<TokenKey, Pkcs11Error> {
    make(uri, pin, algorithm, true)
}

fn make(
    uri: &Pkcs11Uri,
    pin: Option<Secret>,
    algorithm: KeyAlgorithm,
    escrowable: bool,
) -> Result<TokenKey, Pkcs11Error> {
    let label = label(uri)?;
    let uri = uri.clone();
    with_deadline(GENERATE_DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        generate_in(&connection, &label, uri.id.clone(), algorithm, escrowable)
    })
}

/// Destroys a key, both halves, and looks whether it is gone. Only the key of
/// this id: a URI may name another one by now. Whether there was one.
pub fn destroy(uri: &Pkcs11Uri, pin: Option<Secret>, id: &KeyId) -> Result<bool, Pkcs11Error> {
    let (uri, id) = (uri.clone(), *id);
    with_deadline(LIST_DEADLINE, move || {
        let connection = Connection::open(&uri, pin.as_ref(), Access::Write)?;
        let session = connection.session()?;
        let is_it = |key: &PrivateKey| key.public_key(session).is_ok_and(|public| public.id() == id);
        let found: Vec<_> = private_keys(session, &uri)?.into_iter().filter(is_it).collect();
        for key in &found {
            session.destroy_object(key.handle)?;
            let public = [
                Attribute::Token(true),
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::Label(key.label.clone()),
                Attribute::Id(key.id.clone()),
            ];
            for handle in session.find_objects(&public)? {
                session.destroy_object(handle)?;
            }
        }
        // Some modules say yes to everything.
        match private_keys(session, &uri)?.iter().any(is_it) {
            true => Err(Pkcs11Error::Refused("the token has not destroyed the key".to_owned())),
            false => Ok(!found.is_empty()),
        }
    })
}

/// The label that a new key gets.
pub(crate) fn label(uri: &Pkcs11Uri) -> Result<String, Pkcs11Error> {
    let label = uri.object.clone();
    label.ok_or(Pkcs11Error::NotForSigning("a new key needs a label: add `object=` to the URI"))
}

pub(crate) fn describe(session: &Session, key: &PrivateKey, token: &Pkcs11Uri) -> TokenKey {
    TokenKey { uri: key.uri(token), public_key: key.public_key(session), protection: key.protection }
}

fn generate_in(
    connection: &Connection,
    label: &str,
    id: Option<Vec<u8>>,
    algorithm: KeyAlgorithm,
    escrowable: bool,
) -> Result<TokenKey, Pkcs11Error> {
    let (session, token) = (connection.session()?, connection.token_uri());
    let id = free_id(session, label, id)?;

    let (mechanism, shape) = shape(algorithm)?;
    let both =
        [Attribute::Token(true), Attribute::Label(label.as_bytes().to_vec()), Attribute::Id(id.clone())];
    let public = [
        &both[..],
        &shape,
        &[Attribute::Private(false), Attribute::Verify(true), Attribute::Derive(false)],
        match algorithm {
            KeyAlgorithm::Rsa(_) => &[Attribute::Encrypt(false), Attribute::Wrap(false)],
            _ => &[],
        },
    ]
    .concat();
    let private = [
        &both[..],
        &[
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(escrowable),
            Attribute::Sign(true),
            // Sign-only: a key that also decrypts or unwraps can be made to
            // do more than sign.
            Attribute::Derive(false),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
        ],
        match algorithm {
            KeyAlgorithm::Rsa(_) => &[Attribute::SignRecover(false)],
            _ => &[],
        },
    ]
    .concat();
    let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;

    // What the token made, not what we asked for.
    let found = Pkcs11Uri { object: Some(label.to_owned()), id: Some(id), ..Pkcs11Uri::default() };
    // One that may be wrapped is told from others by nothing else.
    let judged = |protection: Protection| match escrowable {
        true => Protection { extractable: false, never_extractable: true, ..protection }.weakness(),
        false => protection.weakness(),
    };
    let answer = private_key(session, &found, &token).and_then(|key| match judged(key.protection) {
        Some(weakness) => Err(Pkcs11Error::NotConfined(weakness)),
        None => Ok(describe(session, &key, &token)),
    });
    if answer.is_err() {
        // A key that is not as it should be must not stay. If that fails
        // too, the first error is the one to read.
        let _ = session.destroy_object(private);
        let _ = session.destroy_object(public);
    }
    answer
}

/// The id of a new object, the one asked for or a random one, if neither it
/// nor the label is taken.
pub(crate) fn free_id(session: &Session, label: &str, id: Option<Vec<u8>>) -> Result<Vec<u8>, Pkcs11Error> {
    // Public halves and certificates count: a later look-up by this label
    // or id must find one key.
    let taken = |name: &str, attribute: Attribute| match session
        .find_objects(&[Attribute::Token(true), attribute])?
    {
        found if found.is_empty() => Ok(()),
        _ => Err(Pkcs11Error::Exists(format!("an object with this {name}"))),
    };
    taken("label", Attribute::Label(label.as_bytes().to_vec()))?;
    let id = match id {
        Some(id) => id,
        None => {
            let mut id = vec![0; 16];
            rand::fill(&mut id).map_err(|_| Pkcs11Error::Busy("no randomness".to_owned()))?;
            id
        }
    };
    taken("id", Attribute::Id(id.clone()))?;
    Ok(id)
}

/// How a key of this algorithm is made, and what tells the token its size.
fn shape(algorithm: KeyAlgorithm) -> Result<(Mechanism<'static>, Vec<Attribute>), Pkcs11Error> {
    let curve = |params: &[u8]| vec![Attribute::EcParams(params.to_vec())];
    Ok(match algorithm {
        KeyAlgorithm::P256 => (Mechanism::EccKeyPairGen, curve(P256)),
        KeyAlgorithm::P384 => (Mechanism::EccKeyPairGen, curve(P384)),
        KeyAlgorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, curve(ED25519)),
        KeyAlgorithm::Rsa(bits @ (2048 | 3072 | 4096)) => (
            Mechanism::RsaPkcsKeyPairGen,
            vec![Attribute::ModulusBits(u64::from(bits).into()), Attribute::PublicExponent(vec![1, 0, 1])],
        ),
        KeyAlgorithm::MlDsa(set) => {
            let named = ML_DSA.iter().find(|(own, _)| *own == set).map(|(_, named)| (*named).into());
            let set = named.ok_or(Pkcs11Error::NotForSigning("an unknown parameter set of ML-DSA"))?;
            (Mechanism::MlDsaKeyPairGen, vec![Attribute::ParameterSet(set)])
        }
        KeyAlgorithm::Lms(_) => {
            return Err(Pkcs11Error::NotForSigning(
                "tokens make no LMS keys that share their count with a log",
            ));
        }
        KeyAlgorithm::Rsa(_) => {
            return Err(Pkcs11Error::NotForSigning("RSA keys have 2048, 3072 or 4096 bits"));
        }
    })
}
