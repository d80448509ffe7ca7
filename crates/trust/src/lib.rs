//! Trust authoring: root documents, deterministic and ready to be signed.
//!
//! Pure: it takes values and returns bytes. Whether a document is trusted,
//! and by whom it must be signed, `firmseal-core` decides; the author asks
//! it before it hands anything out, so nothing that devices would refuse is
//! ever signed.

pub mod ceremony;
pub mod change;
pub mod freshness;
pub mod proposed;
pub mod read;
pub mod record;
pub mod retire;
pub mod revocation;
pub mod revoke;
mod room;
pub mod root;

pub use ceremony::{Ceremony, CeremonyError, Request};
pub use firmseal_core::{Demands, Role};
pub use freshness::FreshnessSpec;
pub use record::{Event, Record, RecordError};
pub use revocation::{RevocationSpec, RevokedKey, UnsignedRevocation};
pub use revoke::RevokeError;
pub use root::{ClosedLogSpec, DemandsSpec, Holder, RoleSpec, RootError, RootSpec, UnsignedRoot};
