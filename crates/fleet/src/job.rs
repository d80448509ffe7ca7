//! Jobs: signing requests on their way, durable until they have ended.
//!
//! What was asked never changes; how far it is does. A job that was
//! acknowledged ends in a signature (or a release), in a refusal with
//! reasons, cancelled, or past its deadline; nothing else becomes of it.

use std::collections::BTreeMap;

use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, ReleaseId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Caller, Reason, Time};

/// How urgent a job is. A more urgent one comes first, always.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// A fix that devices in the field wait for.
    Emergency,
    /// The ordinary case.
    #[default]
    Release,
    /// Builds that nobody waits for.
    Nightly,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Priority; 3] = [Priority::Emergency, Priority::Release, Priority::Nightly];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Priority::Emergency => "emergency",
            Priority::Release => "release",
            Priority::Nightly => "nightly",
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is carried out as soon as its turn comes and its key is in reach.
    #[default]
    Queued,
    /// It waits for approvals.
    Waiting,
    /// A security officer has to release it.
    Held,
    /// There is a signature, or a release.
    Signed,
    /// Gate or policy refused it, or the key did.
    Refused,
    /// Its deadline passed.
    Expired,
    /// Somebody took it back.
    Cancelled,
}

impl JobState {
    /// Whether anything can still become of it.
    pub fn is_open(self) -> bool {
        matches!(self, JobState::Queued | JobState::Waiting | JobState::Held)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Waiting => "waiting",
            JobState::Held => "held",
            JobState::Signed => "signed",
            JobState::Refused => "refused",
            JobState::Expired => "expired",
            JobState::Cancelled => "cancelled",
        }
    }
}

/// What a job is to become.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum JobKind {
    /// A signature of one file's own.
    Artifact(ArtifactOrder),
    /// A release.
    Release(ReleaseOrder),
}

/// One file to be signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArtifactOrder {
    /// The file.
    pub artifact: ArtifactId,
    /// The signing key that was asked for, by name; without one it is the
    /// product's. Written beside the members of [`Asked`], of which one is
    /// called `key` as well.
    #[serde(default, rename = "asked_key", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a release is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseOrder {
    /// Its sequence number; the next free one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Component and artifact, in the order in which they were named.
    pub components: Vec<(String, ArtifactId)>,
    /// The artifact that is its software bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<ArtifactId>,
    /// Of a roll-back that is signed ahead: from which release to which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<(ReleaseId, ReleaseId)>,
}

/// What was asked. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// What makes it the same request when it comes again.
    pub key: String,
    /// Digest of everything that was asked for.
    #[serde(with = "crate::hex")]
    pub fingerprint: Digest,
    /// Who asks.
    pub caller: Caller,
    /// What for.
    #[serde(flatten)]
    pub kind: JobKind,
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// Security epoch.
    pub epoch: u64,
    /// Parameters of the format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// Build evidence: artifacts that say something about the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ArtifactId>,
    /// The signing key in whose queue it stands, by name.
    pub signing_key: String,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was asked.
    pub created: Time,
    /// When it is of no use any more.
    pub deadline: Time,
}

impl Asked {
    /// Whose share of the service it uses: the team's, or that of a caller
    /// without one.
    pub fn share(&self) -> &str {
        self.caller.team.as_deref().unwrap_or(&self.caller.name)
    }
}

/// What people who approve an artifact job agree to, beside who asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobReview {
    /// Fingerprint of the bytes to be signed.
    #[serde(with = "crate::hex")]
    pub tbs: Digest,
    /// Digest of what the format's parser read.
    #[serde(with = "crate::hex")]
    pub header: Digest,
    /// Digest of the policy.
    #[serde(with = "crate::hex")]
    pub policy: Digest,
    /// The key that will sign.
    #[serde(with = "crate::hex")]
    pub signer: Digest,
    /// How many holders have to agree.
    pub need: u32,
    /// When approvals expire, in seconds since 1970.
    pub expiry: u64,
}

/// What became of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CameTo {
    /// The signature that is recorded under this request: its own, or that
    /// of the first that asked for the same bytes under the same key.
    Signature(RequestId),
    /// A release.
    Release(ReleaseId),
}

/// How far a job is, and why.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// How far.
    pub state: JobState,
    /// Uses of a key for it that failed, or whose outcome nobody saw.
    #[serde(default)]
    pub failures: u32,
    /// Why it is not signed: rules of gate and policy, or what went wrong
    /// last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// SHA-256 of the latest decision's record, where a policy was asked or
    /// something else refused it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub decision: Option<Digest>,
    /// What approvers agree to, once it has waited for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<JobReview>,
    /// The rules under which it was last held.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub held_under: Option<Digest>,
    /// Who ended that hold, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<String>,
    /// When people had last done their part: the last approval that was
    /// missing, the end of a hold, or an order that was refused and came
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Time>,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to: Option<CameTo>,
}

impl Progress {
    /// Whether a person has looked at it and let it go on under these rules.
    /// Under others there may be something that nobody has looked at.
    pub fn is_released(&self, rules: &Digest) -> bool {
        self.released_by.is_some() && self.held_under.as_ref() == Some(rules)
    }
}

/// A signing request on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: RequestId,
    /// What was asked.
    pub asked: Asked,
    /// How far it is.
    pub progress: Progress,
}

impl Job {
    /// From when on nothing but the service kept it waiting: since it was
    /// asked for, or since people had done their part.
    pub fn since(&self) -> Time {
        self.progress.resumed.unwrap_or(self.asked.created)
    }
}
