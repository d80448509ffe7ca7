//! Fleet: devices, rollouts, and each device's outcome.

use firmseal_manifest::{DeviceId, ProductId, ReleaseId, RolloutId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::updates::{DeviceState, Phase, Report};

/// A device in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Its product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// When it enrolled, in seconds since 1970.
    pub enrolled_at: u64,
    /// It was revoked and gets nothing.
    pub revoked: bool,
    /// When its certificate expires.
    pub certificate_expires_at: u64,
    /// When it last asked; written now and then, so it may be behind by a
    /// minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    /// What it last said about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeviceState>,
}

/// A report as the server keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredReport {
    /// When the server stored it, in seconds since 1970.
    pub received_at: u64,
    /// What the device said.
    pub report: Report,
}

/// Begins a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRollout {
    /// The release to offer to every device of its product.
    #[schema(value_type = String)]
    pub release: ReleaseId,
}

/// Whether a rollout makes offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutStatus {
    /// It offers its release.
    Active,
    /// It offers nothing until it is resumed.
    Halted,
    /// Every device has its outcome, or a newer rollout took its place.
    Done,
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
    /// Whether it makes offers.
    pub status: RolloutStatus,
    /// When it began, in seconds since 1970.
    pub created_at: u64,
    /// How many devices stand where.
    pub progress: Vec<Progress>,
}

/// How many devices of a rollout stand in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Devices whose last report says so.
    pub devices: u64,
}

/// Where one device of a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The phase of its last report.
    pub phase: Phase,
    /// The stable number of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The device's sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request that made the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When the last report arrived, in seconds since 1970.
    pub at: u64,
}
