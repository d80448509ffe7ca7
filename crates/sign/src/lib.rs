//! The one signing pipeline.
//!
//! An order names artifacts and what they should become. The pipeline reads
//! the artifacts themselves, lets the gate decide, assembles the manifest,
//! logs the intent, signs, and verifies the result as a device would before
//! anybody sees it. The server and the offline command line run the same
//! code over the same storage contracts; there is no second way to sign.

mod account;
pub mod artifact;
mod artifact_job;
pub mod assemble;
pub mod attempts;
pub mod breaker;
pub mod carry_out;
mod component;
pub mod consent;
pub(crate) mod delegated;
pub mod device;
pub mod dispatch;
pub mod dispatcher;
mod draft;
mod epochs;
pub mod error;
pub mod events;
mod evidence;
pub mod gate;
mod job_key;
pub mod job_review;
mod judging;
pub mod key_rules;
pub mod key_states;
pub mod keyring;
pub mod keys;
pub mod order;
pub mod pipeline;
pub mod policies;
pub mod policy;
pub mod policy_in_force;
pub mod proofs;
mod question;
mod quota;
pub mod refused;
mod release_job;
pub mod request_key;
pub mod review;
pub mod revoked;
pub mod rollback;
mod sealing;
mod signed_file;
pub mod signing_key;
mod spool;
pub mod standing;
pub mod timestamps;
pub mod trust;
mod turns;
pub mod usual;
pub mod verify;
pub mod waiting;

pub use artifact::ArtifactWish;
pub use attempts::KeyHealth;
pub use breaker::BreakerState;
pub use carry_out::{Carried, Clock};
pub use dispatch::{Dispatch, Health};
pub use dispatcher::{Bounds, Dispatcher, Seen};
pub use error::PipelineError;
pub use events::EventError;
pub use evidence::Covered;
pub use gate::GateRefusal;
pub use job_review::job_statement;
pub use key_rules::{Age, KeyLimits, KeyPurpose, KeyRefusal, KeyRules, Rotation};
pub use key_states::{DestroyedKey, KeyOrder, KeyStateError, finish_destruction};
pub use keyring::{Keyring, KeyringError};
pub use keys::Keys;
pub use order::{Order, OrderedComponent, Requester};
pub use pipeline::{Ordered, Pipeline, Signed};
pub use policies::{PolicyChangeError, policy_statement};
pub use policy::{
    Action, ArtifactFacts, Decision, KeyFacts, Policy, PolicyError, PolicyReader, Previous, Question, Reason,
    Tried, Verdict,
};
pub use policy_in_force::PolicyStanding;
pub use proofs::{ProofError, Proofs, Proving};
pub use refused::{Recorded, Refused};
pub use request_key::RequestKey;
pub use rollback::Rollback;
pub use signing_key::{Ask, KeyUse, SigningKey};
pub use standing::Standing;
pub use timestamps::{StampAnswer, StampError, Timestamps};
pub use trust::{Chain, TrustError};
pub use verify::verify_release;
pub use waiting::{ApprovalError, NewApproval};
