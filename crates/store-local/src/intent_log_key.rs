//! The keys of the intent log: they sign checkpoints, and the first of them
//! which revocation is the newest beside one. A note begins with text and
//! what COSE signs with a byte that no text begins with, so neither passes
//! for the other.
//!
//! They lie beside the log, for this user only, and outside the directory
//! that is served. Whoever has them can sign a forked log; witnesses, which
//! remember what they saw, are what stops that. They are therefore made here
//! and need no ceremony.
//!
//! `intents.key` is Ed25519, which every reader of notes knows. Its name is
//! the log's origin. `intents.ml-dsa-44.key` signs beside it, under the same
//! name (tlog-checkpoint); a log of before there was one gets it when it is
//! next opened. Where `intents.ml-dsa-87.key` is there, it signs as well.
//!
//! A file has one line, as `sumdb/note` writes private keys:
//! `PRIVATE+KEY+<name>+<id>+<base64 of the type and the seed>`. Whoever wants
//! a name of their own puts such a file there before the log is first
//! opened.

use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, ML_DSA_44_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair};
use base64ct::{Base64, Encoding};
use firmseal_manifest::{KeyError, PublicKey, Signature, Tbs};
use firmseal_store::StoreError;
use firmseal_tlog::{Checkpoint, Kind, Note, NoteSignature, VerifierKey};
use firmseal_trust::FreshnessSpec;
use zeroize::Zeroizing;

use crate::directory::{create, remove, sync_dir};
use crate::error::file;

const PREFIX: &str = "PRIVATE+KEY+";

/// Length of a seed, of either algorithm.
const SEED: usize = 32;

/// The kinds of keys that stand beside the first, with what their files are
/// called.
const BESIDE: [(Kind, &str); 2] = [(Kind::MlDsa44, "ml-dsa-44.key"), (Kind::MlDsa87, "ml-dsa-87.key")];

/// A key pair. The library wipes the private half when it is dropped.
enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

/// One key, ready to sign.
struct One {
    pair: Pair,
    verifier: VerifierKey,
}

/// The log's keys, ready to sign.
pub(crate) struct LogKey {
    /// Never empty; the first is Ed25519.
    keys: Vec<One>,
    /// Their public halves.
    verifiers: Vec<VerifierKey>,
    verifier: VerifierKey,
}

impl LogKey {
    /// Reads the keys of the log at `path`; makes them if there are none and
    /// `published`, its checkpoint, says that nothing was ever signed.
    /// `temporary` is on the same disk.
    pub(crate) fn open(path: &Path, temporary: &Path, published: &[u8]) -> Result<LogKey, StoreError> {
        let first = path.with_extension("key");
        // A new key would be another log, which nobody trusts.
        if !exists(&first)? {
            if !published.is_empty() {
                return Err(gone(&first));
            }
            make(&first, temporary, Kind::Ed25519, None)?;
        }
        let key = LogKey::read(path)?;
        if key.keys.iter().any(|one| one.verifier.kind() == Kind::MlDsa44) {
            return Ok(key);
        }
        let beside = path.with_extension(BESIDE[0].1);
        // Signed for once, it is one that others know.
        let name = key.verifier.name();
        let signed = |line: &&NoteSignature| line.name() == name && is_ml_dsa_44(line);
        if Note::parse(published).is_ok_and(|note| note.signatures().iter().any(|line| signed(&line))) {
            return Err(gone(&beside));
        }
        make(&beside, temporary, Kind::MlDsa44, Some(name))?;
        LogKey::read(path)
    }

    /// The keys of the log at `path`; none where there are none yet.
    pub(crate) fn look(path: &Path) -> Result<Vec<VerifierKey>, StoreError> {
        match exists(&path.with_extension("key"))? {
            true => Ok(LogKey::read(path)?.verifiers),
            false => Ok(Vec::new()),
        }
    }

    /// Makes the key that nobody has unless they ask for it.
    pub(crate) fn add_ml_dsa_87(path: &Path, temporary: &Path) -> Result<VerifierKey, StoreError> {
        let (kind, extension) = BESIDE[1];
        let beside = path.with_extension(extension);
        if exists(&beside)? {
            return Err(StoreError::conflict("the log has an ML-DSA-87 key"));
        }
        make(&beside, temporary, kind, Some(LogKey::read(path)?.verifier.name()))?;
        Ok(One::read(&beside, kind)?.verifier)
    }

    /// Reads the keys that are there.
    fn read(path: &Path) -> Result<LogKey, StoreError> {
        let one = One::read(&path.with_extension("key"), Kind::Ed25519)?;
        let verifier = one.verifier.clone();
        let mut keys = vec![one];
        for (kind, extension) in BESIDE {
            let path = path.with_extension(extension);
            if exists(&path)? {
                let one = One::read(&path, kind)?;
                if one.verifier.name() != verifier.name() {
                    return Err(StoreError::corrupt(format!("{}, a key of another log,", path.display())));
                }
                keys.push(one);
            }
        }
        let verifiers = keys.iter().map(|one| one.verifier.clone()).collect();
        Ok(LogKey { keys, verifiers, verifier })
    }

    /// The public half of the Ed25519 key.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The public halves of all keys, that one first.
    pub(crate) fn verifiers(&self) -> &[VerifierKey] {
        &self.verifiers
    }

