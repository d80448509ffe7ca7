//! The words of the system: typed ids, host-side keys, intents, and the
//! author, encoder and printer of manifests and envelopes.
//!
//! Nothing here decides whether something is trusted; that is
//! `firmseal-core`'s alone. Nothing here does I/O.

pub mod ids;
pub mod intent;
pub mod key;
pub mod tbs;

pub use firmseal_core::{Digest, KeyId};
pub use ids::{
    ArtifactId, ChannelName, DeviceId, ProductId, ReleaseId, RequestId, RolloutId, UploadId, WordError,
};
pub use intent::{Intent, Purpose};
pub use key::{KeyAlgorithm, KeyError, PublicKey, Signature};
pub use tbs::Tbs;
