//! Signing requests: each is carried out once, however often it is sent.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::{Release, Time};
use firmseal_manifest::{Digest, RequestId};

use crate::StoreError;

/// Longest result, in bytes.
pub const RESULT_MAX: usize = 256 * 1024;

/// A request as it comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRequest {
    /// The id it gets if it is new.
    pub id: RequestId,
    /// What makes it the same request: the client's idempotency key,
    /// together with who the client is.
    pub key: String,
    /// Digest of everything that was asked for.
    pub fingerprint: Digest,
    /// Who asks.
    pub requester: String,
    /// Now.
    pub now: Time,
    /// How long the claim holds if nothing is heard of it again.
    pub lease: Duration,
}

/// The right to carry out a request.
///
/// Claims are fenced: once a lease ran out and somebody else claimed the
/// request, the earlier claim can finish nothing any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The request. On a second attempt it is the id of the first.
    pub request: RequestId,
    /// Counts attempts, from 1.
    pub attempt: u64,
}

/// What a request produced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The request.
    pub request: RequestId,
    /// The result, as `finish` was given it.
    pub result: Vec<u8>,
}

/// What to do about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begin {
    /// Carry it out: it is new, or whoever had it is gone.
    Fresh(Claim),
    /// It was carried out; this is its result.
    Stored(Finished),
    /// Somebody is carrying it out.
    InFlight {
        /// The request.
        request: RequestId,
        /// When their claim runs out.
        until: Time,
    },
    /// The same key was used for something else.
    Conflict {
        /// The request that has the key.
        request: RequestId,
    },
}

/// Signing requests and their results.
///
/// What is fenced is one request, not one number. Two requests that name
/// the same sequence, in two processes at once, each have a claim of their
/// own: both may use a key before [`Requests::finish`] refuses the second
/// release. It refuses always, so one of the two signatures is never
/// released, and both stand in the log, which was written before either key
/// was used. Within one process the pipeline works on one request of a
/// product at a time. A claim on the sequence itself lost: it would have to
/// outlive whoever fails, and so leave gaps that look like lost releases.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Claims a request, or says why not. A claim is durable on return.
    ///
    /// May be retried: a caller whose answer was lost waits for its own
    /// lease like everybody else. An engine that belongs to one process
    /// ends all leases when it is opened, since nobody can hold one.
    async fn begin(&self, request: NewRequest) -> Result<Begin, StoreError>;

    /// Stores the result, and the release if there is one, in one step:
    /// there is never a release whose request would run again.
    ///
    /// A claim that has lost its request is a conflict, and a release that
    /// [`Registry::insert_release`](crate::Registry::insert_release) would
    /// refuse is refused here; either way nothing is stored. Finishing with
    /// the same result again is `Ok`.
    async fn finish(
        &self,
        claim: &Claim,
        result: Vec<u8>,
        release: Option<Release>,
    ) -> Result<(), StoreError>;

    /// Gives a claim back after a failure, so that a retry need not wait
    /// for the lease. A claim that has lost its request changes nothing.
    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError>;

    /// The result of a request, or `None` while there is none.
    async fn result(&self, request: RequestId) -> Result<Option<Finished>, StoreError>;
}
