//! Storage contracts.
//!
//! Each trait is one guarantee; [`Store`] is all of them, as `Arc<dyn
//! Store>`. What holds for every method of every trait:
//!
//! - **Durable on return.** When a write returns `Ok`, it survives a power
//!   cut one instruction later. The one exception says so in its name and
//!   contract ([`Fleet::touch`]).
//! - **All or nothing.** A write that returns [`StoreError::NotFound`],
//!   [`StoreError::Conflict`] or a mismatch has changed nothing. After
//!   [`StoreError::Full`], [`StoreError::Busy`] and
//!   [`StoreError::Unavailable`] it may or may not have happened, whole:
//!   look, or do it again where the method may be retried.
//! - **Anyone, at once.** Every method may be called from many tasks and,
//!   where the engine allows several processes, from all of them. No method
//!   blocks the executor.
//! - **Cancel safe.** Dropping a future abandons the answer, never half a
//!   write.
//! - **No clocks.** Whoever calls passes the time in.

pub mod audit;
pub mod blobs;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod continuity;
pub mod error;
pub mod events;
pub mod fleet;
pub mod habits;
pub mod jobs;
pub mod key_uses;
pub mod operators;
pub mod page;
pub mod policies;
pub mod registry;
pub mod requests;
pub mod signing_requests;
pub mod tokens;
pub mod trust;
pub mod uploads;

pub use audit::{AuditFilter, AuditPosition, AuditTrail, Happened, Unrecorded};
pub use blobs::{BlobStream, Blobs, stream_of};
pub use continuity::Continuity;
pub use error::StoreError;
pub use events::{Events, WaitingEvent};
pub use fleet::{Allowance, Enrolled, Fleet, Observation, Observed};
pub use habits::Habits;
pub use jobs::{
    Before, ClaimedJob, Claiming, Depth, Ending, Highest, Inserted, JobFilter, JobOutcome, Jobs, Mark, Room,
    Unaccounted,
};
pub use key_uses::{GrantedUses, KeyUses, WantedUses};
pub use operators::Operators;
pub use page::Page;
pub use policies::Policies;
pub use registry::Registry;
pub use requests::{Begin, Claim, Finished, NewRequest, Requests, Reservation};
pub use signing_requests::SigningRequests;
pub use tokens::{TokenUsed, UsedTokens};
pub use trust::{TrustDocument, TrustDocuments, TrustKind};
pub use uploads::{NewUpload, Upload, Uploads};

/// Everything that the server keeps.
pub trait Store:
    Blobs
    + Uploads
    + Registry
    + Requests
    + Jobs
    + Fleet
    + Operators
    + KeyUses
    + SigningRequests
    + TrustDocuments
    + Policies
    + Events
    + AuditTrail
    + Habits
    + Continuity
    + UsedTokens
{
}

impl<
    T: Blobs
        + Uploads
        + Registry
        + Requests
        + Jobs
        + Fleet
        + Operators
        + KeyUses
        + SigningRequests
        + TrustDocuments
        + Policies
        + Events
        + AuditTrail
        + Habits
        + Continuity
        + UsedTokens
        + ?Sized,
> Store for T
{
}
