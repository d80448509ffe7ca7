//! Key files: an encrypted private key on disk, for development only.
//!
//! A passphrase is no HSM: whoever reads this process's memory, or the file
//! and the passphrase, has the key for ever and leaves no trace. The code
//! says so wherever a person can see it ([`WARNING`], [`FileKey::describe`]);
//! production refuses key files by their URI.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, thread};

use firmseal_core::lms::Parameters;
use firmseal_manifest::{KeyAlgorithm, KeyError, LmsEntry, PublicKey, Signature};
use zeroize::Zeroizing;

use crate::create::create;
use crate::error::KeysError;
use crate::lms::LmsKey;
use crate::logged::Log;
use crate::pair::{Job, Pair};
use crate::pool::{Pool, PoolOptions};
use crate::sealed;
use crate::secret::Secret;
use crate::signer::{Backend, Covered, SignError};
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
    verifier: Verifier,
    worker: Worker,
    /// The log that counts the leaves of an LMS key.
    log: Option<String>,
}

struct Held {
    algorithm: KeyAlgorithm,
    pair: Pair,
}

/// Where the signature is computed.
///
/// P-256 and Ed25519 take about 10 microseconds, less than waking a thread
/// and coming back costs, and with their check stay within the 100 that an
/// executor forgives between two awaits. P-384 and RSA take up to 2
/// milliseconds and go to threads of their own.
enum Worker {
    Here(Box<Held>),
    Threads(Pool<Job, Result<Signature, SignError>>),
}

impl Held {
    fn sign(&self, job: &Job) -> Result<Signature, SignError> {
        self.pair.sign(self.algorithm, job)
    }
}

impl FileKey {
    /// Makes a key and writes it to a new file, encrypted under the
    /// passphrase, readable by its owner only. When this returns the file
    /// is durable. An existing file is never touched.
    pub fn generate(path: &Path, algorithm: KeyAlgorithm, passphrase: &Secret) -> Result<FileKey, KeysError> {
        if let KeyAlgorithm::Lms(_) = algorithm {
            return Err(KeysError::NeedsLog);
        }
        free(path)?;
        let pair = Pair::generate(algorithm).map_err(|_| KeysError::Crypto("key generation"))?;
        let (key, pem) = FileKey::seal(path, &pair, passphrase)?;
        create(path, pem.as_bytes())?;
        Ok(key)
    }

    /// Makes an LMS key for a log, which will count its leaves; `watched`
    /// says that it is to sign only where witnesses stand behind the log.
    /// Takes up to a minute where the tree is tall.
    pub async fn generate_lms(
        path: &Path,
        set: Parameters,
        passphrase: &Secret,
        log: &(impl Log + ?Sized),
        watched: bool,
    ) -> Result<FileKey, KeysError> {
        free(path)?;
        let name = log.name().ok_or(KeysError::NeedsLog)?;
        let key = LmsKey::generate(set, &name).ok_or(KeysError::Crypto("key generation"))?;
        let leaves = key.leaves();
        let (key, pem) = FileKey::seal(path, &Pair::Lms(Box::new(key)), passphrase)?;
        // In the log first: if we crash on the next line, it knows a key
        // that nobody has. The other way about, nobody would sign with it.
        let entry = LmsEntry::Key { key: key.public_key.id(), leaves, watched };
        log.append(&entry.encode()).await.map_err(KeysError::Log)?;
        create(path, pem.as_bytes())?;
        Ok(key)
    }

    /// Encrypts, and opens what will be on disk: if that cannot be read
    /// back, nothing is written.
    fn seal(
        path: &Path,
        pair: &Pair,
        passphrase: &Secret,
    ) -> Result<(FileKey, Zeroizing<String>), KeysError> {
        let pkcs8 = pair.to_pkcs8().map_err(|_| KeysError::Crypto("encoding of the key"))?;
        let pem = sealed::seal(&pkcs8, passphrase)?;
        Ok((FileKey::from_pem(path, pem.as_bytes(), passphrase)?, pem))
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
        let log = match &pair {
            Pair::Lms(key) => Some(key.log().to_owned()),
            _ => None,
        };
        let held = Held { algorithm, pair };
        let worker = match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => Worker::Here(Box::new(held)),
            KeyAlgorithm::P384 | KeyAlgorithm::Rsa(_) | KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => {
                let threads = thread::available_parallelism().map_or(1, |n| n.get().min(4));
                // No deadline: this is arithmetic, and it ends.
                let options = PoolOptions { threads, spare: 0, queue: 1024, deadline: None };
                let held = Arc::new(held);
                let pool = Pool::new("file-key", options, move || {
                    let held = Arc::clone(&held);
                    move |job: Job| held.sign(&job)
                });
                Worker::Threads(pool.map_err(KeysError::io(path))?)
            }
        };
        Ok(FileKey { path: path.to_owned(), public_key, verifier, worker, log })
    }

    /// Destroys a key file: overwrites it, and takes it away. Whether there
    /// was one.
    ///
    /// The key was encrypted, and overwriting is a courtesy: a disk that
    /// writes elsewhere, a file system that keeps snapshots and every backup
    /// still have the old bytes. Only what never left a token is gone for
    /// certain.
    pub fn destroy(path: &Path) -> Result<bool, KeysError> {
        let io = KeysError::io;
        let mut file = match File::options().write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io(path)(error)),
        };
        let length = file.metadata().map_err(io(path))?.len().min(FILE_MAX);
        let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
        file.write_all(&zeros).and_then(|()| file.sync_all()).map_err(io(path))?;
        fs::remove_file(path).map_err(io(path))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))
            .and_then(|directory| directory.sync_all())
            .map_err(io(path))?;
        Ok(true)
    }

    /// The name of the log that an LMS key was made for.
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
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

impl Backend for FileKey {
    fn public_half(&self) -> &PublicKey {
        &self.public_key
    }

    fn verifier(&self) -> Option<&Verifier> {
        Some(&self.verifier)
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        let leaf = match &self.log {
            None => None,
            Some(log) => {
                let reserved = covered.intent().leaf().and_then(|leaf| leaf.of(&self.public_key.id(), log));
                Some(reserved.ok_or_else(|| SignError::NoLeaf(log.clone()))?)
            }
        };
        let job = Job { tbs: covered.into_tbs(), leaf };
        match &self.worker {
            Worker::Here(held) => held.sign(&job),
            Worker::Threads(pool) => {
                pool.submit(job).await.unwrap_or_else(|error| Err(SignError::Unavailable(error.to_string())))
            }
        }
    }
}

/// Only to save the work; [`create`] decides.
fn free(path: &Path) -> Result<(), KeysError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(KeysError::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}
