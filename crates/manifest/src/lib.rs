//! The words of the system: typed ids, host-side keys, intents, and the
//! author, encoder and printer of manifests and envelopes.
//!
//! Nothing here decides whether something is trusted; that is
//! `firmseal-core`'s alone. Nothing here does I/O.

pub mod author;
pub mod bundle;
pub mod cbor;
pub mod chain;
pub mod consent;
pub mod delegation;
pub mod ecdsa;
pub mod event;
mod event_words;
pub mod evidence;
pub mod ids;
pub mod intent;
pub mod key;
mod leaf;
pub mod lms_entry;
pub mod policy_document;
pub mod print;
mod public_text;
pub mod read;
pub mod scheme;
pub mod sign1;
pub mod stands_for;
pub mod statement;
pub mod tbs;
pub mod tree;

pub use author::{AuthorError, ComponentSpec, ReleaseSpec, UnsignedManifest, payload_uri};
pub use chain::{ChainError, DelegationChain};
pub use delegation::{Delegation, LinkSpec};
pub use event::{Denial, End, Event, KeyChange, Outcome, Phase, Ruling};
pub use evidence::{Agreement, BirthProof, Checkpoint, Cosignature, Evidence, SignedStatement};
pub use firmseal_core::{BlockSize, Digest, Environment, KeyId, StatementPurpose, limits};
pub use ids::{
    ArtifactId, ChannelName, DeviceId, KeyName, ProductId, ReleaseId, RequestId, RolloutId, UploadId,
    WordError,
};
pub use intent::{Intent, Purpose};
pub use key::{KeyAlgorithm, KeyError, PublicKey, Signature};
pub use leaf::Leaf;
pub use lms_entry::LmsEntry;
pub use policy_document::{PolicyDocument, PolicyDocumentError, PolicyFile};
pub use read::ReadError;
pub use scheme::Scheme;
pub use stands_for::{digest_of, holder_id, scope_id};
pub use statement::Statement;
pub use tbs::Tbs;
pub use tree::{PayloadTree, TreeBuilder};