    /// Whether every key has signed this checkpoint. One that does not
    /// verify is an error.
    pub(crate) fn have_signed(&self, note: &Note) -> Result<bool, firmseal_tlog::Error> {
        Ok(note.verify(&self.verifiers)?.len() == self.keys.len())
    }

    /// Signs a checkpoint of this log, at a time in seconds since 1970.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint, now: u64) -> Result<Note, firmseal_tlog::Error> {
        let mut note = checkpoint.to_note()?;
        for One { pair, verifier } in &self.keys {
            let message = verifier.message(now, note.text())?;
            let line = match pair {
                Pair::Ed25519(pair) => NoteSignature::new(verifier, pair.sign(&message).as_ref()),
                Pair::MlDsa(pair) => {
                    let mut signature = vec![0; pair.algorithm().signature_len()];
                    pair.sign(&message, &mut signature).map_err(|_| firmseal_tlog::Error::Malformed {
                        what: "signature",
                        why: "it could not be computed",
                    })?;
                    NoteSignature::timed(verifier, now, &signature)
                }
            };
            note.push(line)?;
        }
        Ok(note)
    }

    /// Signs and seals a freshness document, which devices verify: with
    /// Ed25519.
    pub(crate) fn seal(&self, spec: &FreshnessSpec) -> Result<Vec<u8>, KeyError> {
        let key = self.verifier.ed25519().ok_or(KeyError::Malformed)?;
        let key = PublicKey::from_ed25519(*key)?;
        match (spec.to_be_signed(&key)?, self.keys.first().map(|one| &one.pair)) {
            (Tbs::Message(message), Some(Pair::Ed25519(pair))) => {
                spec.seal(&key, &Signature(pair.sign(&message).as_ref().to_vec()))
            }
            // Ed25519 takes messages only.
            _ => Err(KeyError::Malformed),
        }
    }
}

impl One {
    fn read(path: &Path, kind: Kind) -> Result<One, StoreError> {
        let bytes = firmseal_keys::private::read(path).map_err(|error| StoreError::Unavailable {
            doing: "read the log's key".to_owned(),
            why: error.to_string(),
        })?;
        // Never the text itself: it is the secret.
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| parse(text.trim_end(), kind))
            .ok_or_else(|| StoreError::corrupt(format!("the log's key {}", path.display())))
    }
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(file("look for", path))
}

fn gone(path: &Path) -> StoreError {
    StoreError::corrupt(format!("the log's key {} is gone; it", path.display()))
}

/// Whether a line has the length of such a signature: a time and 2,420
/// bytes.
fn is_ml_dsa_44(line: &NoteSignature) -> bool {
    line.bytes().len() == 8 + 2420
}

fn parse(text: &str, kind: Kind) -> Option<One> {
    let mut parts = text.strip_prefix(PREFIX)?.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(Base64::decode_vec(key).ok()?);
    let (pair, public) = pair(kind, key.strip_prefix(kind.identifier())?)?;
    let verifier = VerifierKey::new(name, kind, public).ok()?;
    (id == format!("{:08x}", verifier.id())).then_some(One { pair, verifier })
}

fn pair(kind: Kind, seed: &[u8]) -> Option<(Pair, Vec<u8>)> {
    let scheme = match kind {
        Kind::Ed25519 => {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
            let public = pair.public_key().as_ref().to_vec();
            return Some((Pair::Ed25519(pair), public));
        }
        Kind::MlDsa44 => &ML_DSA_44_SIGNING,
        Kind::MlDsa87 => &ML_DSA_87_SIGNING,
        Kind::Cosignature => return None,
    };
    let pair = PqdsaKeyPair::from_seed(scheme, seed).ok()?;
    let public = pair.public_key().as_ref().to_vec();
    Some((Pair::MlDsa(pair), public))
}

/// Makes a key. The first one gets a name that nobody else's log has: it
/// follows from the public key. The others are made under the first one's.
fn make(path: &Path, temporary: &Path, kind: Kind, name: Option<&str>) -> Result<(), StoreError> {
    let failed = |why: &str| StoreError::Unavailable {
        doing: "make a key for the intent log".to_owned(),
        why: why.to_owned(),
    };
    let mut seed = Zeroizing::new([0; SEED]);
    SystemRandom::new().fill(&mut *seed).map_err(|_| failed("there are no random bytes"))?;
    let (_, public) = pair(kind, &*seed).ok_or_else(|| failed("the key cannot be made"))?;
    let own = || format!("firmseal.invalid/{}", &firmseal_tlog::leaf_hash(&public).to_string()[..16]);
    let name = name.map_or_else(own, str::to_owned);
    let id = firmseal_tlog::key_id(&name, kind, &public);
    let key = Zeroizing::new([kind.identifier(), &*seed].concat());
    let secret = Zeroizing::new(Base64::encode_string(&key));
    let text = Zeroizing::new(format!("{PREFIX}{name}+{id:08x}+{}\n", *secret));
    remove(temporary)?;
    create(temporary)?
        .write_all(text.as_bytes())
        .and_then(|()| std::fs::File::open(temporary)?.sync_all())
        .and_then(|()| std::fs::rename(temporary, path))
        .map_err(file("write", path))?;
    sync_dir(&parent(path))
}

/// The directory of a file that has a bare name is the one we are in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
