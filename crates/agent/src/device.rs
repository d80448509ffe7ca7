//! The device as core sees it: trust, identity, floors and slots.

use std::sync::Arc;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Component, Device, Root};

use crate::boot_control::Slot;
use crate::clock::Clock;
use crate::config::Config;
use crate::deps::Deps;
use crate::error::Error;
use crate::floors::Floors;
use crate::trust::{Policy, TrustStore};

/// What does not change while the agent runs.
pub(crate) struct Profile {
    pub(crate) trust: TrustStore,
    pub(crate) config: Config,
    clock: Arc<dyn Clock>,
}

impl Profile {
    /// Takes a trust anchor: a root document that its own root role signed.
    pub(crate) fn new(anchor: Vec<u8>, config: Config, deps: &Deps) -> Result<Profile, Error> {
        Root::decode(&anchor).and_then(|root| root.verify(&RustCrypto)).map_err(Error::Anchor)?;
        let trust = TrustStore::open(&deps.files, &config.state, anchor)?;
        Ok(Profile { trust, config, clock: deps.clock.clone() })
    }

    /// Version of the root document in force.
    pub(crate) fn root_version(&self) -> Result<u64, Error> {
        Ok(self.trust.now().root()?.version())
    }

    fn policy(&self) -> Policy {
        Policy {
            max_age: self.config.max_age,
            leeway: self.config.leeway,
            clock: self.clock.now().map(|millis| millis / 1000),
        }
    }

    /// Shows `look` the device as it is when `slot` is installed or tried.
    pub(crate) fn with_device<T>(
        &self,
        floors: &Floors,
        slot: Slot,
        look: impl FnOnce(&Device<'_>) -> T,
    ) -> Result<T, Error> {
        self.under(None, floors, slot, look)
    }

    /// The same under the root document that admitted what is in the slot,
    /// for an image that is confirmed: keys come and go, and it goes on
    /// booting.
    pub(crate) fn under<T>(
        &self,
        root: Option<&[u8]>,
        floors: &Floors,
        slot: Slot,
        look: impl FnOnce(&Device<'_>) -> T,
    ) -> Result<T, Error> {
        let ids: Vec<[&[u8]; 1]> =
            self.config.components.iter().map(|component| [component.name.as_bytes()]).collect();
        let components: Vec<Component<'_>> = self
            .config
            .components
            .iter()
            .zip(&ids)
            .map(|(component, id)| Component {
                id,
                slot: slot.index() as u64,
                capacity: component.capacity,
                sequence: floors.sequence.get(&component.name).copied().unwrap_or(0),
            })
            .collect();
        let product = self.config.product.as_str();
        self.trust.now().show(root, product, self.policy(), |trust| {
            look(&Device {
                trust,
                stranded: false,
                product,
                vendor: self.config.vendor.as_bytes(),
                class: self.config.class.as_bytes(),
                id: None,
                epoch: floors.epoch,
                delegation: floors.delegation,
                components: &components,
            })
        })
    }

    /// The names of all components.
    pub(crate) fn component_names(&self) -> Vec<&str> {
        self.config.components.iter().map(|component| component.name.as_str()).collect()
    }
}
