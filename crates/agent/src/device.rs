//! The device as core sees it: trust anchor, identity, floors and slots.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Component, Device, Root, Trust};

use crate::boot_control::Slot;
use crate::config::Config;
use crate::error::Error;
use crate::floors::Floors;

/// What does not change while the agent runs.
pub(crate) struct Profile {
    anchor: Vec<u8>,
    pub(crate) config: Config,
}

impl Profile {
    /// Takes a trust anchor: a root document that its own root role signed.
    pub(crate) fn new(anchor: Vec<u8>, config: Config) -> Result<Profile, Error> {
        Root::decode(&anchor).and_then(|root| root.verify(&RustCrypto)).map_err(Error::Anchor)?;
        Ok(Profile { anchor, config })
    }

    pub(crate) fn root(&self) -> Result<Root<'_>, Error> {
        Root::decode(&self.anchor).map_err(Error::Anchor)
    }

    /// Shows `look` the device as it is when `slot` is installed or run.
    pub(crate) fn with_device<T>(
        &self,
        floors: &Floors,
        slot: Slot,
        look: impl FnOnce(&Device<'_>) -> T,
    ) -> Result<T, Error> {
        let root = self.root()?;
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
        Ok(look(&Device {
            trust: Trust::anchored(&root),
            stranded: false,
            product: self.config.product.as_str(),
            vendor: self.config.vendor.as_bytes(),
            class: self.config.class.as_bytes(),
            id: None,
            epoch: floors.epoch,
            delegation: floors.delegation,
            components: &components,
        }))
    }

    /// The names of all components.
    pub(crate) fn component_names(&self) -> Vec<&str> {
        self.config.components.iter().map(|component| component.name.as_str()).collect()
    }
}
