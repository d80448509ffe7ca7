//! A key in a token, as a signer.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::slot::Limit;
use firmseal_keys::pool::{Pool, PoolOptions};
use firmseal_keys::scheme::SHA256_DIGEST_INFO;
use firmseal_keys::{Backend, Covered, Secret, SignError, Verifier};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

use crate::error::Pkcs11Error;
use crate::module::lock;
use crate::object::{Protection, mechanism, private_key};
use crate::token::{Access, Connection, with_deadline};
use crate::uri::{ObjectType, Pkcs11Uri};

/// How many sessions a key uses and how long it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Threads, each with a session of its own, unless the URI says how many
    /// sessions. Capped by what the token says it can hold.
    pub threads: usize,
    /// Requests that may wait; more are refused at once.
    pub queue: usize,
    /// Longest time for one request, from handing in to the signature.
    pub deadline: Duration,
}

impl Default for Options {
    /// Four sessions keep a network HSM busy over its round trip; ten
    /// seconds are beyond any HSM that works.
    fn default() -> Options {
        Options { threads: 4, queue: 1024, deadline: Duration::from_secs(10) }
    }
}

/// A signer with its key in a PKCS#11 token.
pub struct Pkcs11Key {
    shared: Arc<Shared>,
    verifier: Verifier,
    pool: Pool<Ask, Result<Option<Signature>, SignError>>,
    protection: Protection,
    uri: Pkcs11Uri,
}

struct Shared {
    /// The URI as given: what is looked up again when a session was lost.
    wanted: Pkcs11Uri,
    pin: Option<Secret>,
    public_key: PublicKey,
    /// The PIN was refused or locked: nobody asks the token any more.
    latched: AtomicBool,
    /// The session that opened the key, for the first worker that needs one.
    first: Mutex<Option<Held>>,
}

/// What a worker is asked for.
enum Ask {
    /// A signature.
    Sign(Tbs),
    /// Whether it could sign.
    Ready,
}

/// A session and the key's handle in it.
struct Held {
    connection: Connection,
    key: ObjectHandle,
}

struct Opened {
    held: Held,
    public_key: PublicKey,
    protection: Protection,
    uri: Pkcs11Uri,
}

fn open(wanted: &Pkcs11Uri, pin: Option<&Secret>) -> Result<Opened, Pkcs11Error> {
    let connection = Connection::open(wanted, pin, Access::Read)?;
    let (session, token) = (connection.session()?, connection.token_uri());
    let key = private_key(session, wanted, &token)?;
    let public_key = key.public_key(session)?;
    let (handle, protection, uri) = (key.handle, key.protection, key.uri(&token));
    Ok(Opened { held: Held { connection, key: handle }, public_key, protection, uri })
}

