//! Signing keys: a signer with the rules it signs by.
//!
//! The signer inside is reached through a [`KeyUse`] alone, which is made
//! where the rules permit and is gone with the signature: no way leads to a
//! key around them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::evidence::holder_id;
use firmseal_fleet::product::Environment;
use firmseal_fleet::{KeyPhase, KeyRecord, KeyState, Product, Time};
use firmseal_keys::{Destruction, DynSigner, KeyPlace, Logged, SignError};
use firmseal_manifest::{Intent, KeyId, KeyName, ProductId, PublicKey, Signature, Tbs};
use firmseal_store::{Store, StoreError};

use crate::error::PipelineError;
use crate::key_rules::{Age, KeyPurpose, KeyRefusal, KeyRules};
use crate::keyring::KeyringError;
use crate::policy::KeyFacts;
use crate::quota::{Quota, Whose};

/// A private key, wherever it is, and what holds for it.
pub struct SigningKey {
    rules: KeyRules,
    signer: Arc<dyn DynSigner>,
    /// Its name in the list of published keys, if it is one.
    published: Option<&'static str>,
    /// Whether nobody wrote rules for it down.
    implicit: bool,
    /// Its state, once the store was asked.
    state: RwLock<Option<KeyState>>,
    quota: Quota,
    destruction: Destruction,
}

impl SigningKey {
    /// A key with rules. Refused where rules and key contradict each other.
    pub fn new(rules: KeyRules, signer: Arc<dyn DynSigner>) -> Result<Arc<SigningKey>, KeyringError> {
        SigningKey::with_destruction(rules, signer, nobody_knows())
    }

    /// The same, of a key that is known how to be destroyed.
    pub fn with_destruction(
        rules: KeyRules,
        signer: Arc<dyn DynSigner>,
        destruction: Destruction,
    ) -> Result<Arc<SigningKey>, KeyringError> {
        let key = SigningKey { destruction, ..SigningKey::held(rules, signer, false) };
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
        let (state, quota) = (RwLock::default(), Quota::default());
        let destruction = nobody_knows();
        SigningKey { rules, signer, published, implicit, state, quota, destruction }
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

    /// The machines that are asked for it, as [`Signer::places`] says.
    ///
    /// [`Signer::places`]: firmseal_keys::Signer::places
    pub fn places(&self) -> Vec<KeyPlace> {
        self.signer.dyn_places()
    }

    /// Calls that have not come back, as [`Signer::hanging`] says.
    ///
    /// [`Signer::hanging`]: firmseal_keys::Signer::hanging
    pub fn hanging(&self) -> usize {
        self.signer.dyn_hanging()
    }

    /// What a policy is told of it; `fallback` says that it stands in for
    /// another.
    pub fn facts(&self, now: Time, fallback: bool) -> KeyFacts {
        KeyFacts {
            name: self.name().to_string(),
            purpose: self.rules.purpose,
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
        self.rules.permit(ask.purpose, ask.product, ask.now)?;
        match self.state().and_then(|state| KeyRefusal::of(self.name(), &state, ask.now)) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Its state, as the store last said; `None` before it was asked.
    pub fn state(&self) -> Option<KeyState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was used since this process began.
    pub fn uses(&self) -> u64 {
        self.quota.uses()
    }

    /// How it is destroyed.
    pub fn destruction(&self) -> &Destruction {
        &self.destruction
    }

    /// Takes over what the store says of it.
    pub(crate) fn is_now(&self, state: KeyState) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// Enters it into the registry, if that was not done, and learns its
    /// state.
    pub(crate) async fn enter(&self, store: &dyn Store, now: Time) -> Result<(), StoreError> {
        let record = KeyRecord {
            key: self.id().0,
            name: self.name().clone(),
            implicit: self.implicit,
            purpose: self.rules.purpose,
            environment: self.rules.environment,
            spki: self.public_key().spki().to_vec(),
            entered: now,
            state: KeyState {
                phase: KeyPhase::Enabled,
                since: now,
                by: "settings".to_owned(),
                by_id: holder_id("settings", &RustCrypto),
                why: "it is named in the settings".to_owned(),
                due: None,
            },
        };
        let entered = store.enter_key(record).await?;
        self.is_now(entered.state);
        Ok(())
    }

    fn whose(&self) -> Whose<'_> {
        Whose { name: self.name(), key: self.id().0, limits: self.rules.limits }
    }

    /// Takes one use of the key. It is counted from here on, whatever
    /// becomes of it, unless the use is dropped unused.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        store: &dyn Store,
        ask: Ask<'_>,
    ) -> Result<KeyUse, PipelineError> {
        if self.state().is_none() {
            self.enter(store, ask.now).await?;
        }
        self.permit(ask)?;
        let hour = self.quota.take(store, self.whose(), ask.now).await?;
        Ok(KeyUse {
            key: self.clone(),
            hour,
            product: ask.product.id.clone(),
            caller: ask.caller.to_owned(),
            now: ask.now,
            used: false,
        })
    }

    /// Writes uses down that were seen.
    pub(crate) async fn note(&self, store: &dyn Store) -> Result<(), StoreError> {
        self.quota.note(store, &self.id().0).await
    }

    /// Writes uses down and gives back what was not used.
    pub(crate) async fn settle(&self, store: &dyn Store, now: Time) -> Result<(), StoreError> {
        self.note(store).await?;
        self.quota.give_back(store, self.whose(), now).await
    }
}

/// Of a key without a table: nobody wrote down that it may go.
fn nobody_knows() -> Destruction {
    Destruction::Elsewhere("with its maker's tool; from here only keys with a [[key]] table are".to_owned())
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
    hour: u64,
    product: ProductId,
    caller: String,
    now: Time,
    used: bool,
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        if !self.used && !self.key.rules.limits.is_open() {
            self.key.quota.put_back(self.hour);
        }
    }
}

impl KeyUse {
    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs. No [`Signer`] hands out what does not verify, whatever backend
    /// is behind it.
    ///
    /// [`Signer`]: firmseal_keys::Signer
    pub async fn sign(mut self, logged: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        // From here on the key may have signed, whatever is seen of it.
        self.used = true;
        self.key.quota.saw(self.hour, self.product.clone(), self.caller.clone(), self.now);
        self.key.signer.dyn_sign(logged, tbs).await
    }
}
