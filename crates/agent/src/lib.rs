//! The Linux device agent: poll, verify, stream, switch, confirm, report.
//!
//! What may install or boot is decided by `firmseal-core` alone; here is
//! the acting. Nothing is written before an envelope is admitted, nothing
//! but checked blocks reaches a slot, and whatever is half done after a
//! power cut is finished by the same calls that do it ordinarily.

mod agent;
mod boot_control;
mod boot_stage;
mod chain;
pub mod clock;
mod config;
mod confine;
mod deps;
mod device;
mod enrolment;
mod error;
mod feed;
mod fetch;
pub mod files;
mod floors;
mod health;
mod identity;
mod install;
mod journal;
mod link;
mod measure;
mod presence;
mod quarantine;
mod record;
mod release;
mod reports;
mod schedule;
mod slot;
mod source;
mod state;
mod status;
mod trial;
mod trust;
mod walk;

pub use agent::{Agent, Event};
pub use boot_control::{BootControl, BootState, Failed, FileBootControl, Slot, Trial};
pub use boot_stage::BootOutcome;
pub use config::{Bootloader, Component, Config, Health as HealthConfig, OnRefusal, Poll, Quarantine};
pub use confine::confine;
pub use deps::Deps;
pub use enrolment::{Enrolment, ServerEnrolment, enrol};
pub use error::{Error, Reason, Refused, exit};
pub use fetch::Counts;
pub use floors::{Counters, FileCounters, Floors, Reset};
pub use health::{Health, HealthCommand, Verdict};
pub use install::Installed;
pub use release::Origin;
pub use schedule::Schedule;
pub use slot::{InactiveSlot, Span};
pub use source::{Blob, DirectorySource, Kind, Source};
pub use status::{Installation, News, Status};
