//! States of signing keys: entered when the service starts, changed by
//! security officers, and carried out when their day has come.

use std::sync::Arc;

use firmseal_fleet::{KeyPhase, KeyRecord, KeyState, Time};
use firmseal_keys::{Destroyer, Destruction};
use firmseal_manifest::KeyName;
use firmseal_store::{Store, StoreError};

use crate::order::Requester;
use crate::pipeline::Pipeline;
use crate::signing_key::SigningKey;

/// What an officer says about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyOrder {
    /// It signs again, or for longer than until its end.
    Enable,
    /// It signs nothing, from now on or from a day on.
    Disable {
        /// The day.
        at: Option<Time>,
    },
    /// Its private half is destroyed at a day.
    Destroy {
        /// The day.
        at: Time,
    },
    /// It is not destroyed. It stays disabled.
    Keep,
}

/// Why a key does not get another state.
#[derive(Debug, thiserror::Error)]
pub enum KeyStateError {
    /// There is no such key.
    #[error("there is no signing key `{0}` here")]
    Unknown(KeyName),
    /// A set still signs with it.
    #[error("key `{0}` signs for a product by the settings; take it out of its key set and restart first")]
    InUse(KeyName),
    /// It lies where nobody here can destroy it.
    #[error("key `{name}` cannot be destroyed from here; destroy it {elsewhere}")]
    OutOfHand {
        /// The key.
        name: KeyName,
        /// Where, and with what.
        elsewhere: String,
    },
    /// Nobody scheduled that it be destroyed.
    #[error("key `{0}` is not to be destroyed")]
    NotScheduled(KeyName),
    /// The private half is still there.
    #[error("key `{name}` is not destroyed: {why}")]
    Failed {
        /// The key.
        name: KeyName,
        /// What went wrong.
        why: String,
    },
    /// Storage, or a state that cannot follow.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key whose private half is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestroyedKey {
    /// Its name.
    pub name: KeyName,
    /// What its backend still has to say about it, if anything.
    pub note: Option<String>,
}

/// Records that a key is destroyed which is not open here: of a service that
/// was cut off after the key was gone and before that was on record. What is
/// gone cannot be opened, so a keyring would never hold it again.
///
/// Destroys it once more, which is no error.
pub async fn finish_destruction(
    store: &dyn Store,
    record: &KeyRecord,
    destroyer: Destroyer,
    now: Time,
) -> Result<DestroyedKey, KeyStateError> {
    let name = record.name.clone();
    let failed = |why| KeyStateError::Failed { name: name.clone(), why };
    let gone = tokio::task::spawn_blocking(destroyer).await;
    let note = gone.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    store.set_key_state(&record.key, record.state.clone().into_destroyed(now)).await?;
    Ok(DestroyedKey { name, note })
}

impl Pipeline {
    /// Enters every key into the registry. To be called when a service
    /// starts: a key that was another one before, or had another name, is
    /// found here and not at the first signature.
    pub async fn enter_keys(&self, now: Time) -> Result<(), StoreError> {
        for key in self.keyring().all() {
            key.enter(self.store(), now).await?;
        }
        Ok(())
    }

    /// Writes down how often keys were used. May be called at any time.
    pub async fn note_uses(&self) -> Result<(), StoreError> {
        for key in self.keyring().all() {
            key.note(self.store()).await?;
        }
        Ok(())
    }

    /// Writes down how often keys were used, and gives back what was granted
    /// and not used. To be called when a service ends.
    pub async fn settle_keys(&self, now: Time) -> Result<(), StoreError> {
        for key in self.keyring().all() {
            key.settle(self.store(), now).await?;
        }
        Ok(())
    }

    /// Changes a key's state. In force for the next use of the key.
    pub async fn order_key(
        &self,
        name: &KeyName,
        order: KeyOrder,
        by: &Requester,
        why: &str,
        now: Time,
    ) -> Result<KeyState, KeyStateError> {
        let key = self.known_key(name)?;
        if let KeyOrder::Destroy { .. } = order {
            if self.keyring().is_in_a_set(key) {
                return Err(KeyStateError::InUse(name.clone()));
            }
            if let Destruction::Elsewhere(elsewhere) = key.destruction() {
                let elsewhere = elsewhere.clone();
                return Err(KeyStateError::OutOfHand { name: name.clone(), elsewhere });
            }
        }
        let scheduled = || key.state().is_some_and(|state| state.phase == KeyPhase::Destroying);
        let (phase, due) = match order {
            KeyOrder::Enable => (KeyPhase::Enabled, None),
            KeyOrder::Disable { at: Some(at) } => (KeyPhase::Ending, Some(at)),
            KeyOrder::Disable { at: None } if scheduled() => {
                return Err(StoreError::conflict(format!("key `{name}` is to be destroyed already")).into());
            }
            KeyOrder::Disable { at: None } => (KeyPhase::Disabled, None),
            KeyOrder::Destroy { at } => (KeyPhase::Destroying, Some(at)),
            KeyOrder::Keep if !scheduled() => return Err(KeyStateError::NotScheduled(name.clone())),
            KeyOrder::Keep => (KeyPhase::Disabled, None),
        };
        let (by, by_id) = (by.name.clone(), by.id());
        let state = KeyState { phase, since: now, by, by_id, why: why.to_owned(), due };
        self.put_state(key, state).await
    }

    /// Destroys the private halves whose day has come, and returns those that
    /// are gone with what went wrong with the others.
    ///
    /// First the key, then the record: whoever crashes in between comes
    /// again, and finds no key, which is no error. Nobody cancels in
    /// between: once the day has come the store takes nothing but the end.
    pub async fn destroy_due(&self, now: Time) -> Vec<Result<DestroyedKey, KeyStateError>> {
        let mut outcomes = Vec::new();
        for key in self.keyring().all() {
            if let Some(state) = key.state().filter(|state| state.is_to_be_destroyed(now)) {
                outcomes.push(self.destroy(key, state, now).await);
            }
        }
        outcomes
    }

    async fn destroy(
        &self,
        key: &Arc<SigningKey>,
        scheduled: KeyState,
        now: Time,
    ) -> Result<DestroyedKey, KeyStateError> {
        let (own, name) = (key.clone(), key.name().clone());
        let failed = |why| KeyStateError::Failed { name: name.clone(), why };
        let gone = tokio::task::spawn_blocking(move || match own.destruction() {
            Destruction::Here(destroy) => destroy(),
            Destruction::Elsewhere(elsewhere) => Err(format!("destroy it {elsewhere}")),
        });
        let note = gone.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        self.put_state(key, scheduled.into_destroyed(now)).await?;
        Ok(DestroyedKey { name, note })
    }

    async fn put_state(&self, key: &SigningKey, state: KeyState) -> Result<KeyState, KeyStateError> {
        let now = state.since;
        let _one = self.changing_keys.lock().await;
        match self.store().set_key_state(&key.id().0, state).await {
            Ok(record) => {
                key.is_now(record.state.clone());
                Ok(record.state)
            }
            Err(error) => {
                // The outcome of a write that failed may not be known. What
                // is in force is what the store says.
                key.enter(self.store(), now).await?;
                Err(error.into())
            }
        }
    }

    fn known_key(&self, name: &KeyName) -> Result<&Arc<SigningKey>, KeyStateError> {
        self.keyring().key(name).ok_or_else(|| KeyStateError::Unknown(name.clone()))
    }
}
