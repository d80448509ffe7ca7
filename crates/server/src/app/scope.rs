//! What a caller is confined to, held against what it asks for.
//!
//! Asked wherever a handler learns the product: before anything is done, and
//! before anything about it is said. Lists leave out what lies outside.

use firmseal_api::keys::SigningKey;
use firmseal_fleet::{AuditRecord, Caller, Job, Release, Scope, SigningRequest};
use firmseal_manifest::{ChannelName, DeviceId, KeyName, ProductId, ReleaseId, RequestId, RolloutId};

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

/// Whether what a signing key was used for is the caller's business: its
/// uses name every product.
pub(crate) fn key(caller: &Caller, name: &KeyName) -> Result<(), ApiError> {
    match caller.scope.is_open() || caller.scope.keys.contains(name.as_str()) {
        true => Ok(()),
        false => Err(outside(caller, format!("signing key {name}"))),
    }
}

/// Whether a listed key signs for anything within a scope.
pub(crate) fn lists_key(scope: &Scope, key: &SigningKey) -> bool {
    let for_it = scope.products.is_empty() || key.products.is_empty();
    scope.takes_key(key.name.as_str())
        && (for_it || key.products.iter().any(|product| scope.takes_product(product)))
}

/// Whether an audit record is about something within a scope. One about no
/// product is for those who may see them all.
pub(crate) fn lists_record(scope: &Scope, record: &AuditRecord) -> bool {
    let subject = &record.subject;
    scope.is_open()
        || (subject.product.as_ref().is_some_and(|product| scope.takes_product(product))
            && subject.channel.as_ref().is_none_or(|channel| scope.takes_channel(channel))
            && subject.key.as_ref().is_none_or(|key| scope.takes_key(key)))
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
    ApiError::OutOfScope { what, caller: Box::new(caller.clone()) }
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
