//! Signing requests: each is carried out once, however often it is sent.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::{Release, Time};
use firmseal_manifest::{ChannelName, Digest, ProductId, RequestId};
use semver::Version;

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
    /// Whether the caller is known to be alone with the request of this id: a
    /// claim that stands is one whose holder is gone, or an answer of this
    /// engine that was lost, and is taken over.
    pub alone: bool,
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

/// The number under which a claim is about to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// The sequence number.
    pub sequence: u64,
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
/// Two things are fenced. A claim is on one request; a [`Reservation`] is on
/// a product, for as long as the claim holds: of two requests that name the
/// same sequence, in two processes at once, one has the reservation before
/// any key is used, and the other is told to wait and uses none. A
/// reservation that outlives its claim lost: whoever fails would leave gaps
/// that look like lost releases. So after a crash in the middle of signing
/// the number is free again; what was signed under it stands in the log, and
/// nobody was given it.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Claims a request, or says why not. A claim is durable on return.
    ///
    /// May be retried: a caller whose answer was lost waits for its own
    /// lease like everybody else, unless it is [alone](NewRequest::alone). An engine that belongs to one process
    /// ends all leases when it is opened, since nobody can hold one.
    async fn begin(&self, request: NewRequest) -> Result<Begin, StoreError>;

    /// Reserves a product for this claim, under the number it is about to
    /// sign. To be called before any key is used; durable on return.
    ///
    /// A claim that has lost its request, a sequence that is not above every
    /// one of the product so far, and a version that the channel has are
    /// conflicts. While the claim of another request holds the product it is
    /// [`StoreError::Busy`]. A claim that has run out by `now` holds nothing:
    /// its reservation is lost with this call. The same claim may reserve
    /// again.
    async fn reserve(&self, claim: &Claim, reservation: Reservation, now: Time) -> Result<(), StoreError>;

    /// Stores the result, and the release if there is one, in one step:
    /// there is never a release whose request would run again.
    ///
    /// A claim that has lost its request is a conflict, and a release that
    /// [`Registry::insert_release`](crate::Registry::insert_release) would
    /// refuse is refused here, as is one that the claim has not reserved or
    /// whose reservation was lost; either way nothing is stored. Finishing with
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
