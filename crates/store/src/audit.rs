//! The audit trail: what happened, put on record for people, in one order.
//!
//! What happens is noted by the writes that make it happen ([`Events`]
//! and [`Jobs`]). Whoever keeps the trail reads those notes, finds out who
//! and what they are about, and adds records; notes and trail have one
//! position between them, so that nothing is left out or told twice.
//!
//! [`Events`]: crate::Events
//! [`Jobs`]: crate::Jobs

use async_trait::async_trait;
use firmseal_fleet::audit::{AuditAction, Circumstances};
use firmseal_fleet::{Asked, AuditRecord, Signature, Time};
use firmseal_manifest::{ArtifactId, Event, ProductId, RequestId};

use crate::{Page, StoreError};

/// How far the trail has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct AuditPosition {
    /// Number of the last event on record.
    pub event: u64,
    /// Number of the last signature on record.
    pub signature: u64,
}

/// Something that happened and is not on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// An event, which stands in the log.
    Event {
        /// What happened.
        event: Event,
        /// Where the log says so.
        log_index: u64,
        /// What the log does not say of it, where that was noted. It is kept
        /// until it stands on record.
        circumstances: Option<Box<Circumstances>>,
    },
    /// An artifact was signed.
    Signature {
        /// The signature.
        signature: Box<Signature>,
        /// What was asked for, where the request is known.
        asked: Option<Box<Asked>>,
    },
}

/// What is not on record yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unrecorded {
    /// From where on.
    pub since: AuditPosition,
    /// How far this goes.
    pub until: AuditPosition,
    /// What happened: signatures, then events, each in their order.
    pub happened: Vec<Happened>,
}

/// Which records are read. What is `None` lets everything through.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AuditFilter {
    /// Only from this time on.
    pub from: Option<Time>,
    /// Only before this time.
    pub before: Option<Time>,
    /// Only what this caller did.
    pub by: Option<String>,
    /// Only this.
    pub action: Option<AuditAction>,
    /// Only about this product.
    pub product: Option<ProductId>,
    /// Only about this signing key.
    pub key: Option<String>,
    /// Only about this signing request.
    pub request: Option<RequestId>,
    /// Only about this file or document.
    pub artifact: Option<ArtifactId>,
    /// Only about this build.
    pub build: Option<String>,
    /// Only about this commit.
    pub commit: Option<String>,
}

/// The audit trail.
///
/// Records are never changed. They go when their time is over, the oldest
/// first and by [`AuditTrail::forget_records`] alone; the log keeps the
/// digests of what they told.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// What is not on record yet, at most so many of either kind. An event
    /// that is not in the log yet waits, and those behind it.
    async fn unrecorded(&self, limit: u32) -> Result<Unrecorded, StoreError>;

    /// Adds records in their order, under the next numbers, whatever numbers
    /// they have, and moves the position from `since` to `until`, in one
    /// step. A position that is another one by now is a conflict: somebody
    /// else has recorded it.
    async fn record(
        &self,
        since: AuditPosition,
        until: AuditPosition,
        records: Vec<AuditRecord>,
    ) -> Result<(), StoreError>;

    /// Records, newest first.
    async fn audit_records(
        &self,
        filter: AuditFilter,
        page: Page<u64>,
    ) -> Result<Vec<AuditRecord>, StoreError>;

    /// Records after this number, oldest first: what a receiver of notices
    /// has not been told.
    async fn records_after(&self, number: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// The last record that a receiver was told; for one that is new, the
    /// last that there is: nobody is told the past.
    async fn told(&self, receiver: &str) -> Result<u64, StoreError>;

    /// Notes what a receiver was told. It never goes back.
    async fn set_told(&self, receiver: &str, number: u64) -> Result<(), StoreError>;

    /// Deletes records of before this time, at most so many; how many they
    /// were.
    async fn forget_records(&self, before: Time, most: u32) -> Result<u32, StoreError>;
}
