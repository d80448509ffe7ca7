//! The drill's root custodian: signs the root document that follows.

use std::path::PathBuf;

use firmseal_core::Root;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::{FileKey, Logged, Secret, Signer};
use firmseal_manifest::{Intent, KeyAlgorithm, PublicKey, Purpose};
use firmseal_sign::PipelineError;
use firmseal_store_local::IntentLog;
use firmseal_trust::{Holder, Role, RootError, RootSpec};

use crate::error::{Result, file};
use crate::place::{Place, layout};

/// Keys and a log of the drill's own place.
pub struct Custodian<'p> {
    pub place: &'p Place,
    pub log: &'p IntentLog,
}

impl Custodian<'_> {
    /// What opens the key files of the place.
    pub fn passphrase(&self) -> Result<Secret> {
        let path = self.place.path(layout::PASSPHRASE);
        let text = zeroize::Zeroizing::new(std::fs::read(&path).map_err(file(&path))?);
        Ok(Secret::new(text.trim_ascii().to_vec()))
    }

    /// A key of the place.
    pub fn key(&self, name: &str) -> Result<FileKey> {
        Ok(FileKey::open(&self.key_path(name), &self.passphrase()?)?)
    }

    /// Makes a key in the place.
    pub fn generate(&self, name: &str) -> Result<FileKey> {
        Ok(FileKey::generate(&self.key_path(name), KeyAlgorithm::Ed25519, &self.passphrase()?)?)
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.place.path(layout::KEYS).join(format!("{name}.pem"))
    }

    /// The next root document with one more holder of the release role.
    pub async fn add(&self, newest: &[u8], name: &str, key: &PublicKey) -> Result<Vec<u8>> {
        let holder = Holder { name: name.to_owned(), keys: vec![key.clone()] };
        self.next(newest, |role| role.push(holder)).await
    }

    /// The next root document without a key of the release role.
    pub async fn remove(&self, newest: &[u8], key: &PublicKey) -> Result<Vec<u8>> {
        self.next(newest, |role| role.retain(|holder| !holder.keys.contains(key))).await
    }

    async fn next(&self, newest: &[u8], change: impl FnOnce(&mut Vec<Holder>)) -> Result<Vec<u8>> {
        let mut spec = RootSpec::of(&Root::decode(newest)?)?;
        spec.version = spec.version.saturating_add(1);
        if let Some(role) = spec.roles.iter_mut().find(|role| role.role == Role::Release) {
            change(&mut role.holders);
        }
        let (unsigned, key) = (spec.assemble()?, self.key("root")?);
        let intent = Intent {
            purpose: Purpose::Root,
            subject: unsigned.digest(),
            keys: vec![key.public_key().id()],
            delegation: None,
            statements: Vec::new(),
            requester: RustCrypto.digest(b"firmseal drill"),
            policy: firmseal_sign::gate::policy(),
            context: Vec::new(),
        };
        let logged = Logged::append(self.log, intent).await.map_err(PipelineError::Log)?;
        let tbs = unsigned.to_be_signed(key.public_key()).map_err(RootError::Key)?;
        let signature = key.sign(logged, tbs).await?;
        Ok(unsigned.seal_after(newest, &[(key.public_key(), signature)])?)
    }
}
