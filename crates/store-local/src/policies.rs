//! Policies in the database.

use async_trait::async_trait;
use firmseal_fleet::{Approval, PolicyActivation, PolicyProposal, ProposalState};
use firmseal_manifest::{Digest, End, Event, KeyId, RequestId};
use firmseal_store::{Page, Policies, StoreError};
use rusqlite::{Connection, Row, params};

use crate::LocalStore;
use crate::column::{Count, Hash, Json, Text, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, fresh, limit, one};

fn read(row: &Row<'_>) -> rusqlite::Result<PolicyProposal> {
    let (Json(proposal), Word(state)): (Json<PolicyProposal>, _) = (row.get(0)?, row.get(1)?);
    Ok(PolicyProposal { state, ..proposal })
}

fn read_activation(row: &Row<'_>) -> rusqlite::Result<PolicyActivation> {
    row.get(0).map(|Json(activation)| activation)
}

fn conflict<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(StoreError::conflict(what).into())
}

fn find(connection: &Connection, id: RequestId) -> Result<Option<PolicyProposal>, Failure> {
    one(connection, "SELECT proposal, state FROM policy_proposals WHERE id = ?", [Text(id)], read)
}

/// The proposal, if it is still open.
fn open(connection: &Connection, id: RequestId) -> Result<PolicyProposal, Failure> {
    match find(connection, id)? {
        None => Err(StoreError::not_found(format!("policy proposal {id}")).into()),
        Some(proposal) if proposal.state == ProposalState::Open => Ok(proposal),
        Some(proposal) => {
            conflict(format!("policy proposal {id} is {} and open no more", proposal.state.word()))
        }
    }
}

fn insert(connection: &Connection, proposal: &PolicyProposal) -> Result<(), Failure> {
    let same =
        |there: &PolicyProposal| PolicyProposal { state: proposal.state, ..there.clone() } == *proposal;
    if !fresh(find(connection, proposal.id)?, same, format!("policy proposal {}", proposal.id))? {
        return Ok(());
    }
    let sql = "SELECT proposal, state FROM policy_proposals WHERE policy = ? AND state = 'open'";
    if let Some(other) = one(connection, sql, [Hash(proposal.policy)], read)? {
        return conflict(format!("policy {} is proposed already, as {}", proposal.policy, other.id));
    }
    connection
        .prepare_cached("INSERT INTO policy_proposals (id, policy, state, proposal) VALUES (?, ?, ?, ?)")?
        .execute(params![
            Text(proposal.id),
            Hash(proposal.policy),
            Word(ProposalState::Open),
            Json(proposal)
        ])?;
    let PolicyProposal { id, policy, proposer_id: requester, .. } = *proposal;
    happened(connection, &Event::Requested { request: id, manifest: policy, requester })
}

fn approve(connection: &Connection, id: RequestId, approval: &Approval) -> Result<(), Failure> {
    let manifest = open(connection, id)?.policy;
    if approvals(connection, id)?.contains(approval) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO policy_approvals (proposal, holder, approval) VALUES (?, ?, ?)",
        )?
        .execute(params![Text(id), approval.holder, Json(approval)])?;
    happened(connection, &Event::Approved { request: id, manifest, key: KeyId(approval.key) })
}

fn approvals(connection: &Connection, id: RequestId) -> Result<Vec<Approval>, Failure> {
    let sql = "SELECT approval FROM policy_approvals WHERE proposal = ? ORDER BY holder";
    all(connection, sql, [Text(id)], |row| row.get(0).map(|Json(approval)| approval))
}

fn set_state(connection: &Connection, id: RequestId, state: ProposalState) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE policy_proposals SET state = ? WHERE id = ?")?
        .execute(params![Word(state), Text(id)])?;
    Ok(())
}

fn close(connection: &Connection, id: RequestId, state: ProposalState) -> Result<(), Failure> {
    if find(connection, id)?.is_some_and(|proposal| proposal.state == state) {
        return Ok(());
    }
    open(connection, id)?;
    let end = match state {
        // It is, as it was.
        ProposalState::Open => return Ok(()),
        ProposalState::Activated => return conflict("a policy is put in force with its activation"),
        ProposalState::Withdrawn => End::Cancelled,
        ProposalState::Superseded => End::Superseded,
        ProposalState::Expired => End::Expired,
    };
    set_state(connection, id, state)?;
    happened(connection, &Event::Closed { request: id, end })
}

