//! A key of one's own with a log of one's own, for what is signed beside
//! releases: statements about builds, timestamps.

use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use firmseal_core::Hasher;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_evidence::dsse;
use firmseal_keys::{DynSigner, SecretSource, Signer};
use firmseal_manifest::{Digest, Intent, PublicKey, Purpose, Signature, Tbs};
use firmseal_store_local::IntentLog;

use crate::error::{Result, file};
use crate::keys::{self, KeyUri};
use crate::unechoed::unechoed;

/// The log in its directory.
pub const LOG: &str = "intents.log";

/// Opens a log of one's own in a directory, made if it does not exist.
pub fn open_log(directory: &Path) -> Result<IntentLog> {
    let mut made = std::fs::DirBuilder::new();
    made.recursive(true).mode(0o700).create(directory).map_err(file(directory))?;
    Ok(IntentLog::open(&directory.join(LOG))?)
}

/// Which key, and which log.
#[derive(Args)]
pub struct KeyAndLog {
    /// The key, `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub key: KeyUri,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    pub secret: SecretSource,
    /// Your own log, a directory: every use of the key is written there first
    #[arg(long, value_name = "DIR")]
    pub log: PathBuf,
}

/// The key, open.
pub struct OwnKey {
    signer: Arc<dyn DynSigner>,
    log: IntentLog,
}

impl KeyAndLog {
    /// Opens both.
    pub fn open(&self) -> Result<OwnKey> {
        let signer = keys::open(&self.key, &self.secret)?;
        Ok(OwnKey { signer, log: open_log(&self.log)? })
    }
}

/// SHA-256 of what is read.
pub fn sha256(source: &mut dyn Read) -> std::io::Result<Digest> {
    let (mut hasher, mut buffer) = (RustCrypto.sha256(), vec![0; 128 * 1024]);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

impl OwnKey {
    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }

    /// Signs an in-toto statement, in an envelope (DSSE).
    pub async fn attest(&self, statement: &[u8]) -> Result<Vec<u8>> {
        let message = dsse::pae(dsse::STATEMENT, statement);
        let signature = self.sign(Purpose::Attestation, message).await?;
        Ok(dsse::encode(dsse::STATEMENT, statement, self.public_key(), &signature))
    }

    /// Logs the use, then signs.
    pub async fn sign(&self, purpose: Purpose, message: Vec<u8>) -> Result<Signature> {
        let key = self.public_key().clone();
        let intent = Intent {
            purpose,
            subject: RustCrypto.digest(&message),
            keys: vec![key.id()],
            delegation: None,
            statements: Vec::new(),
            requester: key.id().0,
            policy: Digest([0; 32]),
            context: Vec::new(),
        };
        let logged = keys::logged(&self.log, intent, &key).await?;
        Ok(self.signer.sign(logged, Tbs::Message(message)).await?)
    }
}
