//! The key of the intent log: it signs checkpoints, and which revocation is
//! the newest beside one. A note begins with text and what COSE signs with a
//! byte that no text begins with, so neither passes for the other.
//!
//! It lies beside the log, for this user only, and outside the directory
//! that is served. Whoever has it can sign a forked log; witnesses, which
//! remember what they saw, are what stops that. It is therefore made here
//! and needs no ceremony.
//!
//! The file has one line, as `sumdb/note` writes private keys:
//! `PRIVATE+KEY+<name>+<id>+<base64 of 0x01 and the seed>`. The name is the
//! log's origin. Whoever wants a name of their own puts such a file there
//! before the log is first opened.

use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use firmseal_manifest::{KeyError, PublicKey, Signature, Tbs};
use firmseal_store::StoreError;
use firmseal_tlog::{Checkpoint, Kind, Note, NoteSignature, VerifierKey};
use firmseal_trust::FreshnessSpec;
use zeroize::Zeroizing;

use crate::directory::{create, remove, sync_dir};
use crate::error::file;

const PREFIX: &str = "PRIVATE+KEY+";

/// The key, ready to sign.
pub(crate) struct LogKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl LogKey {
    /// Reads the key at `path`; makes one if there is none and `fresh` says
    /// that nothing was ever signed. `temporary` is on the same disk.
    pub(crate) fn open(path: &Path, temporary: &Path, fresh: bool) -> Result<LogKey, StoreError> {
        match (path.try_exists().map_err(file("look for", path))?, fresh) {
            (true, _) => {}
            (false, true) => make(path, temporary)?,
            // A new key would be another log, which nobody trusts.
            (false, false) => {
                return Err(StoreError::corrupt(format!("the log's key {} is gone; it", path.display())));
            }
        }
        let bytes = firmseal_keys::private::read(path).map_err(|error| StoreError::Unavailable {
            doing: "read the log's key".to_owned(),
            why: error.to_string(),
        })?;
        // Never the text itself: it is the secret.
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| parse(text.trim_end()))
            .ok_or_else(|| StoreError::corrupt(format!("the log's key {}", path.display())))
    }

    /// The key at `path`; `None` where there is none yet.
    pub(crate) fn look(path: &Path) -> Result<Option<VerifierKey>, StoreError> {
        match path.try_exists().map_err(file("look for", path))? {
            // It is there, so none is made and nothing is written.
            true => Ok(Some(LogKey::open(path, path, false)?.verifier)),
            false => Ok(None),
        }
    }

    /// The public half.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a checkpoint of this log.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<Note, firmseal_tlog::Error> {
        let mut note = checkpoint.to_note()?;
        let signature = self.pair.sign(note.text().as_bytes());
        let malformed = firmseal_tlog::Error::Malformed { what: "signature", why: "it has not 64 bytes" };
        let signature = signature.as_ref().try_into().map_err(|_| malformed)?;
        note.push(NoteSignature::new(&self.verifier, signature))?;
        Ok(note)
    }

    /// Signs and seals a freshness document.
    pub(crate) fn seal(&self, spec: &FreshnessSpec) -> Result<Vec<u8>, KeyError> {
        let key = PublicKey::from_ed25519(*self.verifier.public())?;
        match spec.to_be_signed(&key)? {
            Tbs::Message(message) => spec.seal(&key, &Signature(self.pair.sign(&message).as_ref().to_vec())),
            // Ed25519 takes messages only.
            _ => Err(KeyError::Malformed),
        }
    }
}

fn parse(text: &str) -> Option<LogKey> {
    let mut parts = text.strip_prefix(PREFIX)?.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(Base64::decode_vec(key).ok()?);
    let (0x01, seed) = key.split_first()? else { return None };
    let (pair, public) = pair(seed)?;
    let verifier = VerifierKey::new(name, Kind::Ed25519, public).ok()?;
    (id == format!("{:08x}", verifier.id())).then_some(LogKey { pair, verifier })
}

fn pair(seed: &[u8]) -> Option<(Ed25519KeyPair, [u8; 32])> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    let public = pair.public_key().as_ref().try_into().ok()?;
    Some((pair, public))
}

/// Makes a key and its name, which nobody else's log has: it follows from
/// the public key.
fn make(path: &Path, temporary: &Path) -> Result<(), StoreError> {
    let failed = |why: &str| StoreError::Unavailable {
        doing: "make a key for the intent log".to_owned(),
        why: why.to_owned(),
    };
    let mut key = Zeroizing::new([0x01; 33]);
    SystemRandom::new().fill(&mut key[1..]).map_err(|_| failed("there are no random bytes"))?;
    let (_, public) = pair(&key[1..]).ok_or_else(|| failed("the key cannot be made"))?;
    let hash = firmseal_tlog::leaf_hash(&public).to_string();
    let name = format!("firmseal.invalid/{}", &hash[..16]);
    let id = firmseal_tlog::key_id(&name, Kind::Ed25519 as u8, &public);
    let secret = Zeroizing::new(Base64::encode_string(&*key));
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
