//! Policies on the wire.

use firmseal_api::policies as api;
use firmseal_fleet::{Approval, PolicyActivation, PolicyProposal, ProposalState};
use firmseal_manifest::ArtifactId;

use super::approval_out;

const fn state_out(state: ProposalState) -> api::ProposalState {
    match state {
        ProposalState::Open => api::ProposalState::Open,
        ProposalState::Activated => api::ProposalState::Activated,
        ProposalState::Withdrawn => api::ProposalState::Withdrawn,
        ProposalState::Superseded => api::ProposalState::Superseded,
        ProposalState::Expired => api::ProposalState::Expired,
    }
}

pub(crate) fn proposal_out(
    proposal: PolicyProposal,
    approvals: Vec<Approval>,
    missing: u32,
) -> api::PolicyProposal {
    api::PolicyProposal {
        id: proposal.id,
        policy: ArtifactId(proposal.policy),
        base: proposal.base.map(ArtifactId),
        need: proposal.need,
        missing,
        proposer: proposal.proposer,
        proposer_id: ArtifactId(proposal.proposer_id),
        why: proposal.why,
        expiry: proposal.expiry,
        created: proposal.created,
        state: state_out(proposal.state),
        approvals: approvals.into_iter().map(approval_out).collect(),
    }
}

pub(crate) fn activation_out(activation: PolicyActivation) -> api::PolicyActivation {
    api::PolicyActivation {
        number: activation.number,
        policy: ArtifactId(activation.policy),
        previous: activation.previous.map(ArtifactId),
        proposal: activation.proposal,
        root: activation.root,
        approvals: activation.approvals.into_iter().map(approval_out).collect(),
        by: activation.by,
        time: activation.time,
    }
}
