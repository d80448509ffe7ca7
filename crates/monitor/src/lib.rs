//! The monitor: somebody who watches a log and takes nobody's word.
//!
//! [`Memory`] is a copy of the log on the monitor's own disk; what the log
//! shows must grow from it ([`follow`]). [`reconcile`] is pure: it compares
//! the copy with what the registry says, and with what devices say that
//! they run; [`audited`] is pure too, and judges an export of the audit trail.
//! What is wrong is a [`Finding`].

pub mod audited;
mod error;
mod finding;
mod follow;
mod leaves;
mod look;
mod memory;
mod reconcile;
mod registry;
mod report;

pub use audited::{Audited, Export, audit};
pub use error::MonitorError;
pub use finding::{Finding, Kind};
pub use follow::{Followed, Trusted, follow};
pub use look::look;
pub use memory::{Known, Memory};
pub use reconcile::{Installed, Registered, Registry, reconcile};
pub use registry::fetch;
pub use report::Report;
