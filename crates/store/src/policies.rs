//! Policies: who proposed which, who agreed, and which was in force when.
//!
//! An engine keeps the order of things. Whether a document is a policy, and
//! whose word counts, is decided before it comes here, and again when it is
//! read.

use async_trait::async_trait;
use firmseal_fleet::{Approval, PolicyActivation, PolicyProposal, ProposalState};
use firmseal_manifest::{Digest, RequestId};

use crate::{Page, StoreError};

/// Policies, from a proposal to its activation. Their documents are blobs.
///
/// A proposal leaves [`ProposalState::Open`] once and for good. Nothing here
/// is ever deleted.
#[async_trait]
pub trait Policies: Send + Sync {
    /// Adds a proposal that is open. The same value again is `Ok`, another
    /// one under its id a conflict, and so is a second open one of the same
    /// policy.
    async fn insert_policy_proposal(&self, proposal: PolicyProposal) -> Result<(), StoreError>;

    /// A proposal, or `None`.
    async fn policy_proposal(&self, id: RequestId) -> Result<Option<PolicyProposal>, StoreError>;

    /// Proposals in a state, or all of them, newest first.
    async fn policy_proposals(
        &self,
        state: Option<ProposalState>,
        page: Page<RequestId>,
    ) -> Result<Vec<PolicyProposal>, StoreError>;

    /// Proposals of one policy, newest first: a hundred at most.
    async fn proposals_of_policy(&self, policy: &Digest) -> Result<Vec<PolicyProposal>, StoreError>;

    /// Adds what a holder says, in place of what the same one said before. A
    /// proposal that is not open is a conflict.
    async fn insert_policy_approval(&self, proposal: RequestId, approval: Approval)
    -> Result<(), StoreError>;

    /// Approvals of a proposal, by the name of the holder.
    async fn policy_approvals(&self, proposal: RequestId) -> Result<Vec<Approval>, StoreError>;

    /// Ends a proposal without an activation. The same state again is `Ok`,
    /// another one a conflict.
    async fn close_policy_proposal(&self, id: RequestId, state: ProposalState) -> Result<(), StoreError>;

    /// Puts a policy in force, in one step with its event: its proposal is
    /// [`ProposalState::Activated`], all others that are open are
    /// [`ProposalState::Superseded`].
    ///
    /// The same value again is `Ok`. A number that does not follow, another
    /// `previous` than the policy in force, and a proposal that is not open,
    /// or is of another policy or base, are conflicts. Of two at once exactly
    /// one wins.
    async fn activate_policy(&self, activation: PolicyActivation) -> Result<(), StoreError>;

    /// The policy in force, or `None` where none was ever activated.
    async fn policy_in_force(&self) -> Result<Option<PolicyActivation>, StoreError>;

    /// Every activation, newest first.
    async fn policy_activations(&self, page: Page<u64>) -> Result<Vec<PolicyActivation>, StoreError>;
}
