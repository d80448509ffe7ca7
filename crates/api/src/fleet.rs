//! Fleet: devices, rollouts, and each device's outcome.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_fleet::Time;
use firmseal_manifest::{DeviceId, ProductId, ReleaseId, RolloutId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::updates::{Bootloader, Phase, Report, Running};

/// Whether a device is still one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// It gets what it is entitled to.
    Active,
    /// It gets nothing, whatever certificate it shows.
    Revoked,
}

/// What a device has besides the image that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Equipment {
    /// The agent's name and version.
    pub agent: String,
    /// Version of the root document it trusts.
    pub root_version: u64,
    /// Hardware revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// What its boot chain can do.
    pub bootloader: Bootloader,
}

/// A device in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Its product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Whether it is still one of ours.
    pub state: DeviceStatus,
    /// Serial number of its newest certificate.
    pub certificate_serial: String,
    /// When that certificate expires.
    #[schema(value_type = String, format = DateTime)]
    pub certificate_expires: Time,
    /// When it last asked; written now and then, so it may be behind by a
    /// minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Time>,
    /// What it last said it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// What it last said it has; absent until it has polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equipment: Option<Equipment>,
    /// Labels that cohorts match.
    pub labels: BTreeMap<String, String>,
    /// Releases it refused, isolated or reverted: not offered to it again.
    #[schema(value_type = Vec<String>)]
    pub held: BTreeSet<ReleaseId>,
    /// When it enrolled.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// A report as the server keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceReport {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// What it said.
    pub report: Report,
}

/// Which devices of the product a rollout is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// Every device of the product.
    #[default]
    All,
    /// Exactly these devices.
    #[schema(value_type = Vec<String>)]
    Devices(BTreeSet<DeviceId>),
    /// Devices that carry every one of these labels.
    Labels(BTreeMap<String, String>),
}

/// Begins a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRollout {
    /// The release to offer.
    #[schema(value_type = String)]
    pub release: ReleaseId,
    /// To whom; every device of the product if absent.
    #[serde(default)]
    pub cohort: Cohort,
    /// No offers before this time; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts: Option<Time>,
}

/// Whether a rollout makes offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RolloutState {
    /// It makes offers.
    Active,
    /// It was stopped; it can be resumed.
    Halted,
    /// It is over, for good.
    Finished,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Its id.
    #[schema(value_type = String)]
    pub id: RolloutId,
    /// The release.
    #[schema(value_type = String)]
    pub release: ReleaseId,
    /// The product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Who gets it.
    pub cohort: Cohort,
    /// Whether it makes offers.
    pub state: RolloutState,
    /// It makes no offers before this time.
    #[schema(value_type = String, format = DateTime)]
    pub starts: Time,
    /// The operator who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// Where one device of a rollout stands: its newest report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The phase of its newest report.
    pub phase: Phase,
    /// The newest report.
    pub report: Report,
}
