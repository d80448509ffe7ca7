//! The fleet's words and its one decision.
//!
//! Products, artifacts, releases, devices, rollouts and reports are plain
//! values here; [`plan`](plan::plan) says which device gets which offer.
//! Nothing in this crate reads a clock, a store or a network, so a plan can
//! be replayed, simulated and property-tested.

pub mod address_map;
pub mod artifact;
pub mod audit;
pub mod caller;
pub mod device;
pub mod enrolment;
pub mod habit;
pub mod hex;
pub mod job;
pub mod operator;
pub mod plan;
pub mod policy_change;
pub mod product;
pub mod reason;
pub mod release;
pub mod report;
pub mod rollout;
pub mod signature;
pub mod signing_key;
pub mod signing_request;
pub mod time;

pub use address_map::{AddressMap, Region, Trespass};
pub use artifact::Artifact;
pub use audit::AuditRecord;
pub use caller::{Caller, CallerKind, Scope};
pub use device::{Bootloader, Certificate, Device, DeviceState, Equipment, Running, SlotState};
pub use enrolment::EnrolmentToken;
pub use habit::{Deviation, Habit, HabitOf};
pub use job::{
    ArtifactOrder, Asked, CameTo, Job, JobKind, JobReview, JobState, Priority, Progress, ReleaseOrder,
};
pub use operator::{Credential, CredentialId, CredentialKind, Role};
pub use plan::{Catalog, Inventory, Offer, Pace, Plan, Policy, plan};
pub use policy_change::{PolicyActivation, PolicyProposal, ProposalState};
pub use product::{BlockSize, ComponentSpec, Environment, Product};
pub use reason::Reason;
pub use release::{Release, ReleaseComponent, ReleaseState};
pub use report::{Phase, Report, ReportId};
pub use rollout::{Cohort, Rollout, RolloutState};
pub use signature::Signature;
pub use signing_key::{KeyHour, KeyLimits, KeyPhase, KeyPurpose, KeyRecord, KeyState};
pub use signing_request::{Approval, ApprovalSignature, RequestState, SigningRequest};
pub use time::Time;

/// Why a value is not what the fleet can work with. The person who wrote it
/// can fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// A field breaks its rule.
    #[error("{field} of {what} is not usable: {why}")]
    Unusable {
        /// The thing, in the glossary's word.
        what: &'static str,
        /// The field.
        field: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A text is not a time.
    #[error("`{0}` is not a time; write it as 2026-01-31T12:00:00Z")]
    NotATime(String),
}