fn in_force(connection: &Connection) -> Result<Option<PolicyActivation>, Failure> {
    let sql = "SELECT activation FROM policy_activations ORDER BY number DESC LIMIT 1";
    one(connection, sql, [], read_activation)
}

/// One writer runs this: nobody is between the questions and the insert.
fn activate(connection: &Connection, activation: &PolicyActivation) -> Result<(), Failure> {
    let PolicyActivation { number, policy, previous, proposal: id, .. } = activation;
    let last = in_force(connection)?;
    if last.as_ref() == Some(activation) {
        return Ok(());
    }
    let (newest, own) = last.map_or((0, None), |last| (last.number, Some(last.policy)));
    if newest.checked_add(1) != Some(*number) || own != *previous {
        return conflict(format!("another policy was put in force before {policy}"));
    }
    let proposal = open(connection, *id)?;
    if proposal.policy != *policy || proposal.base != *previous {
        return conflict(format!("policy proposal {id} is about another change"));
    }
    connection
        .prepare_cached("INSERT INTO policy_activations (number, activation) VALUES (?, ?)")?
        .execute(params![Count::new("number", *number)?, Json(activation)])?;
    set_state(connection, *id, ProposalState::Activated)?;
    happened(connection, &activation.event())?;
    let sql = "SELECT proposal, state FROM policy_proposals WHERE state = 'open' ORDER BY n";
    for other in all(connection, sql, [], read)? {
        close(connection, other.id, ProposalState::Superseded)?;
    }
    Ok(())
}

#[async_trait]
impl Policies for LocalStore {
    async fn insert_policy_proposal(&self, proposal: PolicyProposal) -> Result<(), StoreError> {
        self.write("add a policy proposal", move |connection| insert(connection, &proposal)).await
    }

    async fn policy_proposal(&self, id: RequestId) -> Result<Option<PolicyProposal>, StoreError> {
        self.query("look a policy proposal up", move |connection| find(connection, id)).await
    }

    async fn policy_proposals(
        &self,
        state: Option<ProposalState>,
        page: Page<RequestId>,
    ) -> Result<Vec<PolicyProposal>, StoreError> {
        self.query("list policy proposals", move |connection| {
            let sql = "SELECT proposal, state FROM policy_proposals
                       WHERE (?1 IS NULL OR state = ?1)
                         AND (?2 IS NULL OR n < (SELECT n FROM policy_proposals WHERE id = ?2))
                       ORDER BY n DESC LIMIT ?3";
            all(connection, sql, params![state.map(Word), page.after.map(Text), limit(&page)], read)
        })
        .await
    }

    async fn proposals_of_policy(&self, policy: &Digest) -> Result<Vec<PolicyProposal>, StoreError> {
        let policy = *policy;
        self.query("list proposals of a policy", move |connection| {
            let sql =
                "SELECT proposal, state FROM policy_proposals WHERE policy = ? ORDER BY n DESC LIMIT 100";
            all(connection, sql, [Hash(policy)], read)
        })
        .await
    }

    async fn insert_policy_approval(
        &self,
        proposal: RequestId,
        approval: Approval,
    ) -> Result<(), StoreError> {
        self.write("add an approval of a policy", move |connection| approve(connection, proposal, &approval))
            .await
    }

    async fn policy_approvals(&self, proposal: RequestId) -> Result<Vec<Approval>, StoreError> {
        self.query("list approvals of a policy", move |connection| approvals(connection, proposal)).await
    }

    async fn close_policy_proposal(&self, id: RequestId, state: ProposalState) -> Result<(), StoreError> {
        self.write("close a policy proposal", move |connection| close(connection, id, state)).await
    }

    async fn activate_policy(&self, activation: PolicyActivation) -> Result<(), StoreError> {
        self.write("put a policy in force", move |connection| activate(connection, &activation)).await
    }

    async fn policy_in_force(&self) -> Result<Option<PolicyActivation>, StoreError> {
        self.query("look for the policy in force", in_force).await
    }

    async fn policy_activations(&self, page: Page<u64>) -> Result<Vec<PolicyActivation>, StoreError> {
        self.query("list policies that were in force", move |connection| {
            let after = page.after.map(|number| Count::new("number", number)).transpose()?;
            let sql = "SELECT activation FROM policy_activations WHERE (?1 IS NULL OR number < ?1)
                       ORDER BY number DESC LIMIT ?2";
            all(connection, sql, params![after, limit(&page)], read_activation)
        })
        .await
    }
}
