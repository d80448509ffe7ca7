//! Events on their way into the log.
//!
//! What happened and that the log is to tell of it are one write: no crash
//! between the two, and no witness who is away, loses an event. Whoever has
//! the log enters them afterwards, in their order.

use async_trait::async_trait;
use firmseal_fleet::audit::Circumstances;
use firmseal_manifest::Event;

use crate::StoreError;

/// An event that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingEvent {
    /// Its number, by which [`Events::events_entered`] names it.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

/// Events.
///
/// Each of these makes one, in the same step, and none when it is repeated
/// and changes nothing: [`insert_signing_request`], [`insert_approval`],
/// [`remove_approvals`] (one for each), [`close_signing_request`],
/// [`finish`] and [`insert_release`] (with a release that is verified),
/// [`set_release_state`] (withdrawn or revoked), [`insert_trust_document`],
/// [`insert_rollout`], [`set_rollout_state`], [`set_key_state`], [`insert_policy_proposal`],
/// [`insert_policy_approval`], [`close_policy_proposal`], [`activate_policy`], [`cancel_job`],
/// [`expire_jobs`], [`insert_job_approval`], [`remove_job_approvals`] (one for each),
/// [`insert_credential`], [`revoke_credential`] and [`insert_product`].
/// [`end_claim`] and [`resume_job`] note those that they are given.
///
/// [`insert_signing_request`]: crate::SigningRequests::insert_signing_request
/// [`insert_approval`]: crate::SigningRequests::insert_approval
/// [`remove_approvals`]: crate::SigningRequests::remove_approvals
/// [`close_signing_request`]: crate::SigningRequests::close_signing_request
/// [`finish`]: crate::Requests::finish
/// [`insert_release`]: crate::Registry::insert_release
/// [`set_release_state`]: crate::Registry::set_release_state
/// [`insert_trust_document`]: crate::TrustDocuments::insert_trust_document
/// [`insert_credential`]: crate::Operators::insert_credential
/// [`revoke_credential`]: crate::Operators::revoke_credential
/// [`insert_product`]: crate::Registry::insert_product
/// [`insert_rollout`]: crate::Fleet::insert_rollout
/// [`set_rollout_state`]: crate::Fleet::set_rollout_state
/// [`set_key_state`]: crate::KeyUses::set_key_state
/// [`insert_policy_proposal`]: crate::Policies::insert_policy_proposal
/// [`insert_policy_approval`]: crate::Policies::insert_policy_approval
/// [`close_policy_proposal`]: crate::Policies::close_policy_proposal
/// [`activate_policy`]: crate::Policies::activate_policy
/// [`cancel_job`]: crate::Jobs::cancel_job
/// [`expire_jobs`]: crate::Jobs::expire_jobs
/// [`insert_job_approval`]: crate::Jobs::insert_job_approval
/// [`remove_job_approvals`]: crate::Jobs::remove_job_approvals
/// [`end_claim`]: crate::Jobs::end_claim
/// [`resume_job`]: crate::Jobs::resume_job
#[async_trait]
pub trait Events: Send + Sync {
    /// Notes an event that no other write of the store makes, and what is to
    /// stand on record of it besides.
    async fn note(&self, event: Event, circumstances: Option<Circumstances>) -> Result<(), StoreError>;

    /// Events that are not in the log yet, the oldest first.
    async fn waiting_events(&self, limit: u32) -> Result<Vec<WaitingEvent>, StoreError>;

    /// Where events stand in the log: number and index of each. They wait no
    /// more. One that waits no more already keeps the index that it has.
    async fn events_entered(&self, entered: Vec<(u64, u64)>) -> Result<(), StoreError>;
}
