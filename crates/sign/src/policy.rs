//! Policy: what a company demands of its signatures beyond the gate's rules.
//!
//! The gate ([`gate`](crate::gate)) holds for everybody and cannot be
//! configured away; a policy only forbids more. The pipeline puts a
//! [`Question`] together from what its own parsers read and what was proven
//! about the caller, and keeps it with the [`Verdict`] as a record whose
//! digest is in the log before a key is used: the same policy gives the same
//! verdict on it ten years later.

use std::sync::Arc;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_evidence::Facts;
pub use firmseal_fleet::Reason;
use firmseal_fleet::{Caller, Environment, KeyPurpose, Priority, Time};
use firmseal_manifest::{ArtifactId, ChannelName, Digest, PolicyDocument, ProductId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::pipeline::rules_under;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Sign an artifact in a format that devices already understand.
    SignArtifact,
    /// Sign a release.
    SignRelease,
}

/// What a policy is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The signing request.
    pub request: RequestId,
    /// What is to be done.
    pub action: Action,
    /// Who asks.
    pub caller: Caller,
    /// For which product.
    pub product: ProductId,
    /// The product's environment.
    pub environment: Environment,
    /// On which channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
    /// The keys that would sign.
    pub keys: Vec<KeyFacts>,
    /// What would be signed, as our own parsers read it.
    pub artifacts: Vec<ArtifactFacts>,
    /// What stands before it on the channel, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// How urgent the caller says it is. Records from before this was asked
    /// have none, and stay as the log has them: they are judged again as
    /// ordinary, which is how they were judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from, as the caller says.
    pub commit: String,
    /// What the evidence says.
    pub evidence: Facts,
    /// Holders of the approver role who have agreed; the requester never
    /// counts.
    pub approvals: u32,
    /// Whether a person has looked at it and let it go on, under this very
    /// policy. A policy that holds it all the same holds it for good.
    #[serde(default)]
    pub released: bool,
    /// In which ways this use departs from the usual ones, in words that
    /// stay the same: `rate`, `hour`, `product`, `source`.
    pub anomalies: Vec<String>,
    /// When it is asked.
    pub now: Time,
    /// 16 random bytes as hex: the record's digest in a public log gives
    /// nothing away to whoever guesses the rest.
    pub salt: String,
}

/// A key, as a policy sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Its name.
    pub name: String,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// Test or production.
    pub environment: Environment,
    /// Its algorithm, as key listings have it: `p256`, `ed25519`.
    pub algorithm: String,
    /// Who answers for it.
    pub owner: String,
    /// Whether the day on which it should have been rotated has passed.
    pub overdue: bool,
    /// Whether it signs digests that nobody here derived. Never with
    /// production keys.
    pub blind: bool,
    /// Whether it stands in for another key, which is out of reach.
    pub fallback: bool,
}

/// A file to be signed, as our own parsers read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArtifactFacts {
    /// The component that it is for.
    pub component: String,
    /// SHA-256 of the file.
    pub digest: ArtifactId,
    /// Its format.
    pub format: String,
    /// Its size in bytes.
    pub size: u64,
    /// The version that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The security epoch that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether it is a debug build, where the format says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Where it is loaded.
    pub addresses: Vec<u64>,
}

/// What stands before, on the channel: the latest release, or what is higher
/// of the files that were signed by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Previous {
    /// The version.
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
}

/// What a policy says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It may be signed.
    Permit,
    /// It may not.
    Refuse {
        /// Why, rule by rule; never empty.
        reasons: Vec<Reason>,
    },
    /// It may once this many holders of the approver role have agreed.
    Approvals {
        /// How many in all.
        need: u32,
        /// The rules that demand them.
        reasons: Vec<Reason>,
    },
    /// A person has to look at it first.
    Hold {
        /// The rules that demand it.
        reasons: Vec<Reason>,
    },
}

/// Why a policy gives no verdict. Nothing is signed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the policy gives no verdict: {0}")]
pub struct PolicyError(pub String);

/// A policy in force.
///
/// Contract: pure. The same question gets the same verdict, from the policy
/// of the same digest, for ever; what a rule cannot be evaluated on is an
/// error and never a permit.
pub trait Policy: Send + Sync {
    /// Digest of the whole policy, which names it in records.
    fn digest(&self) -> Digest;

    /// The verdict.
    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError>;
}

/// Reads policies, for a service that knows nothing of their language.
pub trait PolicyReader: Send + Sync {
    /// A policy that may be asked, or everything that is wrong with it.
    fn read(&self, document: &PolicyDocument) -> Result<Arc<dyn Policy>, PolicyError>;

    /// Has a policy answer the examples that its document has.
    fn try_out(&self, document: &PolicyDocument) -> Result<Tried, PolicyError>;
}

/// What came of a policy's own examples.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tried {
    /// How many there are.
    pub cases: usize,
    /// Those that it answers otherwise than they want, in words.
    pub failed: Vec<String>,
}

/// A question with its answer, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Digest of the gate's rules and of the policy that decided.
    pub policy: ArtifactId,
    /// The policy's own digest, under which a server keeps its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<ArtifactId>,
    /// What was asked.
    pub question: Question,
    /// What was answered.
    pub answer: Verdict,
}

impl Decision {
    /// What a policy decided.
    pub(crate) fn of(policy: &dyn Policy, question: Question, answer: Verdict) -> Decision {
        let document = policy.digest();
        let rules = ArtifactId(rules_under(&document));
        Decision { policy: rules, document: Some(ArtifactId(document)), question, answer }
    }

    /// The record: JSON, fields in the order above, one spelling.
    pub fn encode(&self) -> Vec<u8> {
        // Maps in it are ordered, and no value in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// SHA-256 of the record, which the log has.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.encode())
    }
}
