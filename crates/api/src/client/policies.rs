//! What officers, approvers and auditors call about policies.

use firmseal_manifest::ArtifactId;
use http::Method;

use super::{ClientError, OperatorClient, paged};
use crate::encoding::{Page, PageQuery};
use crate::policies::{Policies, Policy, PolicyActivation, PolicyProposal, ProposePolicy, RecordedDecision};
use crate::requests::Approve;

impl OperatorClient<'_> {
    /// What is in force, proposed, and was in force.
    pub async fn policies(&self) -> Result<Policies, ClientError> {
        self.0.get("/v1/policies").await
    }

    /// A policy with its text.
    pub async fn policy(&self, policy: &ArtifactId) -> Result<Policy, ClientError> {
        self.0.get(&format!("/v1/policies/{policy}")).await
    }

    /// Proposes a policy. The same one again is the same proposal.
    pub async fn propose_policy(&self, wish: &ProposePolicy) -> Result<PolicyProposal, ClientError> {
        self.0.call(Method::POST, "/v1/policies", Some(wish)).await
    }

    /// Agrees to a proposal.
    pub async fn approve_policy(
        &self,
        policy: &ArtifactId,
        approve: &Approve,
    ) -> Result<PolicyProposal, ClientError> {
        self.0.call(Method::POST, &format!("/v1/policies/{policy}/approvals"), Some(approve)).await
    }

    /// Puts a policy in force that enough people have agreed to.
    pub async fn activate_policy(&self, policy: &ArtifactId) -> Result<PolicyActivation, ClientError> {
        self.0.call(Method::POST, &format!("/v1/policies/{policy}/activate"), None::<&()>).await
    }

    /// Takes a proposal back.
    pub async fn withdraw_policy(&self, policy: &ArtifactId) -> Result<PolicyProposal, ClientError> {
        self.0.call(Method::POST, &format!("/v1/policies/{policy}/withdraw"), None::<&()>).await
    }

    /// Recorded decisions, newest first. A page may be short and not the
    /// last: its `next` says.
    pub async fn decisions(&self, page: &PageQuery) -> Result<Page<RecordedDecision>, ClientError> {
        self.0.get(&paged("/v1/decisions", page)).await
    }
}
