//! Policies: proposed, agreed to, in force one after another.

use std::time::Duration;

use firmseal_fleet::{Approval, PolicyActivation, PolicyProposal, ProposalState};
use firmseal_manifest::{Digest, End, Event, KeyId, RequestId};
use futures_util::future::join_all;

use super::{Engine, conflict, not_found, samples};
use crate::{Page, Store};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_proposed_is_read(engine).await;
    a_proposal_is_closed_once(engine).await;
    one_policy_follows_another(engine).await;
    of_many_at_once_one_is_in_force(engine).await;
}

fn proposal(policy: Digest, base: Option<Digest>) -> PolicyProposal {
    PolicyProposal {
        id: RequestId::new(),
        policy,
        base,
        need: 2,
        proposer: "olga".to_owned(),
        proposer_id: Digest([5; 32]),
        why: "ä reason".to_owned(),
        expiry: 1_900_000_000,
        created: samples::NOW,
        state: ProposalState::Open,
    }
}

fn activation(number: u64, of: &PolicyProposal) -> PolicyActivation {
    PolicyActivation {
        number,
        policy: of.policy,
        previous: of.base,
        proposal: of.id,
        root: 1,
        approvals: vec![Approval { key: Digest([7; 32]), ..samples::approval("ann", "desk") }],
        agreed: Digest([6; 32]),
        by: "olga".to_owned(),
        time: samples::NOW.plus(Duration::from_secs(number)),
    }
}

async fn events(store: &dyn Store) -> Vec<Event> {
    store.waiting_events(1000).await.unwrap().into_iter().map(|waiting| waiting.event).collect()
}

async fn what_is_proposed_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    assert_eq!(store.policy_in_force().await.unwrap(), None);
    assert_eq!(store.policy_proposal(RequestId::new()).await.unwrap(), None);
    let (policy, other) = (samples::digest(), samples::digest());
    let (first, second) = (proposal(policy, None), proposal(other, None));
    for one in [&first, &second, &first] {
        store.insert_policy_proposal(one.clone()).await.unwrap();
    }
    conflict(store.insert_policy_proposal(PolicyProposal { need: 1, ..first.clone() }).await);
    conflict(store.insert_policy_proposal(proposal(policy, None)).await);
    let (ann, ben) = (samples::approval("ann", "desk"), samples::approval("ben", "desk"));
    for approval in [&samples::approval("ann", "ann"), &ben, &ann, &ann] {
        store.insert_policy_approval(first.id, approval.clone()).await.unwrap();
    }
    not_found(store.insert_policy_approval(RequestId::new(), ann.clone()).await);
    store = engine.reopen(store).await;
    assert_eq!(store.policy_proposal(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(store.policy_approvals(first.id).await.unwrap(), [ann, ben]);
    assert_eq!(store.policy_approvals(second.id).await.unwrap(), []);
    let list = |page| store.policy_proposals(Some(ProposalState::Open), page);
    assert_eq!(list(Page::first(9)).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(list(Page::after(second.id, 9)).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(list(Page::first(1)).await.unwrap(), [second]);
    assert_eq!(store.proposals_of_policy(&policy).await.unwrap(), [first]);
}

async fn a_proposal_is_closed_once(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let policy = samples::digest();
    let first = proposal(policy, None);
    store.insert_policy_proposal(first.clone()).await.unwrap();
    not_found(store.close_policy_proposal(RequestId::new(), ProposalState::Withdrawn).await);
    conflict(store.close_policy_proposal(first.id, ProposalState::Activated).await);
    for _ in 0..2 {
        store.close_policy_proposal(first.id, ProposalState::Withdrawn).await.unwrap();
    }
    conflict(store.close_policy_proposal(first.id, ProposalState::Expired).await);
    conflict(store.insert_policy_approval(first.id, samples::approval("ann", "ann")).await);
    conflict(store.activate_policy(activation(1, &first)).await);
    // The same policy may be proposed again, as another proposal.
    let second = proposal(policy, None);
    store.insert_policy_proposal(second.clone()).await.unwrap();
    let first = PolicyProposal { state: ProposalState::Withdrawn, ..first };
    assert_eq!(store.proposals_of_policy(&policy).await.unwrap(), [second.clone(), first.clone()]);
    let asked = |one: &PolicyProposal| Event::Requested {
        request: one.id,
        manifest: policy,
        requester: one.proposer_id,
    };
    let closed = Event::Closed { request: first.id, end: End::Cancelled };
    assert_eq!(events(&*store).await, [asked(&first), closed, asked(&second)]);
}

async fn one_policy_follows_another(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let [one, two, three] = [samples::digest(), samples::digest(), samples::digest()];
    let (first, stale) = (proposal(one, None), proposal(two, None));
    for proposal in [&first, &stale] {
        store.insert_policy_proposal(proposal.clone()).await.unwrap();
    }
    let approval = samples::approval("ann", "ann");
    store.insert_policy_approval(first.id, approval.clone()).await.unwrap();
    conflict(store.activate_policy(activation(2, &first)).await);
    conflict(store.activate_policy(PolicyActivation { previous: Some(two), ..activation(1, &first) }).await);
    conflict(store.activate_policy(PolicyActivation { policy: three, ..activation(1, &first) }).await);
    not_found(
        store.activate_policy(PolicyActivation { proposal: RequestId::new(), ..activation(1, &first) }).await,
    );
    for _ in 0..2 {
        store.activate_policy(activation(1, &first)).await.unwrap();
        store = engine.reopen(store).await;
    }
    assert_eq!(store.policy_in_force().await.unwrap(), Some(activation(1, &first)));
    let state = async |id| store.policy_proposal(id).await.unwrap().unwrap().state;
    assert_eq!(state(first.id).await, ProposalState::Activated);
    assert_eq!(state(stale.id).await, ProposalState::Superseded, "it was a change of something else");
    conflict(store.activate_policy(activation(2, &stale)).await);
    assert_eq!(
        events(&*store).await[2..],
        [
            Event::Approved { request: first.id, manifest: one, key: KeyId(approval.key) },
            activation(1, &first).event(),
            Event::Closed { request: stale.id, end: End::Superseded },
        ]
    );

    // An earlier one comes back as a proposal of its own.
    let second = proposal(three, Some(one));
    store.insert_policy_proposal(second.clone()).await.unwrap();
    store.activate_policy(activation(2, &second)).await.unwrap();
    let back = proposal(one, Some(three));
    store.insert_policy_proposal(back.clone()).await.unwrap();
    conflict(store.activate_policy(activation(3, &first)).await);
    store.activate_policy(activation(3, &back)).await.unwrap();
    let all = [activation(3, &back), activation(2, &second), activation(1, &first)];
    assert_eq!(store.policy_activations(Page::first(9)).await.unwrap(), all);
    assert_eq!(store.policy_activations(Page::after(2, 9)).await.unwrap(), all[2..]);
}

async fn of_many_at_once_one_is_in_force(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let proposals: Vec<_> = (0..8).map(|_| proposal(samples::digest(), None)).collect();
    for proposal in &proposals {
        store.insert_policy_proposal(proposal.clone()).await.unwrap();
    }
    let outcomes =
        join_all(proposals.iter().map(|proposal| store.activate_policy(activation(1, proposal)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store.policy_activations(Page::first(9)).await.unwrap().len(), 1);
}
