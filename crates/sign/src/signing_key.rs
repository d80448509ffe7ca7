//! Signing keys: a signer with the rules it signs by.
//!
//! The signer inside is reached through a [`KeyUse`] alone, which is made
//! where the rules permit and is gone with the signature: no way leads to a
//! key around them.

use std::fmt;
use std::sync::Arc;

use firmseal_fleet::product::Environment;
use firmseal_fleet::{Product, Time};
use firmseal_keys::{DynSigner, Logged, SignError};
use firmseal_manifest::{Intent, KeyId, KeyName, PublicKey, Signature, Tbs};

use crate::key_rules::{Age, KeyPurpose, KeyRefusal, KeyRules};
use crate::keyring::KeyringError;
use crate::policy::KeyFacts;

/// A private key, wherever it is, and what holds for it.
pub struct SigningKey {
    rules: KeyRules,
    signer: Arc<dyn DynSigner>,
    /// Its name in the list of published keys, if it is one.
    published: Option<&'static str>,
    /// Whether nobody wrote rules for it down.
    implicit: bool,
}

impl SigningKey {
    /// A key with rules. Refused where rules and key contradict each other.
    pub fn new(rules: KeyRules, signer: Arc<dyn DynSigner>) -> Result<Arc<SigningKey>, KeyringError> {
        let key = SigningKey::held(rules, signer, false);
        let (rules, public) = (&key.rules, key.public_key());
        let name = rules.name.clone();
        if let Some(want) = rules.algorithm.filter(|want| *want != public.algorithm()) {
            return Err(KeyringError::Algorithm { name, want, got: public.algorithm() });
        }
        if rules.purpose == KeyPurpose::Release && public.as_core().is_none() {
            return Err(KeyringError::NotForDevices { name, algorithm: public.algorithm() });
        }
        if rules.environment == Environment::Production {
            if rules.blind {
                return Err(KeyRefusal::Blind { key: name }.into());
            }
            if let Some(published) = key.published {
                return Err(KeyRefusal::Development { key: name, published }.into());
            }
        }
        Ok(Arc::new(key))
    }

    /// A key that nobody wrote rules down for. Its name is made from its id.
    pub fn implicit(
        purpose: KeyPurpose,
        environment: Environment,
        signer: Arc<dyn DynSigner>,
    ) -> Arc<SigningKey> {
        let name = KeyName::of(&signer.dyn_public_key().id());
        Arc::new(SigningKey::held(KeyRules::new(name, purpose, environment), signer, true))
    }

    fn held(rules: KeyRules, signer: Arc<dyn DynSigner>, implicit: bool) -> SigningKey {
        let published = firmseal_keys::known::development_key(signer.dyn_public_key());
        SigningKey { rules, signer, published, implicit }
    }

    /// What holds for it.
    pub fn rules(&self) -> &KeyRules {
        &self.rules
    }

    /// Its name.
    pub fn name(&self) -> &KeyName {
        &self.rules.name
    }

    /// Whether its name was made from its id, and its rules are those of
    /// every such key.
    pub fn is_implicit(&self) -> bool {
        self.implicit
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        self.signer.dyn_public_key()
    }

    /// The id of the public half.
    pub fn id(&self) -> KeyId {
        self.public_key().id()
    }

    /// Whether the key can be reached, as [`Signer::ready`] says.
    ///
    /// [`Signer::ready`]: firmseal_keys::Signer::ready
    pub async fn ready(&self) -> Result<(), SignError> {
        self.signer.dyn_ready().await
    }

    /// What a policy is told of it; `fallback` says that it stands in for
    /// another.
    pub fn facts(&self, now: Time, fallback: bool) -> KeyFacts {
        KeyFacts {
            name: self.name().to_string(),
            purpose: self.rules.purpose.name().to_owned(),
            environment: self.rules.environment,
            algorithm: self.public_key().algorithm().to_string(),
            owner: self.rules.owner.clone(),
            overdue: self.rules.age(now) >= Age::Overdue,
            blind: self.rules.blind,
            fallback,
        }
    }

    /// Whether it may sign this now. Looking costs nothing; a claim asks
    /// again.
    pub fn permit(&self, ask: Ask<'_>) -> Result<(), KeyRefusal> {
        let production = ask.product.environment == Environment::Production;
        if let Some(published) = self.published.filter(|_| production) {
            return Err(KeyRefusal::Development { key: self.name().clone(), published });
        }
        self.rules.permit(ask.purpose, ask.product, ask.now)
    }

    /// Takes one use of the key.
    pub(crate) fn claim(self: &Arc<Self>, ask: Ask<'_>) -> Result<KeyUse, KeyRefusal> {
        self.permit(ask)?;
        Ok(KeyUse { key: self.clone() })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {:?})", self.name(), self.public_key())
    }
}

/// What a key is asked to sign, for whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// A release or an artifact.
    pub purpose: KeyPurpose,
    /// Of which product.
    pub product: &'a Product,
    /// Who asks, as records show it.
    pub caller: &'a str,
    /// When.
    pub now: Time,
}

/// The right to use a key once, for one product. It is not `Clone`.
#[must_use]
#[derive(Debug)]
pub struct KeyUse {
    key: Arc<SigningKey>,
}

impl KeyUse {
    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs, and checks the answer here as well: what leaves the service
    /// does not depend on every backend keeping its contract.
    pub async fn sign(self, logged: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        let signature = self.key.signer.dyn_sign(logged, tbs.clone()).await?;
        match firmseal_keys::verify(self.key.public_key(), &tbs, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(SignError::BadSignature),
        }
    }
}
