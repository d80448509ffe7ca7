//! The monitor: somebody who watches a log and takes nobody's word.
//!
//! [`Memory`] is a copy of the log on the monitor's own disk; what the log
//! shows must grow from it ([`follow`]). [`reconcile`] is pure: it compares
//! the copy with what the registry says, and with what devices say that
//! they run; [`audited`] is pure too, and judges an export of the audit trail.
//! [`Records`] are what key hosts and key managers wrote down of the keys' uses,
//! to be compared with what was announced. What is wrong is a [`Finding`].

pub mod audited;
mod cloudtrail;
mod counted;
mod error;
mod finding;
mod follow;
mod hsm_lines;
mod leaves;
mod look;
mod memory;
mod reconcile;
mod records;
mod registry;
mod report;
mod trail;
mod uses;
mod vault_audit;

pub use audited::{Audited, Export, audit};
pub use counted::compare_trail;
pub use error::MonitorError;
pub use finding::{Finding, Kind};
pub use follow::{Followed, Place, Trusted, follow};
pub use look::look;
pub use memory::{Known, Memory};
pub use reconcile::{Installed, Registered, Registry, Signed, reconcile};
pub use records::{HostRecord, Records, TrailRecord};
pub use registry::fetch;
pub use report::Report;
pub use trail::{Keeper, Trail, Use};
pub use uses::{Hosted, compare_hosts};
pub use vault_audit::VaultKey;
