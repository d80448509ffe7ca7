//! Audit records: who did what, when, with what, and who had allowed it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use firmseal_fleet::Time;
use firmseal_fleet::audit::AuditAction;
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::{Role, its_roles, roles};
use crate::encoding::Base64;
use crate::signatures::Reason;

fn had_roles() -> utoipa::openapi::schema::ArrayBuilder {
    roles().description(Some("The roles that it had."))
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// As it was asked.
    Success,
    /// It was refused, or failed.
    Failure,
    /// Nobody saw how it ended.
    Unknown,
}

/// One record. What does not apply is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// Its number; records are told in this order.
    pub number: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
    /// What happened: `artifact-signed`, `approved`, ...
    #[schema(value_type = String)]
    pub action: AuditAction,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whose team that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The roles that it had.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(schema_with = had_roles)]
    pub roles: BTreeSet<Role>,
    /// What its identity token said besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// The address that it asked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Rules and reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// The signing request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request: Option<RequestId>,
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub product: Option<ProductId>,
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub channel: Option<ChannelName>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of what was signed or is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<ArtifactId>,
    /// SHA-256 of the files that it is about, as they were handed in and with
    /// their signatures attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub artifacts: Vec<ArtifactId>,
    /// The signing key, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key_id: Option<ArtifactId>,
    /// Whether the key stood in for another one.
    #[serde(default)]
    pub fallback: bool,
    /// Digest of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub policy: Option<ArtifactId>,
    /// Digest of the decision's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<ArtifactId>,
    /// Where it stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// The CI's id of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<AuditedCredential>,
    /// How often, where it tells of several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// A credential, as records show it. Its secret is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditedCredential {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub holder: String,
    /// What it allows.
    #[schema(schema_with = its_roles)]
    pub roles: BTreeSet<Role>,
    /// Only these products; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub products: BTreeSet<ProductId>,
    /// Only these channels; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub channels: BTreeSet<ChannelName>,
    /// Only these signing keys; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
    /// When it stops working, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
}

/// An entry of the log, and what proves that it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// Where it stands.
    pub index: u64,
    /// The entry.
    #[schema(value_type = String)]
    pub leaf: Base64,
    /// Hashes from the entry to the root (RFC 6962 §2.1.1).
    #[schema(value_type = Vec<String>)]
    pub path: Vec<ArtifactId>,
}

/// Entries of the log, proven in one tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntries {
    /// Size of the tree that the proofs lead to.
    pub size: u64,
    /// The newest checkpoint, where it is of that size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Days that audit records are kept here.
    pub retention_days: u32,
    /// The entries, as far as one answer has them.
    pub entries: Vec<LogEntry>,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// From this one on; from the first if absent.
    #[serde(default)]
    pub from: u64,
    /// Proven in the tree of this size; in the newest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// At most this many, 1 to 1000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which records are wanted. What is absent lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Time>,
    /// Only before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub before: Option<Time>,
    /// Only what this caller did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub action: Option<AuditAction>,
    /// Only about this product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub product: Option<ProductId>,
    /// Only about this signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only about this signing request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub request: Option<RequestId>,
    /// Only about this file, as it was handed in or as it was signed; or this
    /// manifest or other document: its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub artifact: Option<ArtifactId>,
    /// Only about this build, by the CI's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Only about this commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many items, 1 to 1000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
