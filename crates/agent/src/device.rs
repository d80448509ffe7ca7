//! The device as core sees it: trust, identity, floors and slots.

use std::sync::Arc;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Component, Device, Root, Takes};

use crate::boot_control::Slot;
use crate::clock::Clock;
use crate::config::Config;
use crate::deps::Deps;
use crate::error::Error;
use crate::floors::Floors;
use crate::trust::{AdmittedUnder, Policy, TrustStore};

/// Where a device stands when it decides about an image.
#[derive(Clone, Copy)]
pub(crate) struct Stand<'a> {
    pub(crate) floors: &'a Floors,
    /// The slot that is installed, tried or booted.
    pub(crate) slot: Slot,
    /// The root documents that admitted what is in the slot, where it is
    /// confirmed: keys come and go, and it goes on booting. Otherwise the
    /// newest count.
    pub(crate) under: Option<AdmittedUnder<'a>>,
    /// Whether the recovery role may sign.
    pub(crate) stranded: bool,
    /// The channels that count: those of the settings at an install, and
    /// later those that it was admitted for.
    pub(crate) takes: Takes<'a>,
}

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

    /// The channels that are taken from now on.
    pub(crate) fn takes(&self) -> Takes<'_> {
        let channel = self.config.channel.as_ref();
        channel.map_or(Takes::General, |channel| Takes::Channel(channel.as_str()))
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

    /// Shows `look` the device as it stands.
    pub(crate) fn with_device<T>(
        &self,
        stand: Stand<'_>,
        look: impl FnOnce(&Device<'_>) -> T,
    ) -> Result<T, Error> {
        let Stand { floors, slot, under, stranded, takes } = stand;
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
        self.trust.now().show(under, product, self.policy(), |trust| {
            look(&Device {
                trust,
                stranded,
                takes,
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
