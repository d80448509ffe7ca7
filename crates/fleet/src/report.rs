//! Reports: what devices say happened.

use std::fmt;

use firmseal_manifest::{DeviceId, ReleaseId, RequestId, RolloutId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{FleetError, Time};

/// Longest message of a report, in bytes.
pub const MESSAGE_MAX: usize = 512;
/// Longest build id, in bytes.
pub const BUILD_MAX: usize = 256;

/// A report's id, made by the device. It means something only together with
/// the device: one device cannot take another's ids away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReportId(pub Uuid);

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far an update came on a device.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// It has the offer.
    Offered,
    /// The envelope was admitted; blocks are arriving.
    Downloading,
    /// Every block is verified and written.
    Installed,
    /// It was a recovery image, which came in without log, approvals and
    /// sequence number.
    Recovered {
        /// Which one, for people.
        message: String,
    },
    /// It booted on trial.
    Trial,
    /// It proved itself and was confirmed.
    Confirmed,
    /// It did not prove itself; the previous slot runs again.
    Reverted {
        /// The stable number of the reason, where there is one.
        #[serde(default)]
        code: Option<u16>,
        /// The sentence for people.
        #[serde(default)]
        message: String,
    },
    /// The device said no.
    Refused {
        /// The stable number of the reason.
        code: u16,
        /// The sentence for people.
        message: String,
    },
    /// The device said no, and keeps what it refused in its quarantine.
    Isolated {
        /// The stable number of the reason.
        code: u16,
        /// The sentence for people.
        message: String,
    },
    /// Trouble that says nothing about the release: a carrier that broke
    /// off, a full disk. The device tries again by itself.
    Failed {
        /// The stable number of the trouble.
        code: u16,
        /// The sentence for people.
        message: String,
    },
}

impl Phase {
    /// The name in records and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Phase::Offered => "offered",
            Phase::Downloading => "downloading",
            Phase::Installed => "installed",
            Phase::Recovered { .. } => "recovered",
            Phase::Trial => "trial",
            Phase::Confirmed => "confirmed",
            Phase::Reverted { .. } => "reverted",
            Phase::Refused { .. } => "refused",
            Phase::Isolated { .. } => "isolated",
            Phase::Failed { .. } => "failed",
        }
    }

    /// It did not prove itself, for no reason that was given.
    pub const REVERTED: Phase = Phase::Reverted { code: None, message: String::new() };

    /// The stable number and the sentence of what went wrong, if something
    /// with a number did.
    pub fn reason(&self) -> Option<(u16, &str)> {
        match self {
            Phase::Refused { code, message }
            | Phase::Isolated { code, message }
            | Phase::Failed { code, message }
            | Phase::Reverted { code: Some(code), message } => Some((*code, message)),
            Phase::Offered
            | Phase::Downloading
            | Phase::Installed
            | Phase::Recovered { .. }
            | Phase::Trial
            | Phase::Confirmed
            | Phase::Reverted { code: None, .. } => None,
        }
    }

    /// The sentence for people, if the phase can carry one.
    pub fn message(&self) -> Option<&str> {
        match self {
            Phase::Reverted { message, .. } | Phase::Recovered { message } => Some(message),
            other => other.reason().map(|(_, message)| message),
        }
    }
}

/// One thing that happened on a device, with every id that leads from it
/// back to the build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its id: a report that is sent again is the same report.
    pub id: ReportId,
    /// The device.
    pub device: DeviceId,
    /// The rollout; `None` for an install from a bundle.
    pub rollout: Option<RolloutId>,
    /// The release, where the device knows it.
    pub release: Option<ReleaseId>,
    /// The CI's build id, as the offer or bundle carried it.
    pub build: Option<String>,
    /// The signing request that made the release.
    pub request: Option<RequestId>,
    /// What happened.
    #[serde(flatten)]
    pub phase: Phase,
    /// When, by the device's clock.
    pub time: Time,
    /// Blocks fetched so far.
    pub blocks_fetched: u64,
    /// Blocks that were already there when a download was resumed.
    pub blocks_resumed: u64,
}

impl Report {
    /// Checks the bounds of what a device may write into a record.
    pub fn check(&self) -> Result<(), FleetError> {
        let fail =
            |field: &str, why| Err(FleetError::Unusable { what: "report", field: field.to_owned(), why });
        if self.build.as_ref().is_some_and(|build| build.len() > BUILD_MAX) {
            return fail("build", "at most 256 bytes");
        }
        match self.phase.message() {
            Some(message) if message.len() > MESSAGE_MAX => fail("message", "at most 512 bytes"),
            _ => Ok(()),
        }
    }
}
