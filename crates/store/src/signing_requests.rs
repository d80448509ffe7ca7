//! Signing requests that wait for people, and what people say.

use async_trait::async_trait;
use firmseal_fleet::{Approval, RequestState, SigningRequest};
use firmseal_manifest::RequestId;

use crate::{Page, StoreError};

/// Signing requests and approvals.
///
/// A request leaves [`RequestState::Waiting`] once and for good, in the same
/// step in which that is decided: an approval that comes at the same moment
/// finds it waiting, or is a conflict.
#[async_trait]
pub trait SigningRequests: Send + Sync {
    /// Adds a request that waits; its product must exist. The same value
    /// again is `Ok`, another one under its id a conflict.
    async fn insert_signing_request(&self, request: SigningRequest) -> Result<(), StoreError>;

    /// A request, or `None`.
    async fn signing_request(&self, id: RequestId) -> Result<Option<SigningRequest>, StoreError>;

    /// Requests in a state, or all of them, newest first.
    async fn signing_requests(
        &self,
        state: Option<RequestState>,
        page: Page<RequestId>,
    ) -> Result<Vec<SigningRequest>, StoreError>;

    /// Adds what a holder says, in place of what the same one said before. A
    /// request that does not wait any more is a conflict.
    async fn insert_approval(&self, request: RequestId, approval: Approval) -> Result<(), StoreError>;

    /// Approvals of a request, by the name of the holder.
    async fn approvals(&self, request: RequestId) -> Result<Vec<Approval>, StoreError>;

    /// Takes back what somebody brought; how many there were. A request that
    /// does not wait any more is a conflict.
    async fn remove_approvals(&self, request: RequestId, brought_by: &str) -> Result<usize, StoreError>;

    /// Ends the wait. The same state again is `Ok`, another one a conflict.
    async fn close_signing_request(&self, request: RequestId, state: RequestState) -> Result<(), StoreError>;
}
