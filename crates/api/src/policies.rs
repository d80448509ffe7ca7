//! Policies: what is in force, what is proposed, and who agreed.

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::requests::Approval;

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProposalState {
    /// It waits for approvals, or for an officer to put it in force.
    Open,
    /// It was put in force.
    Activated,
    /// It was taken back.
    Withdrawn,
    /// Another policy was put in force first.
    Superseded,
    /// Too few people agreed in time.
    Expired,
}

/// Where the policy in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicySource {
    /// There is none: the gate decides alone.
    None,
    /// From the server's settings; nobody agreed to it.
    File,
    /// People agreed to it.
    Approved,
    /// What should be in force does not verify. Nothing is signed.
    Broken,
}

/// A file of a policy: rules, or examples of what they are meant to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name. `.test.toml` and `.test.json` hold examples.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Wants a policy in force, in place of the one that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposePolicy {
    /// Number of the schema that it is written for.
    pub schema: u32,
    /// Its files.
    pub files: Vec<PolicyFile>,
    /// Why, in words for those who are to agree.
    pub why: String,
}

/// A proposal. Nothing here need be believed: an approver reads the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyProposal {
    /// Its id, which approvals name.
    #[schema(value_type = String)]
    pub id: RequestId,
    /// SHA-256 of the policy's document.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// The policy in force when it was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub base: Option<ArtifactId>,
    /// How many people have to agree; the root document may ask for more.
    pub need: u32,
    /// How many more have to, as the root document has it now.
    pub missing: u32,
    /// Who proposed it.
    pub proposer: String,
    /// Who proposed it, as Statements say it.
    #[schema(value_type = String)]
    pub proposer_id: ArtifactId,
    /// Why.
    pub why: String,
    /// When it expires, in seconds since 1970.
    pub expiry: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// How far it is.
    pub state: ProposalState,
    /// Who has agreed.
    pub approvals: Vec<Approval>,
}

/// A policy was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyActivation {
    /// Counted from 1.
    pub number: u64,
    /// SHA-256 of the policy's document.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// The one that was in force until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub previous: Option<ArtifactId>,
    /// The proposal that people agreed to.
    #[schema(value_type = String)]
    pub proposal: RequestId,
    /// Number of the root document that said whose word counts.
    pub root: u64,
    /// Who agreed.
    pub approvals: Vec<Approval>,
    /// Who put it in force.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
}

/// Policies: what is in force, what is proposed, what was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policies {
    /// Where the policy in force comes from.
    pub source: PolicySource,
    /// SHA-256 of its document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub in_force: Option<ArtifactId>,
    /// SHA-256 over the gate's rules and the policy, as records and intents
    /// name them.
    #[schema(value_type = String)]
    pub rules: ArtifactId,
    /// Why nothing is signed, where what should be in force does not verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Proposals, newest first: a hundred at most.
    pub proposals: Vec<PolicyProposal>,
    /// Activations, newest first: a hundred at most.
    pub activations: Vec<PolicyActivation>,
}

/// A policy with its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// SHA-256 of its document, `["firmseal/policy", schema, [[name, text]]]`
    /// in deterministic CBOR.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// SHA-256 over the gate's rules and this policy, as records of decisions
    /// and intents name it where it decided.
    #[schema(value_type = String)]
    pub rules: ArtifactId,
    /// Number of the schema that it is written for.
    pub schema: u32,
    /// Its files.
    pub files: Vec<PolicyFile>,
    /// Its proposals, newest first: a hundred at most.
    pub proposals: Vec<PolicyProposal>,
}

/// A decision, as it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordedDecision {
    /// SHA-256 of the record, which the log has.
    #[schema(value_type = String)]
    pub digest: ArtifactId,
    /// The record: question, answer, and the digest of the rules.
    #[schema(value_type = Object)]
    pub record: serde_json::Value,
}
