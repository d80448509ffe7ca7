//! Notices: auditors are told what was signed, refused and changed, as it
//! happens and wherever they look.
//!
//! A [`Sink`] delivers one [`AuditRecord`](firmseal_fleet::AuditRecord) and
//! says whether it arrived; who delivers, in which order, and what is
//! repeated after a failure is decided by whoever has the records. So a
//! receiver may be told twice, under the same number, and is not passed over.

pub mod ecs;
pub mod error;
pub mod mail;
pub mod settings;
pub mod sink;
pub mod syslog;
pub mod webhook;

pub use error::NotifyError;
pub use settings::SinkSettings;
pub use sink::Sink;