impl Pkcs11Key {
    /// Opens the one key that the URI names. The PIN comes from
    /// [`crate::read_pin`]; a token with a PIN pad needs none.
    ///
    /// Blocks for up to the deadline; call it at start. After a wrong PIN
    /// the same PIN is refused without asking the token for as long as this
    /// process lives.
    pub fn open(uri: &Pkcs11Uri, pin: Option<Secret>, options: Options) -> Result<Pkcs11Key, Pkcs11Error> {
        if uri.object_type.is_some_and(|object_type| object_type != ObjectType::Private) {
            return Err(Pkcs11Error::NotForSigning("a signing key has `type=private`"));
        }
        let (wanted, offered) = (uri.clone(), pin.clone());
        let opened = with_deadline(options.deadline, move || open(&wanted, offered.as_ref()))?;
        let Opened { held, public_key, protection, uri: found } = opened;
        if !protection.sign {
            return Err(Pkcs11Error::NotForSigning("the key may not sign (CKA_SIGN is false)"));
        }
        if protection.always_authenticate {
            return Err(Pkcs11Error::NotForSigning(
                "the key wants its PIN for every signature (CKA_ALWAYS_AUTHENTICATE); use one that does not",
            ));
        }
        let module = Arc::clone(&held.connection.module);
        let (slot, algorithm) = (held.connection.slot, public_key.algorithm());
        let mechanisms =
            with_deadline(options.deadline, move || Ok(module.context.get_mechanism_list(slot)?))?;
        if mechanism(algorithm, None)
            .is_none_or(|mechanism| !mechanisms.contains(&mechanism.mechanism_type()))
        {
            return Err(CANNOT);
        }
        let sessions = match held.connection.info.max_session_count() {
            Limit::Max(sessions) => usize::try_from(sessions).unwrap_or(usize::MAX).max(1),
            Limit::Unavailable | Limit::Infinite => usize::MAX,
        };
        let verifier = Verifier::new(&public_key)
            .map_err(|_| Pkcs11Error::from(firmseal_manifest::KeyError::Malformed))?;
        let shared = Arc::new(Shared {
            wanted: uri.clone(),
            pin,
            public_key,
            latched: AtomicBool::new(false),
            first: Mutex::new(Some(held)),
        });
        let threads = uri.sessions.map_or(options.threads, usize::from).clamp(1, sessions);
        let pool_options = PoolOptions {
            threads,
            // As many again, if the token can hold that many sessions: those of
            // calls that hang are still open.
            spare: threads.min(sessions - threads),
            queue: options.queue,
            deadline: Some(options.deadline),
        };
        let for_workers = Arc::clone(&shared);
        let pool = Pool::new("pkcs11-key", pool_options, move || {
            let mut worker = Worker { shared: Arc::clone(&for_workers), held: None };
            move |ask: Ask| match ask {
                Ask::Sign(tbs) => worker.sign(&tbs).map(Some),
                Ask::Ready => worker.ready().map(|()| None),
            }
        });
        let pool = pool.map_err(|error| Pkcs11Error::Thread(error.to_string()))?;
        Ok(Pkcs11Key { shared, verifier, pool, protection, uri: found })
    }

    /// How well the token keeps the key.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// The URI that names this key and no other, without module and PIN.
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.uri
    }

    /// One line for people: which key this is, and whether it can leave.
    pub fn describe(&self) -> String {
        let key = &self.shared.public_key;
        let kept = match self.protection.weakness() {
            None => "it cannot leave the token".to_owned(),
            Some(weakness) => format!("weakly kept: {weakness}"),
        };
        format!("{} key {} at {} ({kept})", key.algorithm(), key.id(), self.uri)
    }
}

impl Pkcs11Key {
    async fn ask(&self, ask: Ask) -> Result<Option<Signature>, SignError> {
        self.pool.submit(ask).await.unwrap_or_else(|error| Err(SignError::Unavailable(error.to_string())))
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Key({})", self.describe())
    }
}

impl Backend for Pkcs11Key {
    fn public_half(&self) -> &PublicKey {
        &self.shared.public_key
    }

    fn verifier(&self) -> Option<&Verifier> {
        Some(&self.verifier)
    }

    fn salts_longest(&self) -> bool {
        true
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        if self.shared.latched.load(Ordering::Acquire) {
            return Err(SignError::WrongPin);
        }
        self.ask(Ask::Sign(covered.into_tbs())).await?.ok_or(SignError::BadSignature)
    }

    /// A session with the token, and the key in it. The token itself is
    /// asked: a session that was opened an hour ago says nothing.
    async fn probe(&self) -> Result<(), SignError> {
        if self.shared.latched.load(Ordering::Acquire) {
            return Err(SignError::WrongPin);
        }
        self.ask(Ask::Ready).await.map(drop)
    }

    fn hanging(&self) -> usize {
        self.pool.hanging()
    }
}

struct Worker {
    shared: Arc<Shared>,
    held: Option<Held>,
}

