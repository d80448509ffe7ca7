//! Devices: their identity, what they last said they are and run, and what
//! they have refused.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::report::{Phase, Report};

/// A device certificate, as much of it as the server decides by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of the DER certificate: what a connection is looked up by.
    #[serde(with = "crate::hex")]
    pub fingerprint: Digest,
    /// SHA-256 of the DER SubjectPublicKeyInfo: one key, one device.
    #[serde(with = "crate::hex")]
    pub spki: Digest,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// End of its validity.
    pub not_after: Time,
}

/// Whether a device is still one of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// It gets what it is entitled to.
    Active,
    /// It gets nothing, whatever certificate it shows.
    Revoked,
}

/// Whether the running slot has proven itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotState {
    /// On trial: it reverts unless it is confirmed.
    Trial,
    /// Confirmed.
    Confirmed,
}

/// What a device says it runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Version, for people.
    pub version: Version,
    /// Sequence number of the running release.
    pub sequence: u64,
    /// SHA-256 of its manifest, where the device says it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub manifest: Option<Digest>,
    /// The device's security epoch counter.
    pub epoch: u64,
    /// The slot it runs from, in the device's own word: `a`, `b`.
    pub slot: String,
    /// Whether that slot has proven itself.
    pub state: SlotState,
}

/// What a device's boot chain can do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bootloader {
    /// Its name and version.
    pub name: String,
    /// It verifies the image at every boot.
    pub verifies: bool,
    /// It boots an image on trial and counts tries by itself.
    pub trial: bool,
    /// It keeps the security epoch in a counter that only goes up.
    pub epoch_counter: bool,
}

/// What a device says it has besides the image that it runs: what decides
/// which releases and which root documents it can live with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Equipment {
    /// The agent's name and version.
    pub agent: String,
    /// Version of the root document it trusts.
    pub root_version: u64,
    /// Its hardware revision, if it says.
    pub hardware: Option<String>,
    /// What its boot chain can do.
    pub bootloader: Bootloader,
}

/// A device known to the fleet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its product, for good.
    pub product: ProductId,
    /// Its newest certificate.
    pub certificate: Certificate,
    /// Whether it is still one of ours.
    pub state: DeviceState,
    /// What it last said it runs; `None` until it has spoken.
    pub running: Option<Running>,
    /// What it last said it has; `None` until it has spoken.
    pub equipment: Option<Equipment>,
    /// When it was last heard of.
    pub last_seen: Option<Time>,
    /// Labels that cohorts match.
    pub labels: BTreeMap<String, String>,
    /// Releases it refused or reverted: not offered again until a person
    /// says so.
    pub held: BTreeSet<ReleaseId>,
    /// When it was enrolled.
    pub created: Time,
}

impl Device {
    /// Takes in one report. Doing it twice changes nothing more.
    ///
    /// Only a refusal, isolated or not, or a revert holds a release back:
    /// everything else is history, trouble that passes included. A report that arrives late can therefore never undo a hold.
    pub fn observe(&mut self, report: &Report) {
        if let Some(release) = report.holds() {
            self.held.insert(release);
        }
        self.last_seen = self.last_seen.max(Some(report.time));
    }
}

impl Report {
    /// The release that this report holds back from its device.
    pub fn holds(&self) -> Option<ReleaseId> {
        match self.phase {
            Phase::Refused { .. } | Phase::Isolated { .. } | Phase::Reverted { .. } => self.release,
            Phase::Offered
            | Phase::Downloading
            | Phase::Installed
            | Phase::Recovered { .. }
            | Phase::Trial
            | Phase::Confirmed
            | Phase::Failed { .. } => None,
        }
    }
}
