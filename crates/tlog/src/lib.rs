//! The transparency log in pure code: values in, values out.
//!
//! Byte for byte the C2SP specifications signed-note, tlog-checkpoint,
//! tlog-tiles, tlog-cosignature, tlog-witness, tlog-proof and tlog-policy,
//! over the Merkle tree of RFC 6962. Where tiles lie is behind [`Tiles`];
//! where keys lie is with the caller, who signs the bytes it is given.
//!
//! Every parser is total: it bounds what it reads, never panics, and of
//! what could be spelt in several ways takes the one that it would write.

mod base64;
mod bundle;
mod checkpoint;
mod cosignature;
mod edge;
mod error;
mod key;
mod lines;
mod merkle;
mod note;
mod policy;
mod proof;
mod prover;
mod tile;
mod witness;

pub use crate::bundle::{ENTRY_MAX, decode_bundle, encode_bundle};
pub use crate::checkpoint::Checkpoint;
pub use crate::cosignature::{Subtree, cosignature_message};
pub use crate::edge::Edge;
pub use crate::error::Error;
pub use crate::key::{Kind, VerifierKey, key_id};
pub use crate::merkle::{PROOF_MAX, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion};
pub use crate::note::{NOTE_MAX, Note, NoteSignature, SIGNATURES_MAX, Verified};
pub use crate::policy::{Accepted, Policy};
pub use crate::proof::LogProof;
pub use crate::prover::{Prover, Tiles};
pub use crate::tile::{HEIGHT, Tile, WIDTH, written};
pub use crate::witness::{Answer, Decision, KnownLog, Refusal, Request, Seen, decide};
