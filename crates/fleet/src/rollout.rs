//! Rollouts: which cohort gets which release.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_manifest::{DeviceId, ProductId, ReleaseId, RolloutId};
use serde::{Deserialize, Serialize};

use crate::{Device, Time};

/// Which devices of the product a rollout is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// Every device of the product.
    All,
    /// Exactly these devices.
    Devices(BTreeSet<DeviceId>),
    /// Devices that carry every one of these labels. An empty set is
    /// nobody: an empty filter that means everybody has shipped to
    /// everybody before.
    Labels(BTreeMap<String, String>),
}

impl Cohort {
    /// Whether a device belongs.
    pub fn contains(&self, device: &Device) -> bool {
        match self {
            Cohort::All => true,
            Cohort::Devices(devices) => devices.contains(&device.id),
            Cohort::Labels(labels) => {
                !labels.is_empty() && labels.iter().all(|(key, value)| device.labels.get(key) == Some(value))
            }
        }
    }
}

/// Whether a rollout makes offers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutState {
    /// It makes offers.
    Active,
    /// A person or a gate stopped it; it can be resumed.
    Halted,
    /// It is over, for good.
    Finished,
}

impl RolloutState {
    /// Whether a rollout in this state may be brought into another.
    pub const fn may_become(self, next: RolloutState) -> bool {
        !matches!((self, next), (RolloutState::Finished, RolloutState::Active | RolloutState::Halted))
    }
}

/// A release on its way to a cohort.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The release.
    pub release: ReleaseId,
    /// The release's product.
    pub product: ProductId,
    /// Who gets it.
    pub cohort: Cohort,
    /// Whether it makes offers.
    pub state: RolloutState,
    /// It makes no offers before this time.
    pub starts: Time,
    /// The operator who made it.
    pub created_by: String,
    /// When it was made.
    pub created: Time,
}