impl Worker {
    /// Signs, and after a lost session or handle once more.
    ///
    /// Only where nothing can have been signed: an entry of the log stands
    /// for one use. Whatever may have signed is made again by whoever makes
    /// it again after any trouble, under another entry. Once only: what
    /// fails twice is not a lost session.
    fn sign(&mut self, tbs: &Tbs) -> Result<Signature, SignError> {
        let answer = match self.attempt(tbs) {
            Err(error) if error.is_lost() => self.attempt(tbs),
            answer => answer,
        };
        answer.map_err(|error| {
            if error.is_pin() {
                self.shared.latched.store(true, Ordering::Release);
            }
            SignError::from(error)
        })
    }

    fn attempt(&mut self, tbs: &Tbs) -> Result<Signature, Pkcs11Error> {
        if self.shared.latched.load(Ordering::Acquire) {
            return Err(Pkcs11Error::WrongPin);
        }
        let algorithm = self.shared.public_key.algorithm();
        let input = input(algorithm, tbs);
        let wanted = mechanism(algorithm, Some(tbs))
            .ok_or_else(|| Pkcs11Error::NotThis("there is no mechanism for such input".to_owned()))?;
        let held = match self.held.take() {
            Some(held) => held,
            None => self.reopen()?,
        };
        match held.connection.session()?.sign(&wanted, held.key, &input) {
            Ok(bytes) => {
                self.held = Some(held);
                Ok(Signature(bytes))
            }
            Err(error) => {
                // Never used again: an operation may be left half done in it.
                held.connection.give_up(&error);
                let usual = mechanism(algorithm, None)
                    .is_some_and(|usual| usual.mechanism_type() == wanted.mechanism_type());
                Err(Pkcs11Error::of_signing(error, usual))
            }
        }
    }

    /// As [`Worker::sign`], without a signature: a session that was lost is
    /// opened once more.
    fn ready(&mut self) -> Result<(), SignError> {
        let answer = match self.look() {
            Err(error) if error.is_lost() => self.look(),
            answer => answer,
        };
        answer.map_err(|error| {
            if error.is_pin() {
                self.shared.latched.store(true, Ordering::Release);
            }
            SignError::from(error)
        })
    }

    /// Reads an attribute of the private key: this needs token, login and
    /// handle, and uses no key.
    fn look(&mut self) -> Result<(), Pkcs11Error> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.reopen()?,
        };
        match held.connection.session()?.get_attributes(held.key, &[AttributeType::Sign]) {
            Ok(_) => {
                self.held = Some(held);
                Ok(())
            }
            Err(error) => {
                held.connection.give_up(&error);
                Err(error.into())
            }
        }
    }

    fn reopen(&self) -> Result<Held, Pkcs11Error> {
        if let Some(first) = lock(&self.shared.first).take() {
            return Ok(first);
        }
        let opened = open(&self.shared.wanted, self.shared.pin.as_ref())?;
        // The same name may have come to stand for another key. Signing with
        // it would not verify; say what happened instead.
        if opened.public_key != self.shared.public_key {
            return Err(Pkcs11Error::Replaced);
        }
        Ok(opened.held)
    }
}

const CANNOT: Pkcs11Error = Pkcs11Error::NotForSigning("the token cannot sign as this key would have to");

/// What goes to the token: the digest, or for Ed25519 and ML-DSA the message.
fn input(algorithm: KeyAlgorithm, tbs: &Tbs) -> Vec<u8> {
    match (tbs, algorithm) {
        (Tbs::Message(message), KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_)) => message.clone(),
        (Tbs::Message(message), KeyAlgorithm::P384) => {
            digest::digest(&digest::SHA384, message).as_ref().to_vec()
        }
        (Tbs::Message(message), _) => digest::digest(&digest::SHA256, message).as_ref().to_vec(),
        (Tbs::Sha256(value) | Tbs::PssMax(value), _) => value.to_vec(),
        (Tbs::Sha384(value), _) => value.to_vec(),
        // CKM_RSA_PKCS pads what it is given, and puts no name of a hash to it.
        (Tbs::Pkcs1(value), _) => [&SHA256_DIGEST_INFO[..], value].concat(),
    }
}
