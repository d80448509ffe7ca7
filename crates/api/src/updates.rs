//! Updates: what a device says about itself, what it is offered, and how
//! that went.

use firmseal_manifest::{ArtifactId, ReleaseId, RequestId, RolloutId};
use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Most reports in one request; a device with more sends them in turns.
pub const REPORTS_MAX: usize = 64;
/// Longest text in any member of a state, and longest build id, in bytes.
pub const TEXT_MAX: usize = 256;
/// Longest message of a report, in bytes.
pub const MESSAGE_MAX: usize = 512;

/// A device asks whether there is something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// What the device is now.
    pub state: DeviceState,
    /// What happened since the last answered poll, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub reports: Vec<Report>,
}

/// The answer to a poll. When it arrives, the reports are durable and the
/// device may forget them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PollAnswer {
    /// What to install, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Version of the newest root document; a device with an older one
    /// fetches each version in between.
    pub root_version: u64,
    /// Version of the newest revocation; 0 where there is none.
    #[serde(default)]
    pub revocation_version: u64,
    /// Ask again after about this many seconds.
    pub poll_after: u32,
}

/// What a device is: what it has, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceState {
    /// The agent's name and version.
    #[schema(max_length = 256)]
    pub agent: String,
    /// Version of the root document it trusts.
    pub root_version: u64,
    /// What it runs; absent on a device that has booted nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Hardware revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub hardware: Option<String>,
    /// What its boot chain can do.
    pub bootloader: Bootloader,
}

/// What a device runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Its version, for people (semver).
    #[schema(value_type = String)]
    pub version: Version,
    /// Its sequence number; the floor of the next one once confirmed.
    pub sequence: u64,
    /// SHA-256 of its manifest. Agents of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub manifest: Option<ArtifactId>,
    /// The device's security epoch counter.
    pub epoch: u64,
    /// The slot it runs from, in the device's own word: `a`, `b`.
    #[schema(max_length = 256)]
    pub slot: String,
    /// It has proven itself; otherwise it is on trial.
    pub confirmed: bool,
}

/// What a device's boot chain can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bootloader {
    /// Its name and version.
    #[schema(max_length = 256)]
    pub name: String,
    /// It verifies the image at every boot.
    #[serde(default)]
    pub verifies: bool,
    /// It boots an image on trial and counts tries by itself.
    #[serde(default)]
    pub trial: bool,
    /// It keeps the security epoch in a counter that only goes up.
    #[serde(default)]
    pub epoch_counter: bool,
}

/// Something to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// The release.
    #[schema(value_type = String)]
    pub release: ReleaseId,
    /// The rollout that offers it.
    #[schema(value_type = String)]
    pub rollout: RolloutId,
    /// Its version, for people.
    #[schema(value_type = String)]
    pub version: Version,
    /// Its sequence number.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
    /// Where the envelope is, relative to the server's root.
    pub envelope: String,
    /// SHA-256 of the envelope. A carrier's word: it finds a broken
    /// download early and proves nothing.
    #[schema(value_type = String)]
    pub envelope_sha256: ArtifactId,
    /// Length of the envelope in bytes.
    pub envelope_size: u64,
    /// The CI's build id; the device repeats it in reports.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// The signing request that made it; the device repeats it in reports.
    #[schema(value_type = String)]
    pub request: RequestId,
}

/// How far an install came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It has the offer.
    Offered,
    /// The envelope was admitted; blocks are on their way.
    Downloading,
    /// Every block is verified and written to the inactive slot.
    Installed,
    /// What was installed is a recovery image: it came in without log,
    /// approvals and sequence number, because nothing booted or somebody
    /// stood in front of the device. `message` names it.
    Recovered,
    /// The new image is booting on trial.
    Trial,
    /// The health command succeeded; the image is confirmed.
    Confirmed,
    /// The trial failed; the device is back on the old image.
    Reverted,
    /// The device said no; `code` and `message` say why.
    Refused,
    /// The device said no, and its failure policy keeps the envelope and the
    /// first bad block in quarantine; `code` and `message` say why it
    /// refused.
    Isolated,
    /// Trouble that says nothing about the release, such as a carrier that
    /// broke off or a full disk; `code` and `message` say which. The device
    /// tries again by itself.
    Failed,
}

impl Phase {
    /// The phase as the wire and the metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Offered => "offered",
            Phase::Downloading => "downloading",
            Phase::Installed => "installed",
            Phase::Recovered => "recovered",
            Phase::Trial => "trial",
            Phase::Confirmed => "confirmed",
            Phase::Reverted => "reverted",
            Phase::Refused => "refused",
            Phase::Isolated => "isolated",
            Phase::Failed => "failed",
        }
    }
}

/// One thing that happened on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Made by the device; a report that arrives twice is kept once.
    pub id: Uuid,
    /// The release concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
    /// The rollout that offered it; absent for an install from a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rollout: Option<RolloutId>,
    /// How far it came.
    pub phase: Phase,
    /// The stable number of a refusal or of trouble: `refused`, `isolated`
    /// and `failed` always have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub message: Option<String>,
    /// The device's clock, in milliseconds since 1970; absent without a
    /// clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The `build` of the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub build: Option<String>,
    /// The `request` of the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request: Option<RequestId>,
    /// Blocks fetched so far.
    #[serde(default)]
    pub blocks_fetched: u64,
    /// Blocks that were already there when a download was resumed.
    #[serde(default)]
    pub blocks_resumed: u64,
}

/// Reports on their own, without a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Oldest first.
    #[schema(max_items = 64)]
    pub reports: Vec<Report>,
}

/// How many reports were new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportsAnswer {
    /// Reports stored now; the others were there already.
    pub stored: usize,
}
