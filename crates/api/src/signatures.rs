//! Signatures of artifacts: one file, signed in its own format or beside it.

use std::collections::BTreeMap;

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Base64;
use crate::problem::Problem;
use crate::requests::Approval;

/// Most signatures that are asked for in one [`CreateSignatures`].
pub const BATCH_MAX: usize = 64;

/// Most parts of which several [`CreateSignatures`] are one.
pub const PARTS_MAX: usize = 1024;

/// How urgent a request is. A more urgent one comes first, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Whether it is the one of who says nothing about it.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Priority::Release
    }
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureState {
    /// It is carried out as soon as its turn comes and its key is in reach.
    Queued,
    /// It waits for approvals.
    Waiting,
    /// A security officer has to release it.
    Held,
    /// There is a signature.
    Signed,
    /// It is refused, for the reasons that stand with it.
    Refused,
    /// Its deadline passed.
    Expired,
    /// Somebody took it back.
    Cancelled,
}

/// Asks for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSignature {
    /// The product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// The channel.
    #[schema(value_type = String)]
    pub channel: ChannelName,
    /// The file: an artifact that was uploaded.
    #[schema(value_type = String)]
    pub artifact: ArtifactId,
    /// The signing key, by name; the product's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub key: Option<String>,
    /// The version, for people (semver).
    #[schema(value_type = String)]
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
    /// Parameters of the firmware format, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The build that made the file.
    #[schema(max_length = 256)]
    pub build: String,
    /// The commit it was built from.
    #[schema(max_length = 256)]
    pub commit: String,
    /// Build evidence: artifacts that say something about the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, max_items = 64)]
    pub evidence: Vec<ArtifactId>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// After how many seconds it is of no use any more; 604800 (7 days) if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub deadline_seconds: Option<u32>,
}

/// Asks for signatures of several files, each by itself: one that is refused
/// keeps no other back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSignatures {
    /// What is asked for.
    #[schema(min_items = 1, max_items = 64)]
    pub requests: Vec<CreateSignature>,
    /// Where more is asked for than one of these holds: the SHA-256 of the
    /// `requests` of every part, in hex, in their order. Each part is sent by itself,
    /// with the same idempotency key and all of these, and together they are
    /// one change. What is hashed is the JSON of the list without white space,
    /// members as the schema orders them, those with the value that they have
    /// if absent left out where that is optional.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1024)]
    pub parts: Vec<String>,
}

/// What one of several requests came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureAnswer {
    /// It was handed in; its state says how far it is.
    Request(Box<SignatureRequest>),
    /// It was not handed in, or nobody knows yet what became of it: sending
    /// all of them again is safe.
    Problem(Problem),
}

/// What several requests came to, in the order in which they were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignatureAnswers {
    /// One for each.
    pub answers: Vec<SignatureAnswer>,
}

/// Which requests for signatures are wanted. What is absent lets everything
/// through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SignatureQuery {
    /// Only requests in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub state: Option<SignatureState>,
    /// Only those for this product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub product: Option<ProductId>,
    /// Only those in the queue of this signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only those that this caller asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many items, 1 to 1000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A rule that stands in the way, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// The rule's name.
    pub rule: String,
    /// What it says to people.
    pub why: String,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// The signature of a file.
    #[default]
    File,
    /// A release.
    Release,
}

/// A request for a signature, or an order for a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignatureRequest {
    /// Its id.
    #[schema(value_type = String)]
    pub id: RequestId,
    /// What it is for.
    #[serde(default)]
    pub kind: RequestKind,
    /// How far it is.
    pub state: SignatureState,
    /// The product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// The channel.
    #[schema(value_type = String)]
    pub channel: ChannelName,
    /// The version.
    #[schema(value_type = String)]
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
    /// The file; of an order for a release, that of its first component.
    #[schema(value_type = String)]
    pub artifact: ArtifactId,
    /// The signing key in whose queue it stands.
    pub key: String,
    /// The signing key that was asked for, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_key: Option<String>,
    /// Parameters of the firmware format, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Build evidence that was handed in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub evidence: Vec<ArtifactId>,
    /// How urgent it is.
    pub priority: Priority,
    /// Who asked.
    pub requester: String,
    /// The team that answers for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it is of no use any more.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Time,
    /// Why it is not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// SHA-256 of the latest decision's record: what a policy was asked and
    /// answered, or what else refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<ArtifactId>,
    /// Uses of a key for it that failed, or whose outcome nobody saw.
    pub failures: u32,
    /// The security officer who released it, if it was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<String>,
    /// What approvers of a file agree to, once it has waited for them; of a
    /// release, `GET /v1/requests/{request}` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// The signature, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The release that it became, if one was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
}

/// What approvers agree to: the members of the Statement that they sign, and
/// who has. Nothing here need be believed: an approver reads the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// Fingerprint of the bytes to be signed.
    #[schema(value_type = String)]
    pub tbs: ArtifactId,
    /// Digest of what the format's parser read.
    #[schema(value_type = String)]
    pub header: ArtifactId,
    /// Digest of everything that was asked for.
    #[schema(value_type = String)]
    pub asked: ArtifactId,
    /// Digest of the rules.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// Id of the key that will sign.
    #[schema(value_type = String)]
    pub signer: ArtifactId,
    /// Who asked, as Statements say it.
    #[schema(value_type = String)]
    pub requester_id: ArtifactId,
    /// When approvals expire, in seconds since 1970.
    pub expiry: u64,
    /// How many holders have to agree.
    pub need: u32,
    /// Who has.
    pub approvals: Vec<Approval>,
}

/// A signature on record. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// The request that it was made for: an earlier one, where these bytes
    /// had been signed already.
    #[schema(value_type = String)]
    pub request: RequestId,
    /// The signature itself.
    #[schema(value_type = String)]
    pub value: Base64,
    /// Format of the file.
    pub format: String,
    /// Fingerprint of the bytes that were signed: the subject of the intent
    /// in the log.
    #[schema(value_type = String)]
    pub tbs: ArtifactId,
    /// Digest of what the format's parser read.
    #[schema(value_type = String)]
    pub header: ArtifactId,
    /// The file with the signature attached, in formats with a place for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signed: Option<ArtifactId>,
    /// Index of the intent in the log.
    pub log_index: u64,
    /// The signing key.
    pub key: String,
    /// Its id.
    #[schema(value_type = String)]
    pub key_id: ArtifactId,
    /// Its algorithm.
    pub algorithm: String,
    /// Whether the key stood in for another one, which was out of reach.
    pub fallback: bool,
    /// Digest of the rules it was decided by.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// Uses of a key that it took, this one included.
    pub attempts: u32,
    /// Timestamps over the signature (RFC 3161).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub timestamps: Vec<ArtifactId>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub finished: Time,
}

/// That a signature's intent stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignatureProof {
    /// Index of the intent.
    pub log_index: u64,
    /// The intent, as it stands there.
    #[schema(value_type = String)]
    pub leaf: Base64,
    /// How many entries the checkpoint covers.
    pub size: u64,
    /// Hashes from the leaf to the checkpoint's root (RFC 6962 §2.1.1).
    #[schema(value_type = Vec<String>)]
    pub path: Vec<ArtifactId>,
    /// The checkpoint, a signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
}
