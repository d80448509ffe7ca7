//! The keys of a repository, used as every key here: logged first.

use std::sync::Arc;

use firmseal_core::Root;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::known::development_key;
use firmseal_keys::{DynLog, DynSigner, Logged, Signer};
use firmseal_manifest::{Intent, KeyId, PublicKey, Purpose, Signature, Tbs};
use firmseal_sign::{Chain, PipelineError};
use firmseal_tuf::{Draft, Key, Role};

use crate::error::{CliError, Kind, Result};

/// The keys at hand.
pub struct Keys(Vec<Arc<dyn DynSigner>>);

impl Keys {
    /// Keys that are open.
    pub fn new(signers: Vec<Arc<dyn DynSigner>>) -> Keys {
        Keys(signers)
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.iter().map(|signer| signer.public_key().id())
    }

    /// Signs a draft with each of its keys. Every use has an entry of its
    /// own, durable before the key is touched.
    pub async fn sign(&self, draft: &Draft, log: &Arc<dyn DynLog>) -> Result<Vec<(Key, Signature)>> {
        let mut keys: Vec<KeyId> = draft.keys().iter().map(|key| key.public().id()).collect();
        keys.sort();
        let intent = Intent {
            purpose: Purpose::Tuf,
            subject: draft.digest(),
            keys,
            delegation: None,
            statements: Vec::new(),
            requester: RustCrypto.digest(b"firmseal export tuf"),
            policy: firmseal_sign::gate::policy(),
            context: Vec::new(),
        };
        let mut signatures = Vec::new();
        for key in draft.keys() {
            let held = |signer: &&Arc<dyn DynSigner>| signer.public_key() == key.public();
            let Some(signer) = self.0.iter().find(held) else { continue };
            let tbs = draft.to_be_signed(key)?;
            let logged = Logged::append(log, intent.clone()).await.map_err(PipelineError::Log)?;
            signatures.push((key.clone(), signer.sign(logged, tbs).await?));
        }
        Ok(signatures)
    }
}

/// Whether a signature is by this key over these bytes.
pub fn verifies(key: &PublicKey, tbs: &Tbs, signature: &Signature) -> bool {
    firmseal_keys::verify(key, tbs, signature).is_ok()
}

/// Refuses a key that a root document names or named, whatever for: a key
/// has one role. And, in production, one that everybody has.
pub fn stands_apart(key: &Key, role: Role, chain: &Chain, production: bool) -> Result {
    let id = key.public().id();
    for document in chain.roots() {
        let root = Root::decode(document)?;
        let own = root.roles().any(|role| role.keys().any(|(_, key)| key.id(&RustCrypto) == id));
        if own {
            let what = format!("key {id} of {role} stands in root document {} too", root.version());
            return Err(CliError::new(Kind::Refused, what)
                .hint("a key has one role; make keys for the TUF repository alone"));
        }
    }
    match development_key(key.public()).filter(|_| production) {
        Some(known) => Err(CliError::new(
            Kind::Refused,
            format_args!("key {id} of {role} is {known}, which everybody can sign with"),
        )),
        None => Ok(()),
    }
}
