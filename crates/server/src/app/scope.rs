//! What a caller is confined to, held against what it asks for.
//!
//! Asked wherever a handler learns the product: before anything is done, and
//! before anything about it is said. Lists leave out what lies outside.

use firmseal_fleet::{Caller, Job, Release, Scope, SigningRequest};
use firmseal_manifest::{ChannelName, DeviceId, ProductId, ReleaseId, RequestId, RolloutId};

use super::App;
use crate::error::ApiError;

/// Whether a product is the caller's business.
pub(crate) fn product(caller: &Caller, product: &ProductId) -> Result<(), ApiError> {
    match caller.scope.takes_product(product) {
        true => Ok(()),
        false => Err(outside(caller, format!("product {product}"))),
    }
}

/// Whether a channel of a product is.
pub(crate) fn channel(caller: &Caller, of: &ProductId, channel: &ChannelName) -> Result<(), ApiError> {
    product(caller, of)?;
    match caller.scope.takes_channel(channel) {
        true => Ok(()),
        false => Err(outside(caller, format!("channel {channel}"))),
    }
}

/// Whether a release is.
pub(crate) fn release(caller: &Caller, release: &Release) -> Result<(), ApiError> {
    channel(caller, &release.product, &release.channel)
}

/// Whether a signing request is.
pub(crate) fn request(caller: &Caller, request: &SigningRequest) -> Result<(), ApiError> {
    channel(caller, &request.product, &request.channel)
}

/// Whether a request for a signature is.
pub(crate) fn job(caller: &Caller, job: &Job) -> Result<(), ApiError> {
    channel(caller, &job.asked.product, &job.asked.channel)?;
    match caller.scope.takes_key(&job.asked.signing_key) {
        true => Ok(()),
        false => Err(outside(caller, format!("signing key {}", job.asked.signing_key))),
    }
}

/// What concerns every product is nothing for whoever is confined to some.
pub(crate) fn everything(caller: &Caller, what: &str) -> Result<(), ApiError> {
    match caller.scope.is_open() {
        true => Ok(()),
        false => Err(outside(caller, format!("{what}, which concerns every product,"))),
    }
}

/// Whether a scope is not wider than the caller's own: nobody hands out more
/// than they have.
pub(crate) fn within(caller: &Caller, scope: &Scope) -> Result<(), ApiError> {
    match caller.scope.covers(scope) {
        true => Ok(()),
        false => Err(outside(caller, "a wider scope".to_owned())),
    }
}

fn outside(caller: &Caller, what: String) -> ApiError {
    tracing::warn!(operator = caller.name, what, "outside its scope");
    ApiError::OutOfScope(what)
}

impl App {
    /// Refuses a release that is not the caller's business.
    pub(crate) async fn confine_release(&self, caller: &Caller, id: ReleaseId) -> Result<(), ApiError> {
        release(caller, &self.store.release(id).await?)
    }

    /// Refuses a signing request that is not.
    pub(crate) async fn confine_request(&self, caller: &Caller, id: RequestId) -> Result<(), ApiError> {
        request(caller, &self.signing_request(id).await?)
    }

    /// Refuses a request for a signature that is not; what is none is said to
    /// be none by whoever looks for it.
    pub(crate) async fn confine_job(&self, caller: &Caller, id: RequestId) -> Result<(), ApiError> {
        self.store.job(id).await?.map_or(Ok(()), |found| job(caller, &found))
    }

    /// Refuses a rollout whose release is not.
    pub(crate) async fn confine_rollout(&self, caller: &Caller, id: RolloutId) -> Result<(), ApiError> {
        self.confine_release(caller, self.store.rollout(id).await?.release).await
    }

    /// Refuses a device whose product is not.
    pub(crate) async fn confine_device(&self, caller: &Caller, id: DeviceId) -> Result<(), ApiError> {
        product(caller, &self.store.device(id).await?.product)
    }
}
