//! Key files: an encrypted private key on disk, for development only.
//!
//! A passphrase is no HSM: whoever reads this process's memory, or the file
//! and the passphrase, has the key for ever and leaves no trace. The code
//! says so wherever a person can see it ([`WARNING`], [`FileKey::describe`]);
//! production refuses key files by their URI.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, thread};

use firmseal_manifest::{Intent, KeyAlgorithm, KeyError, PublicKey, Signature, Tbs};
use zeroize::Zeroizing;

use crate::create::create;
use crate::error::KeysError;
use crate::logged::Logged;
use crate::pair::Pair;
use crate::pool::{Pool, PoolOptions};
use crate::sealed;
use crate::secret::Secret;
use crate::signer::{SignError, Signer, check};
use crate::verify::Verifier;

/// What a person is told when a key file is used.
pub const WARNING: &str = "key files are for development only: the private key can be copied without a trace; \
     use a token or an HSM (`pkcs11:...`) for anything that devices in the field trust";

/// Longest key file that is read. RSA-4096 takes 3.4 kB.
const FILE_MAX: u64 = 64 * 1024;

/// A signer with its key in an encrypted file. Development only.
pub struct FileKey {
    path: PathBuf,
    public_key: PublicKey,
    worker: Worker,
}

struct Held {
    algorithm: KeyAlgorithm,
    pair: Pair,
    verifier: Verifier,
}

/// Where the signature is computed.
///
/// P-256 and Ed25519 take about 10 microseconds and their check about 30:
/// hardly more than waking a thread and coming back costs, and within the
/// 100 microseconds that an executor forgives between two awaits. P-384 and
/// RSA take up to 2 milliseconds and go to threads of their own.
enum Worker {
    Here(Box<Held>),
    Threads(Pool<Tbs, Result<Signature, SignError>>),
}

impl Held {
    fn sign(&self, tbs: &Tbs) -> Result<Signature, SignError> {
        let signature = self.pair.sign(self.algorithm, tbs)?;
        // A fault in the computation can leak the key through the bad
        // signature (RSA with the Chinese remainder theorem most of all):
        // it must not leave.
        self.verifier.verify(tbs, &signature).map_err(|_| SignError::BadSignature)?;
        Ok(signature)
    }
}

impl FileKey {
    /// Makes a key and writes it to a new file, encrypted under the
    /// passphrase, readable by its owner only. When this returns the file
    /// is durable. An existing file is never touched.
    pub fn generate(path: &Path, algorithm: KeyAlgorithm, passphrase: &Secret) -> Result<FileKey, KeysError> {
        // Only to save the work; `create` decides.
        if fs::symlink_metadata(path).is_ok() {
            return Err(KeysError::Exists(path.to_owned()));
        }
        let pair = Pair::generate(algorithm).map_err(|_| KeysError::Crypto("key generation"))?;
        let pkcs8 = pair.to_pkcs8().map_err(|_| KeysError::Crypto("encoding of the key"))?;
        let pem = sealed::seal(&pkcs8, passphrase)?;
        // Opened from what will be on disk: if that cannot be read back,
        // nothing is written.
        let key = FileKey::from_pem(path, pem.as_bytes(), passphrase)?;
        create(path, pem.as_bytes())?;
        Ok(key)
    }

    /// Opens a key file, ours or OpenSSL's.
    pub fn open(path: &Path, passphrase: &Secret) -> Result<FileKey, KeysError> {
        let mut pem = Zeroizing::new(Vec::new());
        let file = File::open(path).map_err(KeysError::io(path))?;
        file.take(FILE_MAX + 1).read_to_end(&mut pem).map_err(KeysError::io(path))?;
        if pem.len() as u64 > FILE_MAX {
            return Err(KeysError::NotAKey { path: path.to_owned(), why: "it is larger than any key" });
        }
        FileKey::from_pem(path, &pem, passphrase)
    }

    fn from_pem(path: &Path, pem: &[u8], passphrase: &Secret) -> Result<FileKey, KeysError> {
        let unsupported = |error| KeysError::UnsupportedKey { path: path.to_owned(), error };
        let pkcs8 = sealed::open(path, pem, passphrase)?;
        let pair = Pair::from_pkcs8(pkcs8.as_bytes()).map_err(|error| match error {
            // DER by chance: the passphrase was wrong after all.
            KeyError::Malformed => KeysError::WrongPassphrase { path: path.to_owned() },
            error => unsupported(error),
        })?;
        let public_key = pair.public_key().map_err(unsupported)?;
        let algorithm = public_key.algorithm();
        let verifier = Verifier::new(&public_key).map_err(|_| unsupported(KeyError::Malformed))?;
        let held = Held { algorithm, pair, verifier };
        let worker = match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => Worker::Here(Box::new(held)),
            KeyAlgorithm::P384 | KeyAlgorithm::Rsa(_) | KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => {
                let threads = thread::available_parallelism().map_or(1, |n| n.get().min(4));
                // No deadline: this is arithmetic, and it ends.
                let options = PoolOptions { threads, queue: 1024, deadline: None };
                let held = Arc::new(held);
                let pool = Pool::new("file-key", options, move || {
                    let held = Arc::clone(&held);
                    move |tbs: Tbs| held.sign(&tbs)
                });
                Worker::Threads(pool.map_err(KeysError::io(path))?)
            }
        };
        Ok(FileKey { path: path.to_owned(), public_key, worker })
    }

    /// One line for people: which key this is, and what it is not for.
    pub fn describe(&self) -> String {
        let key = &self.public_key;
        format!("{} key {} in the file {} (development only)", key.algorithm(), key.id(), self.path.display())
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({})", self.describe())
    }
}

impl Signer for FileKey {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        check(&self.public_key, &intent, &tbs)?;
        match &self.worker {
            Worker::Here(held) => held.sign(&tbs),
            Worker::Threads(pool) => {
                pool.submit(tbs).await.unwrap_or_else(|error| Err(SignError::Unavailable(error.to_string())))
            }
        }
    }
}
