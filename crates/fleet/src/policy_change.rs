//! Changes of the policy: proposed by somebody, agreed to by others, put in
//! force.

use firmseal_manifest::{Digest, Event, RequestId};
use serde::{Deserialize, Serialize};

use crate::{Approval, Time};

/// What became of a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProposalState {
    /// It waits for approvals, or for whoever puts it in force.
    Open,
    /// It was put in force.
    Activated,
    /// Somebody took it back.
    Withdrawn,
    /// Another policy was put in force first: what people looked at was a
    /// change of something else.
    Superseded,
    /// Too few people agreed in time.
    Expired,
}

impl ProposalState {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            ProposalState::Open => "open",
            ProposalState::Activated => "activated",
            ProposalState::Withdrawn => "withdrawn",
            ProposalState::Superseded => "superseded",
            ProposalState::Expired => "expired",
        }
    }
}

/// Somebody wants a policy in force, in place of the one that is. Only its
/// state changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyProposal {
    /// Its id, which no other proposal ever has: an approval is of this one.
    pub id: RequestId,
    /// The policy; its document is a blob under this digest.
    #[serde(with = "crate::hex")]
    pub policy: Digest,
    /// The policy in force when it was proposed, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub base: Option<Digest>,
    /// How many people have to agree; the root document may ask for more.
    pub need: u32,
    /// Who proposed it.
    pub proposer: String,
    /// Who proposed it, as Statements say it.
    #[serde(with = "crate::hex")]
    pub proposer_id: Digest,
    /// Why, in words for those who are to agree.
    pub why: String,
    /// When it is of no use any more, in seconds since 1970.
    pub expiry: u64,
    /// When it was made.
    pub created: Time,
    /// How far it is.
    pub state: ProposalState,
}

/// A policy was put in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyActivation {
    /// Counted from 1, without a gap.
    pub number: u64,
    /// The policy.
    #[serde(with = "crate::hex")]
    pub policy: Digest,
    /// The one that was in force until then.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub previous: Option<Digest>,
    /// The proposal that people agreed to.
    pub proposal: RequestId,
    /// Number of the root document that said whose word counts.
    pub root: u64,
    /// Those who agreed.
    pub approvals: Vec<Approval>,
    /// SHA-256 of the Statement with their signatures.
    #[serde(with = "crate::hex")]
    pub agreed: Digest,
    /// Who put it in force.
    pub by: String,
    /// When.
    pub time: Time,
}

impl PolicyActivation {
    /// What the log tells of it.
    pub fn event(&self) -> Event {
        Event::Policy {
            number: self.number,
            policy: self.policy,
            previous: self.previous,
            root: self.root,
            agreed: self.agreed,
        }
    }
}
