//! Birth proofs: what the log and its witnesses say of an Intent before a
//! key is used for it.

use std::future::Future;
use std::pin::Pin;

use firmseal_manifest::BirthProof;

/// Why there is no proof. No key was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Too few witnesses have cosigned.
    #[error("{have} of {need} witnesses have cosigned the log, so nothing was signed: {why}")]
    NoQuorum {
        /// How many have.
        have: usize,
        /// How many must.
        need: usize,
        /// What the others said, or that they said nothing.
        why: String,
    },
    /// A witness has seen another log than this one.
    #[error(
        "witness {witness} has seen a log of {seen} entries where this one is shorter or another, so nothing \
         was signed; was a backup restored, or does a second server write it?"
    )]
    Forked {
        /// The witness.
        witness: String,
        /// The size it has seen.
        seen: u64,
    },
    /// The log itself.
    #[error("the log cannot be proven, so nothing was signed: {0}")]
    Log(String),
}

/// A proof on its way.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Result<BirthProof, ProofError>> + Send + 'a>>;

/// A log that witnesses watch.
///
/// Contract of `prove`: the checkpoint covers the leaf at `index`, the
/// witnesses that the log demands have cosigned it, every signature in the
/// proof was verified, and the leaf is in the tree. It waits for witnesses
/// for a bounded time, and may be asked again. Dropping the future abandons
/// the answer and nothing else.
pub trait Proofs: Send + Sync {
    /// Proves the entry at an index, as soon as enough witnesses have seen
    /// it.
    fn prove(&self, index: u64) -> Proving<'_>;
}
